"""What the formats declare to keep is what comes home, and what they do not is listed as lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools import formats
from wtools.conversion import convert
from wtools.conversion.table import SAYS, changed, conversion_table, kept, lost, pairs
from wtools.formats import FEATURES
from wtools.tree import Quantization, Tensor, WeightTree

from .test_matrix import WAYS, format_of, written
from .trees import every

LOST = {
    "ties": "is tied to",
    "metadata": "metadata 'author'",
    "layers": "trainable",
    "apart": "tensors apart",
    "architecture": "architecture",
    "quantization": "scale and zero point",
}


def everything() -> WeightTree:
    """A tree that has each of FEATURES."""
    tree = every(["float32"])
    scale = Tensor.of("q/scale", np.ones(3, np.float32))
    quantized = Tensor.of(
        "q/kernel", np.ones((2, 3), np.int8), quantization=Quantization(scale, axis=1)
    )
    moments = WeightTree([Tensor.of("m/0", np.arange(3.0)), Tensor.of("m/1", np.arange(4))])
    tensors = [*tree.values(), quantized, scale]
    return tree.replace(tensors, apart={"optimizer": moments}, architecture={"layers": []})


def comes_home(feature: str, tree: WeightTree, found: WeightTree) -> bool:
    if feature == "ties":
        return tree.tied() == found.tied()
    if feature == "metadata":
        return tree.metadata.items() <= found.metadata.items()
    if feature == "layers":
        return all(found[n].trainable is t.trainable for n, t in tree.items())
    if feature == "apart":
        return [list(part.values()) for part in found.apart.values()] != []
    if feature == "architecture":
        return found.architecture == tree.architecture
    return found["q/kernel"].quantization is not None


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", WAYS)
def test_declared_is_what_happens(name: str, feature: str, tmp_path: Path) -> None:
    writer = formats.writer(format_of(name))
    assert writer is not None
    tree = everything()
    report = convert(tree, tmp_path / name, **WAYS[name])
    said = any(LOST[feature] in note for note in report.notes if note.startswith("lost: "))
    assert said == (feature not in writer.KEEPS)
    with wtools.open(written(tmp_path, report)) as found:
        assert comes_home(feature, tree, found) == (feature in writer.KEEPS)


def test_the_table_has_every_pair_and_names_every_feature() -> None:
    rows = conversion_table().splitlines()[2:]
    assert len(rows) == len(SAYS) ** 2 == len(list(pairs()))
    for source, target in pairs():
        told = kept(source, target) + changed(source, target) + lost(source, target)
        for feature in SAYS[source]:
            assert sum(text.startswith(FEATURES[feature]) for text in told) == 1


def test_a_dtype_that_must_be_widened_is_named_with_the_way_out(tmp_path: Path) -> None:
    for source, target in pairs():
        reader, writer = formats.writer(source), formats.writer(target)
        assert reader is not None and writer is not None
        text = " ".join(changed(source, target))
        assert all(dtype in text for dtype in reader.HOLDS - writer.HOLDS)


def test_an_optimizer_that_is_kept_is_kept_bit_for_bit(tmp_path: Path) -> None:
    tree = everything()
    convert(tree, tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.pt") as found:
        for name, tensor in tree.apart["optimizer"].items():
            np.testing.assert_array_equal(found.apart["optimizer"][name].read(), tensor.read())


def test_an_optimizer_can_be_dropped(tmp_path: Path) -> None:
    report = convert(everything(), tmp_path / "m.pt", drop_optimizer=True)
    assert not any("optimizer" in note for note in report.notes)
    with wtools.open(tmp_path / "m.pt") as found:
        assert not found.apart


def test_views_of_one_memory_become_copies_and_that_is_said(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    flat = torch.arange(12.0)
    torch.save({"a": flat[:8].view(2, 4), "b": flat[4:]}, tmp_path / "v.pt")
    report = convert(tmp_path / "v.pt", tmp_path / "v.safetensors")
    assert any("share memory" in note for note in report.notes)
