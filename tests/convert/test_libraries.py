"""What wtools writes is opened by the library whose format it is, and has equal tensors there."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools import dtypes, formats
from wtools.conversion import convert
from wtools.tree import Tensor, WeightTree

from .trees import bits, every, tensor

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def held(format: str) -> frozenset[str]:
    writer = formats.writer(format)
    assert writer is not None
    return writer.HOLDS


def packed(tensor: Tensor) -> bytes:
    return dtypes.get(tensor.dtype).pack(tensor.read()).tobytes()


# --- safetensors ---------------------------------------------------------------------------------


def safetensors_bytes(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    import safetensors

    found = safetensors.deserialize(path.read_bytes())
    return {n: (v["dtype"], tuple(v["shape"]), bytes(v["data"])) for n, v in found}


def test_safetensors_opens_every_dtype(tmp_path: Path) -> None:
    tree = every(held("safetensors"), ".", tied=False)
    convert(tree, tmp_path / "m.safetensors")
    found = safetensors_bytes(tmp_path / "m.safetensors")
    assert found == {
        n: (dtypes.get(t.dtype).safetensors, t.shape, packed(t)) for n, t in tree.items()
    }


def test_safetensors_are_aligned_and_in_order(tmp_path: Path) -> None:
    tree = WeightTree(
        [tensor("a", "bool", (3,)), tensor("b", "float64", (2,)), tensor("c", "int8", (1,))]
    )
    convert(tree, tmp_path / "m.safetensors")
    raw = (tmp_path / "m.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    assert size % 8 == 0 and [k for k in header if k != "__metadata__"] == ["a", "b", "c"]
    assert header["b"]["data_offsets"][0] % 8 == 0


def test_tied_tensors_load_into_a_torch_model_with_load_model(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_model

    class Model(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embedding.weight

    model, other = Model(), Model()
    torch.save(model.state_dict(), tmp_path / "m.pt")
    convert(tmp_path / "m.pt", tmp_path / "m.safetensors")
    assert len(safetensors_bytes(tmp_path / "m.safetensors")) == 1
    load_model(other, tmp_path / "m.safetensors")
    assert torch.equal(other.head.weight, model.head.weight)


def test_shards_load_with_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        vocab_size=50, max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.BertModel(config)
    (tmp_path / "one").mkdir()
    model.save_pretrained(tmp_path / "one")
    config.save_pretrained(tmp_path)
    report = convert(
        tmp_path / "one" / "model.safetensors", tmp_path / "model.safetensors", shard_size=5000
    )
    assert len(report.summary["files"]) > 3
    loaded = transformers.BertModel.from_pretrained(tmp_path)
    for name, value in model.state_dict().items():
        assert (loaded.state_dict()[name] == value).all()


def test_shards_hold_no_more_than_asked(tmp_path: Path) -> None:
    tree = every(["float32", "float64"])
    report = convert(tree, tmp_path / "m.safetensors", shard_size=400)
    for name in report.summary["files"][:-1]:
        with wtools.open(tmp_path / name) as shard:
            assert shard.nbytes <= 400 or len(shard.distinct()) == 1


# --- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_every_dtype_with_weights_only(mmap: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tree = every(held("pytorch"), ".")
    convert(tree, tmp_path / "m.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = torch.load(tmp_path / "m.pt", weights_only=True, mmap=mmap)
    assert list(state) == list(tree)
    for name, value in state.items():
        assert str(value.dtype) == f"torch.{dtypes.get(tree[name].dtype).torch}"
        assert tuple(value.shape) == tree[name].shape and value.is_contiguous()
        raw = value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        assert raw == packed(tree[name])
    names = tree.tied()[0]
    assert len({state[name].data_ptr() for name in names}) == 1


def test_torch_loads_an_optimizer_beside_the_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tree = every(["float32"], ".", tied=False)
    moments = WeightTree([tensor("state.0.exp_avg", "float32", (3,))])
    convert(tree.replace(tree.values(), apart={"optimizer": moments}), tmp_path / "m.pt")
    found = torch.load(tmp_path / "m.pt", weights_only=True)
    assert set(found) == {"state_dict", "optimizer"} and list(found["state_dict"]) == list(tree)
    assert found["optimizer"]["state.0.exp_avg"].shape == (3,)


def test_a_torch_archive_is_a_sound_zip_with_aligned_storages(tmp_path: Path) -> None:
    convert(every(["float32", "int8"]), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        assert archive.testzip() is None
        members = {info.filename: info for info in archive.infolist()}
        assert archive.read("m/byteorder") == b"little" and archive.read("m/version") == b"3\n"
        assert len(archive.read("m/.data/serialization_id")) == 40
    raw = (tmp_path / "m.pt").read_bytes()
    for name, info in members.items():
        lengths = raw[info.header_offset + 26 : info.header_offset + 30]
        start = (
            info.header_offset
            + 30
            + lengths[0]
            + (lengths[1] << 8)
            + lengths[2]
            + (lengths[3] << 8)
        )
        assert start % 64 == 0, name


@pytest.mark.slow
def test_a_member_of_more_than_4_gib(tmp_path: Path) -> None:
    """zip64, from a sparse source to a sparse target: no disk is used, no memory either."""
    torch = pytest.importorskip("torch")
    count = (1 << 32) + 1000
    header = json.dumps(
        {"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    with open(tmp_path / "m.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + count)
        file.seek(-1, 2)
        file.write(b"\x07")
    convert(tmp_path / "m.safetensors", tmp_path / "m.pt")
    assert (tmp_path / "m.pt").stat().st_blocks * 512 < 1 << 20
    state = torch.load(tmp_path / "m.pt", weights_only=True, mmap=True)
    assert state["w"].shape == (count,) and state["w"][-1] == 7 and state["w"][5] == 0
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        assert archive.getinfo("m/data/0").file_size == count


# --- npz -----------------------------------------------------------------------------------------


def test_numpy_loads_every_dtype(tmp_path: Path) -> None:
    tree = every(held("npz"))
    convert(tree, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as found:
        assert found.files == list(tree)
        for name in found.files:
            assert found[name].dtype == tree[name].read().dtype
            assert found[name].tobytes() == tree[name].read().tobytes()


# --- ONNX ----------------------------------------------------------------------------------------


def initializers(path: Path) -> Iterator[tuple[str, Any]]:
    onnx = pytest.importorskip("onnx")
    for one in onnx.load(path).graph.initializer:
        yield one.name, onnx.numpy_helper.to_array(one)


@pytest.mark.parametrize("external", [False, True])
def test_onnx_accepts_every_dtype(external: bool, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    large = Tensor.of("large", np.arange(2000.0))
    tree = WeightTree([*every(held("onnx"), tied=False).values(), large])
    convert(tree, tmp_path / "m.onnx", external_data=external)
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    found = dict(initializers(tmp_path / "m.onnx"))
    assert list(found) == list(tree)
    for name, array in found.items():
        kind = dtypes.get(tree[name].dtype)
        assert array.shape == tree[name].shape
        assert kind.pack(array.astype(kind.numpy, copy=False)).tobytes() == packed(tree[name])
    assert (tmp_path / "m.onnx.data").exists() == external


@pytest.mark.parametrize("external", [False, True])
def test_onnxruntime_runs_a_file_of_weights_and_gets_them(external: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    known = ["float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"]
    tree = WeightTree([tensor(f"{d}/w", d, (40, 50)) for d in known])
    convert(tree, tmp_path / "m.onnx", external_data=external)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    for name, array in zip(tree, session.run(list(tree), {}), strict=True):
        assert array.tobytes() == tree[name].read().tobytes()


def test_a_file_of_weights_says_so(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    convert(every(["float32"]), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert "Weights only" in model.doc_string and model.producer_name == "wtools"
    assert not model.graph.node


@pytest.mark.slow
def test_more_than_2_gb_go_beside_the_model_by_themselves(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    count = 2**29 + 1
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}})
    raw = header.encode() + b" " * (-len(header) % 8)
    with open(tmp_path / "m.safetensors", "wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + 4 * count)
    report = convert(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert report.summary["files"] == ["m.onnx.data", "m.onnx"]
    assert (tmp_path / "m.onnx").stat().st_size < 10_000
    onnx.checker.check_model(str(tmp_path / "m.onnx"))


# --- Keras ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5"])
def test_h5py_reads_every_dtype(name: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    tree = every(held("keras"))
    report = convert(tree, tmp_path / name)
    with h5py.File(tmp_path / name) as file:
        for row in report.rows:
            array = np.asarray(file[row.stored][()])
            assert array.shape == row.shape
            assert array.tobytes() == packed(tree[row.target])
        first, second = (row.stored for row in report.rows if row.target in tree.tied()[0])
        assert file[first] == file[second]


def test_the_older_layout_has_what_keras_looks_for(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    names = [f"layer_{'x' * 100}_{i}" for i in range(1500)]
    tree = WeightTree(Tensor.of(f"{n}/kernel", np.float32(i)) for i, n in enumerate(names))
    convert(tree, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        pieces = [file.attrs[f"layer_names{i}"] for i in range(3)]
        assert [n.decode() for piece in pieces for n in piece] == names
        assert file[names[7]].attrs["weight_names"].tolist() == [f"{names[7]}/kernel".encode()]
        assert file.attrs["backend"] and file.attrs["keras_version"]


def keras_model() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.layers.Dense(6, name="d1"), keras.layers.BatchNormalization(name="bn")], name="inner"
    )
    inputs = keras.Input((5,))
    outputs = keras.layers.Dense(3, name="out")(inner(inputs))
    return keras.Model(inputs, outputs)


def changed(source: Path, target: Path) -> None:
    """The weights of a file, each twice as large, in a safetensors file."""
    with wtools.open(source) as tree:
        arrays = [Tensor.of(n, t.read() * 2) for n, t in tree.items()]
        convert(WeightTree(arrays), target)


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_keras_loads_a_model_with_its_weights_replaced(name: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras_model()
    model.save(tmp_path / name)
    changed(tmp_path / name, tmp_path / "new.safetensors")
    convert(tmp_path / "new.safetensors", tmp_path / f"new_{name}", like=str(tmp_path / name))
    loaded = keras.models.load_model(tmp_path / f"new_{name}")
    for old, new in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(new), 2 * np.asarray(old))
    x = np.ones((2, 5), np.float32)
    assert not np.allclose(model(x), loaded(x))


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_keras_loads_weights_written_in_the_older_layout(name: str, tmp_path: Path) -> None:
    """From either kind of model to a `.h5` of weights alone, which a like model then loads."""
    pytest.importorskip("keras")
    model, other = keras_model(), keras_model()
    for weight in model.weights:
        weight.assign(np.random.default_rng(3).standard_normal(weight.shape))
    model.save(tmp_path / name)
    convert(tmp_path / name, tmp_path / "w.h5")
    other.load_weights(tmp_path / "w.h5")
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_keras_loads_weights_written_in_the_newer_layout(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model, other = keras_model(), keras_model()
    for weight in model.weights:
        weight.assign(np.random.default_rng(4).standard_normal(weight.shape))
    model.save(tmp_path / "m.keras")
    convert(tmp_path / "m.keras", tmp_path / "m.safetensors")
    convert(tmp_path / "m.keras", tmp_path / "m.weights.h5")
    assert keras.__version__
    other.load_weights(tmp_path / "m.weights.h5")
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_bits_are_drawn_at_random() -> None:
    assert bits("float32", (100,)).tobytes() != bits("float32", (100,), 1).tobytes()
