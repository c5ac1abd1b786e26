"""PyTorch files hold what torch itself says they hold."""

from __future__ import annotations

import io
import json
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import facts
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wtools import formats
from wtools.errors import FormatError, NameNotFoundError, WtoolsError
from wtools.files import RawData
from wtools.formats.pytorch import places, strided
from wtools.testing import FormatContract
from wtools.tree import Storage, WeightTree, tie_key

FOLDER = facts.ROOT / "pytorch"
FACTS = facts.load("pytorch")


class TestContract(FormatContract):
    format = "pytorch"
    samples: ClassVar = [FOLDER / name for name in FACTS if name != "empty.pt"]


@pytest.mark.parametrize("name", FACTS)
def test_it_says_what_torch_says(name: str) -> None:
    with formats.open(FOLDER / name, root=FACTS[name].get("root")) as tree:
        facts.check(tree, FACTS[name])
        for tensor, fact in FACTS[name]["tensors"].items():
            for field in ("layer", "kind"):
                if field in fact:
                    assert getattr(tree[tensor], field) == fact[field]


def open_(name: str, **options: Any) -> WeightTree:
    return formats.open(FOLDER / name, **options)


# --- where the weights are -----------------------------------------------------------------------


def test_a_training_checkpoint_is_taken_apart() -> None:
    tree = open_("training.ckpt")
    assert tree.metadata["epoch"] == 3 and tree.metadata["root"] == "model"
    assert tree.metadata["config"]["layers"] == ["linear", "relu"]
    assert tree.metadata["best"] == 0.25 and tree.metadata["ema"] == {"decay": 0.999}
    assert np.isnan(tree.metadata["history"][2])
    assert list(tree.apart) == ["optimizer", "ema.state_dict"]
    assert tree.apart["optimizer"].metadata["param_groups"][0]["lr"] == 0.01
    assert tree.notes == ()


@pytest.mark.parametrize("root", ["ema.state_dict", "ema"])
def test_root_chooses(root: str) -> None:
    assert set(open_("training.ckpt", root=root)) == set(open_("training.ckpt"))
    array = open_("training.ckpt", root=root)["0.weight"].read()
    assert not np.array_equal(array, open_("training.ckpt")["0.weight"].read())


def test_root_takes_the_optimizer_by_both_names() -> None:
    by_name = open_("lightning.ckpt", root="optimizer")
    by_path = open_("lightning.ckpt", root="optimizer_states.0")
    assert set(by_name) == set(by_path) and "state.0.exp_avg" in by_name


@pytest.mark.parametrize("name", sorted(FACTS))
def test_every_set_that_stays_apart_is_opened_by_its_name(name: str) -> None:
    for root, apart in open_(name, root=FACTS[name].get("root")).apart.items():
        tree = open_(name, root=root)
        assert [(t.name, t.stored) for t in tree.values()] == [
            (t.name, t.stored) for t in apart.values()
        ]
        assert not tree.apart


def test_loose_tensors_beside_the_weights_are_a_set_of_their_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"model": {"w": torch.zeros(2)}, "loss": torch.tensor(0.5)}, tmp_path / "m.pt")
    with formats.open(tmp_path / "m.pt") as tree:
        assert list(tree) == ["w"] and list(tree.apart) == ["other"]
    with formats.open(tmp_path / "m.pt", root="other") as tree:
        assert list(tree) == ["loss"]


def test_a_root_that_is_not_there_offers_near_ones() -> None:
    with pytest.raises(NameNotFoundError, match=r"ema\.state_dict"):
        open_("training.ckpt", root="ema.stat_dict")
    with pytest.raises(NameNotFoundError):
        open_("training.ckpt", root="epoch")


def test_keys_with_dots_are_found(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"v1.0": {"a.b": {"w": torch.ones(2)}}, "x": {"w": torch.zeros(3)}}, tmp_path / "m")
    assert formats.open(tmp_path / "m", root="v1.0.a.b")["w"].shape == (2,)


def test_several_models_are_one_tree_without_their_optimizers() -> None:
    tree = open_("gan.pth")
    assert list(tree) == ["G.net.weight", "D.net.weight"]
    assert {"G.optim", "D.optim"} == set(tree.apart)


def test_a_pickled_module_knows_its_layers() -> None:
    tree = open_("module.pt")
    assert "scratch" not in tree and tree["grid"].trainable is False
    assert tree["blocks.0.conv.weight"].kind == "Conv2d"
    assert tree["stem.weight"].trainable is False and tree["head.weight"].trainable is True
    assert tree.notes == ()


def test_torchscript_knows_its_layers() -> None:
    tree = open_("script_lstm.pt")
    assert tree.variant == "TorchScript"
    assert tree["lstm.weight_ih_l1_reverse"].kind == "LSTM"


# --- what stands in the file ---------------------------------------------------------------------


def test_views_are_views() -> None:
    tree = open_("views.pt")
    assert tree.tied() == [("base", "same")]
    base, rows = tree["base"].storage, tree["rows"].storage
    assert base is not None and rows is not None
    assert rows.offset == base.offset + 2 * 8 * 4 and rows.strides is None
    assert tree["transposed"].storage == Storage(base.file, base.offset, base.nbytes, (1, 8))
    assert tie_key(tree["transposed"]) != tie_key(tree["base"])
    raw = {name for name, tensor in tree.items() if tensor.raw is not None}
    assert raw == {"base", "same", "rows", "scalar", "empty", "empty_view"}


def test_quantisation_is_told() -> None:
    tree = open_("quantised.pt")
    per_channel = tree["per_channel_1"].quantization
    assert per_channel is not None and per_channel.scheme == "per-channel axis 1"
    assert tree["qint8"].facts["torch_dtype"] == "qint8"
    scheme = tree["qint8"].quantization
    assert scheme is not None and scheme.scale.read() == np.float32(0.05)


def test_plain_arrays_of_a_pickle_stay_in_the_file() -> None:
    assert isinstance(open_("plain4.pkl")["large"].data, RawData)
    assert open_("numpy.pt").metadata["step"] == 7
    assert "names, text" in open_("numpy.pt").notes[0]


def test_a_meta_tensor_is_left_out_and_named() -> None:
    assert open_("meta.pt").notes == ("meta without numbers left out",)


def test_too_sparse_a_tensor_is_shown_as_its_values(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.sparse_coo_tensor([[5], [7]], [2.0], (100_000, 100_000))
    torch.save({"huge": tensor}, tmp_path / "m")
    tree = formats.open(tmp_path / "m")
    assert tree["huge"].shape == (1,) and tree["huge"].facts["dense_shape"] == [100_000, 100_000]
    assert "huge" in tree.notes[0]


def test_a_device_is_told(tmp_path: Path) -> None:
    path = repack(
        FOLDER / "state_dict.pt",
        tmp_path / "m",
        lambda d: d.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7"),
    )
    assert formats.open(path)["stem.weight"].facts["device"] == "cuda:7"


def test_unknown_names_are_told_and_nothing_else(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Evil:
        def __reduce__(self) -> Any:
            import os

            return os.system, (f"touch {tmp_path}/WTOOLS_PWNED",)

    torch.save({"w": torch.ones(2), "x": Evil()}, tmp_path / "m")
    tree = formats.open(tmp_path / "m")
    assert list(tree) == ["w"] and tree.metadata["globals"] == ["posix.system"]
    assert "posix.system" in tree.notes[0]
    assert not (tmp_path / "WTOOLS_PWNED").exists()


def test_shared_parts_do_not_explode(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    value: Any = torch.ones(1)
    for _ in range(30):
        value = [value, value]
    torch.save({"w": torch.ones(2), "x": value}, tmp_path / "m")
    with pytest.raises(WtoolsError, match="names"):
        formats.open(tmp_path / "m")
    nothing: Any = []
    for _ in range(30):
        nothing = [nothing, nothing]
    torch.save({"w": torch.ones(2), "x": nothing}, tmp_path / "m")
    assert len(json.dumps(formats.open(tmp_path / "m").metadata)) < 1 << 20


def test_a_part_of_a_distributed_tensor_is_told(tmp_path: Path) -> None:
    tree = open_("dtensor.pt")
    assert tree["parameter"].facts["class"] == "torch.distributed.tensor.DTensor"
    assert tree["parameter"].trainable is True and "whole_shape" not in tree["parameter"].facts


def test_a_joblib_file_is_called_one(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump({"w": np.ones(30)}, tmp_path / "m")
    with pytest.raises(FormatError, match="joblib"):
        formats.open(tmp_path / "m")


@pytest.mark.parametrize(
    "text", ["cat\ndog\nhorse\n", "chair\ntable\npillow\n", "(Version 2\nand", "import os\nx\n"]
)
def test_text_is_no_pickle(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.pt").write_text(text)
    with pytest.raises(FormatError, match="a text file"):
        formats.open(tmp_path / "m.pt")


def test_an_optimizer_alone(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.5, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "m")
    tree = formats.open(tmp_path / "m")
    assert list(tree) == ["state.0.momentum_buffer"]
    assert tree.metadata["param_groups"][0]["lr"] == 0.5


# --- against torch, in both directions -----------------------------------------------------------

DTYPES = ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int64", "bool",
          "complex64", "complex32", "uint16", "float8_e4m3fn"]  # fmt: skip


@st.composite
def strided_views(draw: Any) -> Any:
    """A view of a random storage, as any sequence of slices, transpositions and expansions."""
    torch = pytest.importorskip("torch")
    shape = draw(st.lists(st.integers(0, 6), max_size=4))
    dtype = getattr(torch, draw(st.sampled_from(DTYPES)))
    count = int(np.prod(shape, dtype=int))
    raw = torch.from_numpy(
        np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (count + 3) * 16, np.uint8)
    )
    t = (raw & 1).bool() if dtype is torch.bool else raw.view(dtype)
    start = draw(st.integers(0, 3))
    t = t[start : start + count].reshape(shape)
    for _ in range(draw(st.integers(0, 3))):
        if t.ndim == 0:
            t = t.expand(draw(st.integers(0, 3)), 2)
            continue
        axis = draw(st.integers(0, t.ndim - 1))
        match draw(st.integers(0, 3)):
            case 0:
                t = t.transpose(axis, draw(st.integers(0, t.ndim - 1)))
            case 1:
                low = draw(st.integers(0, t.shape[axis]))
                t = t.narrow(axis, low, draw(st.integers(0, t.shape[axis] - low)))
            case 2:
                t = t[(slice(None),) * axis + (slice(None, None, draw(st.integers(1, 3))),)]
            case 3:
                t = t.unsqueeze(axis).expand(*t.shape[:axis], 3, *t.shape[axis:])
    return t


def bits(t: Any) -> bytes:
    import torch

    t = t.detach().resolve_conj().clone(memory_format=torch.contiguous_format)
    return bytes(t.reshape(-1).view(torch.uint8).numpy().tobytes()) if t.numel() else b""


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(strided_views(), min_size=1, max_size=3), st.booleans(), st.sampled_from([1, 5000]))
def test_any_strides_are_read_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: list[Any], new: bool, near: int
) -> None:
    torch = pytest.importorskip("torch")
    if not new:  # torch cannot read these back from a legacy file
        views = [t for t in views if t.dtype not in torch.storage._new_dtypes()]
    torch.save(dict(enumerate(views)), tmp_path / "m", _use_new_zipfile_serialization=new)
    with monkeypatch.context() as patch:  # also the paths that only large tensors take
        patch.setattr(strided, "_NEAR", near)
        patch.setattr(strided, "WORK", near * 16)
        tree = formats.open(tmp_path / "m") if views else WeightTree([])
        for key, t in enumerate(views):
            ours = tree[str(key)]
            assert ours.shape == tuple(t.shape) and ours.dtype == str(t.dtype)[6:]
            blocks = list(ours.packed_blocks(64))
            assert b"".join(block.tobytes() for block in blocks) == bits(t)
            assert b"".join(b.tobytes() for b in ours.blocks(64)) == ours.read().tobytes()


def test_a_gather_reads_little_more_than_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    from wtools import dtypes

    reads: list[int] = []
    place = places.InMemory(np.arange(4000 * 500, dtype="<f4").tobytes())
    read = places.InMemory.read
    monkeypatch.setattr(places.InMemory, "read", lambda s, at, n: reads.append(n) or read(s, at, n))
    monkeypatch.setattr(strided, "_NEAR", 256)
    monkeypatch.setattr(strided, "WORK", 1 << 18)
    data = strided.StridedData(place, 0, (500, 4000), (1, 500), dtypes.get("float32"))
    blocks = list(data.blocks())
    assert np.array_equal(np.concatenate(blocks).reshape(500, 4000), data.read())
    assert sum(reads) <= 5 * data.read().nbytes
    assert max(map(len, blocks)) * 4 <= 1 << 20


# --- damage --------------------------------------------------------------------------------------


def repack(source: Path, target: Path, change: Any) -> Path:
    """The archive with `change` made to its data.pkl."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return target


def survives(path: Path) -> None:
    """Opening and reading either works or ends in a WtoolsError."""
    try:
        with formats.open(path, format="pytorch") as tree:
            for each in (tree, *tree.apart.values()):
                for tensor in each.values():
                    if tensor.nbytes < 1 << 20:
                        tensor.read(copy=True)
    except WtoolsError as error:
        assert str(path) in str(error), str(error)


@pytest.mark.parametrize("name", ["views.pt", "quantised.pt", "module.pt", "sparse.pt", "numpy.pt"])
def test_changed_bytes_of_the_pickle_end_in_an_error_or_not_at_all(
    name: str, tmp_path: Path
) -> None:
    rng = random.Random(name)
    for _ in range(60):

        def change(data: bytes) -> bytes:
            broken = bytearray(data)
            for _ in range(rng.choice([1, 1, 2, 5])):
                broken[rng.randrange(len(broken))] = rng.choice([0, 255, rng.randrange(256)])
            return bytes(broken)

        survives(repack(FOLDER / name, tmp_path / "m", change))


@pytest.mark.parametrize("name", ["legacy.pt", "plain2.pkl", "plain_tensors4.pkl", "script.pt"])
def test_changed_bytes_of_the_file_too(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    data = (FOLDER / name).read_bytes()
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 2, 5])):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        (tmp_path / "m").write_bytes(broken)
        survives(tmp_path / "m")


@pytest.mark.parametrize("name", ["legacy.pt", "training_legacy.tar", "plain2.pkl"])
def test_every_shorter_file_is_refused(name: str, tmp_path: Path) -> None:
    data = (FOLDER / name).read_bytes()
    for length in [*range(0, len(data), 37), len(data) - 1]:
        (tmp_path / "m").write_bytes(data[:length])
        with pytest.raises(WtoolsError):
            formats.open(tmp_path / "m", format="pytorch")


def test_what_follows_the_data_is_told(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes((FOLDER / "legacy.pt").read_bytes() + b"garbage")
    assert "7 bytes" in formats.open(tmp_path / "m").notes[0]


def test_nothing_is_imported() -> None:
    """Opening and reading imports no framework, nor anything that a pickle names."""
    code = """
import sys, wtools.formats as formats
from pathlib import Path
def read(path):
    with formats.open(path) as tree:
        [t.read() for each in (tree, *tree.apart.values()) for t in each.values()]
paths = sorted(Path(sys.argv[1]).glob("*.p*")) + sorted(Path(sys.argv[1]).glob("*.ckpt"))
for path in paths:
    read(path)
assert len(paths) > 40
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"torch", "zoo", "tensorflow", "keras", "pandas", "onnx", "cloudpickle"}))
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(FOLDER)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_a_large_pickle_stays_within_its_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pickle.dump({"config": list(range(300_000)), "w": np.ones(3)}, buffer, 4)
    (tmp_path / "m").write_bytes(buffer.getvalue())
    tree = formats.open(tmp_path / "m")
    assert tree.metadata["config"][-1] == "…" and list(tree) == ["w"]
