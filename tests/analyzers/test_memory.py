"""What is larger than memory may be asked too: one pass, in little memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from measured import peak_of

MOST = 300 << 20


def huge(path: Path, rows: int, last: float) -> None:
    """A file of one float32 matrix of zeros that takes no disk; its last element is `last`."""
    import struct

    nbytes = rows * 1024 * 4
    header = json.dumps(
        {"fc.weight": {"dtype": "F32", "shape": [rows, 1024], "data_offsets": [0, nbytes]}}
    ).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.seek(nbytes - 4, 1)
        file.write(struct.pack("<f", last))


@pytest.mark.slow
@pytest.mark.parametrize("question", ["diff", "check", "sparsity"])
def test_a_gigabyte_takes_less_than_300_mb(question: str, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for k, path in enumerate(paths):
        huge(path, 1 << 18, 1.0 + k)
    files = paths if question == "diff" else paths[:1]
    assert peak_of(question, *files, "--json") < MOST


ROWS, EACH = 8192, 1 << 25  # a tensor: (8192, 1024) float32
COUNT = 128  # 4 GB of them; holes in the files, that take no disk


def pytorch(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    path = folder / "model.pt"
    weights = {f"fc{i}.weight": torch.empty(ROWS, 1024) for i in range(COUNT)}
    with torch.serialization.skip_data():
        torch.save(weights, path)
    return path


def keras(folder: Path, compressed: bool) -> Path:
    import zlib

    import h5py

    path = folder / "model.h5"
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if compressed:
        early.set_chunk((256, 1024))
        early.set_deflate(1)
    else:
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    some = np.random.default_rng(0).standard_normal(256 * 1024 // 16, np.float32)
    chunk = zlib.compress(some.repeat(16).tobytes(), 1)  # not so small that it looks like a bomb
    with h5py.File(path, "w") as file:
        layers = [f"dense_{i}" for i in range(COUNT)]
        file.attrs["layer_names"] = layers
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "3.15.1"
        for layer in layers:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel"]
            inner = group.create_group(layer)
            space = h5py.h5s.create_simple((ROWS, 1024))
            kernel = h5py.h5d.create(inner.id, b"kernel", h5py.h5t.IEEE_F32LE, space, early)
            for start in range(0, ROWS if compressed else 0, 256):
                kernel.write_direct_chunk((start, 0), chunk)
    return path


def onnx(folder: Path) -> Path:
    library = pytest.importorskip("onnx")
    initializers = []
    for number in range(COUNT):
        tensor = library.TensorProto(name=f"layer_{number}.weight", dims=(ROWS, 1024), data_type=1)
        tensor.data_location = library.TensorProto.EXTERNAL
        place = {"location": "model.bin", "offset": number * EACH, "length": EACH}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        initializers.append(tensor)
    with (folder / "model.bin").open("wb") as file:
        file.truncate(COUNT * EACH)
    path = folder / "model.onnx"
    graph = library.helper.make_graph([], "weights", [], [], initializers)
    path.write_bytes(library.helper.make_model(graph).SerializeToString())
    return path


def safetensors(folder: Path) -> Path:
    huge(folder / "model.safetensors", COUNT * ROWS, 1.0)
    return folder / "model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "pt", "h5", "h5 in chunks with gzip", "onnx"])
def test_statistics_of_4_gb_take_less_than_300_mb(kind: str, tmp_path: Path) -> None:
    writers = {"safetensors": safetensors, "pt": pytorch, "onnx": onnx}
    if kind in writers:
        path = writers[kind](tmp_path)
    else:
        path = keras(tmp_path, compressed=kind != "h5")
    assert peak_of("stats", path, "--json") < MOST
