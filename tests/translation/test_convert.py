"""`wtools convert` between frameworks, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured import peak_of

import wtools
from wtools.cli import run
from wtools.conversion import plan, verify_bits
from wtools.translation import translated
from wtools.tree import Tensor, WeightTree

KERAS = "fixtures/keras/mnist_cnn.h5"
TORCH = "fixtures/pytorch/state_dict.pt"


def convert(*words: Any) -> int:
    return run(["convert", *map(str, words), "--quiet"])


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_there_and_home(ending: str, tmp_path: Path) -> None:
    there, home = tmp_path / f"m.{ending}", tmp_path / "m.h5"
    assert convert(KERAS, there, "--layout", "torch") == 0
    assert convert(there, home) == 0
    with wtools.open(KERAS) as one, wtools.open(there) as two, wtools.open(home) as three:
        assert "conv2d.weight" in two and two.convention in ("", "torch")
        assert verify_bits(one, three).summary["equal"]
        found = verify_bits(one, two)
        assert found.summary["equal"] and "layouts differ" in found.notes[0]


@pytest.mark.parametrize(
    ("source", "target", "to"),
    [
        (KERAS, "m.pt", "torch"),
        (KERAS, "m.safetensors", ""),
        (KERAS, "m.npz", ""),
        (KERAS, "m.weights.h5", ""),
        (TORCH, "m.h5", "keras"),
        (TORCH, "m.safetensors", ""),
        (TORCH, "m.onnx", ""),
        ("fixtures/onnx/torch_lstm.onnx", "m.pt", "torch"),
        ("fixtures/onnx/torch_lstm.onnx", "m.h5", "keras"),
        ("fixtures/onnx/torch_lstm.onnx", "m.safetensors", "torch"),
        ("fixtures/onnx/torch_lstm.onnx", "m.npz", "torch"),
        ("fixtures/npz/plain.npz", "m.pt", ""),
    ],
)
def test_who_is_translated(source: str, target: str, to: str, tmp_path: Path) -> None:
    with wtools.open(source) as tree:
        found = plan(tree, tmp_path / target).translation
        assert (found.to if found else "") == to


def test_the_convention_travels_in_containers_without_one(tmp_path: Path) -> None:
    assert convert(KERAS, tmp_path / "m.safetensors") == 0
    with wtools.open(tmp_path / "m.safetensors") as tree:
        assert tree.convention == "keras" and "conv2d/kernel" in tree
    assert convert(tmp_path / "m.safetensors", tmp_path / "m.pt") == 0
    with wtools.open(tmp_path / "m.pt") as tree:
        assert tree["conv2d.weight"].shape == (8, 1, 3, 3)


def test_keep_copies(tmp_path: Path) -> None:
    assert convert(KERAS, tmp_path / "m.pt", "--layout", "keep") == 0
    with wtools.open(KERAS) as one, wtools.open(tmp_path / "m.pt") as other:
        assert list(one) == list(other) and other.convention == "keras"
        assert verify_bits(one, other).notes == []


def test_keras_loads_what_came_home(tmp_path: Path) -> None:
    import keras

    model = keras.models.load_model(KERAS, compile=False)
    before = [weight.numpy() for weight in model.weights]
    assert convert(KERAS, tmp_path / "m.pt") == convert(tmp_path / "m.pt", tmp_path / "m.h5") == 0
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.load_weights(tmp_path / "m.h5")
    for values, weight in zip(before, model.weights, strict=True):
        assert np.array_equal(values, weight.numpy())


def test_a_layout_that_no_graph_has_is_written_without_one(tmp_path: Path) -> None:
    assert convert(KERAS, tmp_path / "m.onnx", "--layout", "torch") == 0
    with wtools.open(tmp_path / "m.onnx") as tree:
        assert tree.convention == "torch" and tree["conv2d.weight"].shape == (8, 1, 3, 3)
    assert convert(tmp_path / "m.onnx", tmp_path / "m.h5") == 0
    with wtools.open(KERAS) as one, wtools.open(tmp_path / "m.h5") as home:
        assert verify_bits(one, home).summary["equal"]


def test_what_the_module_needs_is_told(tmp_path: Path) -> None:
    import keras

    x = keras.Input((6, 4))
    y = keras.layers.LSTM(3, activation="relu", name="odd")(x)
    y = keras.layers.BatchNormalization(epsilon=1e-4, momentum=0.9, name="norm")(y)
    keras.Model(x, y).save(tmp_path / "m.keras")
    notes = wtools.convert(tmp_path / "m.keras", tmp_path / "m.pt").notes
    assert "norm: torch's BatchNorm2d needs eps=0.0001" in notes
    assert (
        "odd: activation 'relu', which no layer of torch.nn has: the outputs will differ" in notes
    )


def test_what_keras_needs_is_told_of_a_state_dict_and_of_a_graph(tmp_path: Path) -> None:
    import torch

    norm = torch.nn.ModuleDict({"norm": torch.nn.BatchNorm2d(3, eps=1e-4)}).eval()
    torch.save(norm.state_dict(), tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.pt") as tree:
        assert translated(tree, "keras").notes == [
            "norm: Keras' BatchNormalization needs epsilon=1e-05, momentum=0.9, if torch's "
            "defaults were kept"
        ]
    images = torch.randn(1, 3, 4, 4)
    torch.onnx.export(norm["norm"], (images,), str(tmp_path / "m.onnx"), dynamo=False)
    with wtools.open(tmp_path / "m.onnx") as tree:
        assert (
            "Keras' BatchNormalization needs epsilon=0.0001" in translated(tree, "keras").notes[0]
        )
        assert "torch's BatchNorm2d needs eps=0.0001" in translated(tree, "torch").notes[0]


def test_the_mapping_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "mapping.json"
    assert convert(KERAS, tmp_path / "m.pt", "--dry-run", "--mapping-out", path) == 0
    found = json.loads(path.read_text())
    assert found["schema"] == "wtools.mapping/1"
    assert (found["from"], found["to"]) == ("keras", "torch")
    with wtools.open(KERAS) as tree:
        assert set(found["tensors"]) == set(wtools.translate(tree, "torch"))
        used = {name for entry in found["tensors"].values() for name in entry["sources"]}
        assert used == set(tree)
    assert found["tensors"]["dense_1.weight"]["steps"] == ["i o -> o i"]
    assert not (tmp_path / "m.pt").exists()
    assert convert(KERAS, tmp_path / "m.pt", "--mapping-out", path) == 4  # it is there
    assert convert(KERAS, tmp_path / "m.pt", "--mapping-out", path, "--overwrite") == 0


def test_names_are_chosen_in_the_source_and_changed_in_the_output(tmp_path: Path) -> None:
    words = ["--only", "conv2d/*", "--rename", "^conv2d=stem", "--dtype", "bfloat16"]
    assert convert(KERAS, tmp_path / "m.pt", *words) == 0
    with wtools.open(tmp_path / "m.pt") as tree:
        assert {n: t.dtype for n, t in tree.items()} == {
            "stem.weight": "bfloat16",
            "stem.bias": "bfloat16",
        }
    assert convert(tmp_path / "m.pt", tmp_path / "m.h5") == 0
    with wtools.open(tmp_path / "m.h5") as home:  # what it was is known whatever it is called
        assert set(home) == {"conv2d/kernel", "conv2d/bias"}


def test_what_cannot_be_translated_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert("fixtures/keras/keras2_zoo.h5", tmp_path / "m.pt") == 4
    assert "layer 'prelu'" in capsys.readouterr().err
    assert not (tmp_path / "m.pt").exists()
    without = ("--exclude", "prelu/*")
    assert convert("fixtures/keras/keras2_zoo.h5", tmp_path / "m.pt", *without) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--layout", "caffe"),
        ("--heads", "it"),
        ("--heads", "it=none"),
        ("--heads", "it=0"),
        ("--heads", "missing=2"),
        ("--flatten", "dense=5"),
        ("--flatten", "dense=axb"),
        ("--flatten", "dense=9x9x9"),
        ("--kind", "dense=moon"),
        ("--kind", "dense"),
    ],
)
def test_options_that_make_no_sense(words: tuple[str, str], tmp_path: Path) -> None:
    assert convert(KERAS, tmp_path / "m.pt", *words) in (2, 3)
    assert not (tmp_path / "m.pt").exists()


def test_a_state_dict_saved_again_by_torch_comes_home_in_values(tmp_path: Path) -> None:
    import torch

    assert convert(KERAS, tmp_path / "m.pt") == 0
    torch.save(torch.load(tmp_path / "m.pt", weights_only=True), tmp_path / "again.pt")
    assert convert(tmp_path / "again.pt", tmp_path / "m.h5", "--flatten", "dense=2x2x16") == 0
    with wtools.open(KERAS) as one, wtools.open(tmp_path / "m.h5") as other:
        assert set(one) == set(other)
        for name, tensor in one.items():
            assert np.array_equal(tensor.read(), other[name].read()), name


def test_memory_is_that_of_a_tensor_or_two(tmp_path: Path) -> None:
    """Of sixteen that are turned. Mapped pages of the source count as the process' own."""
    side = 2048
    each = side * side * 4
    tensors = [
        Tensor.of(f"d{n}/kernel", np.full((side, side), n, np.float32), layer=f"d{n}", kind="Dense")
        for n in range(16)
    ]
    wtools.convert(WeightTree(tensors, format="keras"), tmp_path / "m.h5", layout="keep")
    small = WeightTree(tensors[:1], format="keras").map(lambda t: Tensor.of(t.name, [[1.0]]))
    wtools.convert(small, tmp_path / "small.h5")
    resting = peak_of("convert", tmp_path / "small.h5", tmp_path / "small.pt")
    peak = peak_of("convert", tmp_path / "m.h5", tmp_path / "m.pt")
    assert peak - resting < 5 * each
