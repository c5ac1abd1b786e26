"""What it costs to open: `wtools ls` of large files, and start-up against bare imports.

The files are sparse, real in structure and empty in their data, which opening never reads.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path

from .measure import WTOOLS, cost, imports, table

MIB, GIB = 1 << 20, 1 << 30


def run() -> str:
    """Markdown: the cost of opening large files, and of starting."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return f"{_large(folder)}\n\n{_start(folder)}"


def _large(folder: Path) -> str:
    base = imports("numpy", "click")
    files = {
        "10 GB in 20 safetensors shards": sharded(folder / "sharded"),
        "4 GB .pt": pytorch(folder / "model.pt"),
        "4 GB .h5": keras(folder / "model.h5"),
        "1.9 GB ONNX, weights embedded": onnx(folder / "model.onnx"),
    }
    rows = []
    for what, path in files.items():
        spent = cost([*WTOOLS, "ls", str(path), "--json"])
        ratio = f"{spent.cpu / base.cpu:.2f}"
        rows.append([what, f"{spent.cpu:.2f}", ratio, f"{spent.peak / MIB:.0f}"])
    header = ["`wtools ls`", "CPU s", "/ import numpy, click", "peak MB"]
    return table(header, rows)


def _start(folder: Path) -> str:
    small = folder / "small.safetensors"
    safetensors(small, {f"layer.{i}.weight": (64, 64) for i in range(64)})
    help_, stats = cost([*WTOOLS, "--help"]), cost([*WTOOLS, "stats", str(small)])
    two, three = imports("numpy", "click"), imports("numpy", "h5py", "click")
    rows = [
        ["`wtools --help`", "import numpy, click", f"{help_.cpu / two.cpu:.2f}"],
        ["`wtools stats` of 1 MB", "import numpy, h5py, click", f"{stats.cpu / three.cpu:.2f}"],
    ]
    return table(["start-up", "against", "CPU ratio"], rows)


def safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """float32 tensors of zeros that take no room."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        nbytes = 4
        for n in shape:
            nbytes *= n
        offsets = [offset, offset + nbytes]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": offsets}
        offset += nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)


def sharded(folder: Path) -> Path:
    folder.mkdir()
    weight_map = {}
    for shard in range(1, 21):
        name = f"model-{shard:05}-of-00020.safetensors"
        shapes = {f"layers.{shard}.{i}.weight": (1024, 1280) for i in range(100)}
        safetensors(folder / name, shapes)
        weight_map |= dict.fromkeys(shapes, name)
    index = {"metadata": {"total_size": 20 * 100 * 1024 * 1280 * 4}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def pytorch(path: Path) -> Path:
    import torch

    weights = {f"layers.{i}.weight": torch.empty(1024, 1024, device="meta") for i in range(1024)}
    real = {name: torch.empty_like(value, device="cpu") for name, value in weights.items()}
    with torch.serialization.skip_data():
        torch.save(real, path)
    return path


def keras(path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        layers = [f"dense_{i}" for i in range(256)]
        file.attrs["layer_names"] = layers
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "3.15.1"
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        for layer in layers:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel"]
            inner = group.create_group(layer)
            space = h5py.h5s.create_simple((2048, 2048))
            h5py.h5d.create(inner.id, b"kernel", h5py.h5t.IEEE_F32LE, space, early)
    return path


def onnx(path: Path) -> Path:
    """190 initializers of 10 MB; protobuf written by hand so that the data can be holes."""

    def varint(value: int) -> bytes:
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    def field(number: int, body: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(body)) + body

    data = 10 * MIB
    heads = []
    for i in range(190):
        dims = b"\x08" + varint(data // 4)
        head = dims + b"\x10\x01" + field(8, f"layer_{i}.weight".encode())
        head += varint(9 << 3 | 2) + varint(data)
        heads.append(varint(5 << 3 | 2) + varint(len(head) + data) + head)
    graph = sum(map(len, heads)) + 190 * data
    opset = field(8, b"\x10\x11")
    with path.open("wb") as file:
        file.write(b"\x08\x08" + opset + varint(7 << 3 | 2) + varint(graph))
        for head in heads:
            file.write(head)
            file.seek(data, 1)
        file.truncate()
    return path


if __name__ == "__main__":
    sys.stdout.write(run() + "\n")
