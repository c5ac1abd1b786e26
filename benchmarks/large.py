"""What lies in 4 GB files of every format: time and memory of `wtools stats`, `diff` and `check`.

The values are those of a trained model (see `sketch.weights`); no two tensors are equal.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from .measure import WTOOLS, Cost, cost, table
from .sketch import GIB, MIB, model, weights

SIZE = 4 * GIB
EACH = 32 * MIB  # bytes of a tensor: (4096, 2048) float32
SHAPE = (4096, 2048)


def run() -> str:
    """Markdown: statistics by format, then diff and check against them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return f"{_formats(folder)}\n\n{_questions(folder)}"


def _formats(folder: Path) -> str:
    rows = []
    for what, write in {
        "4 GiB safetensors, float32": safetensors,
        "4 GiB .pt, float32": pytorch,
        "4 GiB .h5, float32, contiguous": contiguous,
        "4 GiB .h5, float32, chunks with gzip": gzipped,
        "4 GiB ONNX, float32, external data": onnx,
    }.items():
        path = write(folder)
        spent = cost([*WTOOLS, "stats", str(path)], runs=1)
        rows.append([what, f"{spent.wall:.2f}", f"{spent.cpu:.2f}", f"{spent.peak / MIB:.0f}"])
        for file in folder.iterdir():
            file.unlink()
    header = ["`wtools stats`", "wall s", "CPU s", "peak MB (aim: below 300)"]
    return table(header, rows)


def _questions(folder: Path) -> str:
    a = distinct(model(folder / "a.safetensors", "bfloat16", SIZE), 0)
    b = folder / "b.safetensors"
    changed(a, b)
    commands = {
        "`stats A`": ["stats", str(a)],
        "`check A`": ["check", str(a)],
        "`diff A A`": ["diff", str(a), str(a)],
        "`diff A B`, every element changed": ["diff", str(a), str(b)],
    }
    spent = {what: cost([*WTOOLS, *rest], runs=3) for what, rest in commands.items()}
    stats = spent["`stats A`"]
    rows = [[what, *_compared(c, stats)] for what, c in spent.items()]
    header = ["4 GiB bfloat16", "wall s", "CPU s", "speed / stats", "per CPU s", "peak MB"]
    return f"{table(header, rows)}\n\nSpeed: bytes of A; the aim is 0.5."


def _compared(spent: Cost, stats: Cost) -> list[str]:
    figures = [spent.wall, spent.cpu, stats.wall / spent.wall, stats.cpu / spent.cpu]
    return [f"{figure:.2f}" for figure in figures] + [f"{spent.peak / MIB:.0f}"]


def distinct(path: Path, shift: int) -> Path:
    """Give each tensor of a safetensors file of bfloat16 a first element of its own."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        for number, entry in enumerate(json.loads(file.read(size)).values()):
            file.seek(8 + size + entry["data_offsets"][0])
            file.write((0x3A00 + number + shift).to_bytes(2, "little"))
    return path


def changed(a: Path, b: Path) -> None:
    """A safetensors file of bfloat16 with the lowest bit of every element changed."""
    with a.open("rb") as source, b.open("wb") as target:
        head = source.read(8)
        target.write(head + source.read(int.from_bytes(head, "little")))
        while block := source.read(EACH):
            target.write((np.frombuffer(block, np.uint16) ^ 1).tobytes())


def values(number: int) -> np.ndarray:
    """One tensor of float32."""
    found = weights("float32", EACH)[: EACH // 4].reshape(SHAPE).copy()
    found[0, 0] = number / 1000
    return found


def safetensors(folder: Path) -> Path:
    return model(folder / "model.safetensors", "float32", SIZE)


def pytorch(folder: Path) -> Path:
    """The same, as torch.save writes it."""
    import wtools

    source = safetensors(folder)
    wtools.convert(str(source), str(folder / "model.pt"))
    return folder / "model.pt"


def contiguous(folder: Path) -> Path:
    return _keras(folder / "model.h5", compressed=False)


def gzipped(folder: Path) -> Path:
    return _keras(folder / "model.h5", compressed=True)


def _keras(path: Path, *, compressed: bool) -> Path:
    """Weights of Keras' Dense layers, by h5py; a compressed chunk is compressed once only."""
    import h5py

    rows = 128
    chunks = {"chunks": (rows, SHAPE[1]), "compression": "gzip"} if compressed else {}
    one = zlib.compress(values(0)[:rows].tobytes(), 4)
    with h5py.File(path, "w") as file:
        layers = [f"dense_{i}" for i in range(SIZE // EACH)]
        file.attrs["layer_names"] = layers
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "3.15.1"
        for number, layer in enumerate(layers):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel"]
            inner = group.create_group(layer)
            kernel = inner.create_dataset("kernel", SHAPE, np.float32, **chunks)
            if not compressed:
                kernel[:] = values(number)
                continue
            for start in range(0, SHAPE[0], rows):
                kernel.id.write_direct_chunk((start, 0), one)
    return path


def onnx(folder: Path) -> Path:
    """Initializers with their data in a second file: protobuf ends at 2 GB."""
    import onnx as library

    initializers = []
    with (folder / "model.bin").open("wb") as data:
        for number in range(SIZE // EACH):
            tensor = library.TensorProto(
                name=f"layer_{number}.weight", dims=SHAPE, data_type=library.TensorProto.FLOAT
            )
            tensor.data_location = library.TensorProto.EXTERNAL
            place = {"location": "model.bin", "offset": data.tell(), "length": EACH}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            initializers.append(tensor)
            data.write(values(number).tobytes())
    graph = library.helper.make_graph([], "weights", [], [], initializers)
    path = folder / "model.onnx"
    path.write_bytes(library.helper.make_model(graph).SerializeToString())
    return path


if __name__ == "__main__":
    sys.stdout.write(run() + "\n")
