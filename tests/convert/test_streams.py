"""Writing files: holes stay holes, sums are right, memory stays bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from measured import PEAK

from wtools import dtypes
from wtools.errors import CorruptError
from wtools.files import RawData, Source
from wtools.streams import CHUNK, FileWriter, extents
from wtools.tree import Storage, Tensor


def sparse_file(path: Path, *data: tuple[int, bytes], size: int) -> None:
    with open(path, "wb") as file:
        for offset, raw in data:
            file.seek(offset)
            file.write(raw)
        file.truncate(size)


def tensor(source: Source, offset: int, count: int) -> Tensor:
    data = RawData(source, offset, (count,), dtypes.get("uint8"))
    return Tensor("w", data.shape, "uint8", data, storage=data.storage())


@pytest.mark.parametrize("offset", [0, 1, 5000])
@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 7, 40_000_000])
def test_a_sparse_tensor_is_copied_with_its_holes(offset: int, size: int, tmp_path: Path) -> None:
    data = [(0, b"x" * 6000), (10 * CHUNK, b"y" * 10), (20 * CHUNK, b"z")]
    sparse_file(tmp_path / "source", *data, size=offset + size)
    with Source(tmp_path / "source") as source:
        wanted = source.pread(offset, size)
        one = tensor(source, offset, size)
        with FileWriter(tmp_path / "target") as file:
            file.put(b"head")
            file.tensor(one)
            os.ftruncate(file.fd, file.position)
            assert file.crc(4, file.position) == zlib.crc32(wanted)
        assert (tmp_path / "target").read_bytes() == b"head" + wanted
    if size == 40_000_000 and (tmp_path / "source").stat().st_blocks * 512 < 1 << 20:
        assert (tmp_path / "target").stat().st_blocks * 512 < 1 << 20


def test_extents_cover_the_tensor_once(tmp_path: Path) -> None:
    sparse_file(tmp_path / "source", (0, b"x"), (1 << 20, b"y"), size=1 << 21)
    with Source(tmp_path / "source") as source:
        raw = tensor(source, 3, (1 << 21) - 5).raw
        assert raw is not None
        runs = list(extents(raw))
    assert runs[0][0] == 0 and runs[-1][1] == raw.nbytes
    assert all(one[1] == other[0] for one, other in pairwise(runs))


def test_a_source_that_is_cut_while_it_is_copied_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 1000)
    with Source(tmp_path / "source") as source:
        one = tensor(source, 0, 1000)
        os.truncate(tmp_path / "source", 500)
        with FileWriter(tmp_path / "target") as file, pytest.raises(CorruptError, match="shorter"):
            file.tensor(one)


def test_strided_and_reversed_arrays_are_written_in_c_order(tmp_path: Path) -> None:
    array = np.arange(24, dtype=">i4").reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    with FileWriter(tmp_path / "target") as file:
        file.tensor(Tensor.of("w", array, storage=Storage("m", 0, 96)))
    written = np.fromfile(tmp_path / "target", "<i4").reshape(array.shape)
    np.testing.assert_array_equal(written, array)


_CONVERT = f"""
import sys
from wtools.conversion import convert
{PEAK}
before = peak()
convert(sys.argv[1], sys.argv[2], **eval(sys.argv[3]))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, options",
    [
        ("m.pt", {}),
        ("m.npz", {}),
        ("m.onnx", {}),
        ("m.onnx", {"external_data": True}),
        ("m.h5", {}),
        ("m.pt", {"dtype": "bfloat16"}),
        ("m.safetensors", {"dtype": "float8_e4m3fn"}),
    ],
)
def test_one_block_is_in_memory_at_a_time(
    name: str, options: dict[str, object], tmp_path: Path
) -> None:
    """One tensor of 1 GB, sparse: the conversion takes a fraction of it."""
    count = 250_000_000
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}})
    raw = header.encode() + b" " * (-len(header) % 8)
    size = 8 + len(raw)
    sparse_file(
        tmp_path / "source.safetensors",
        (0, len(raw).to_bytes(8, "little") + raw),
        (size + 999_999, b"\1\2\3"),
        size=size + 4 * count,
    )
    command = [sys.executable, "-c", _CONVERT, str(tmp_path / "source.safetensors")]
    run = subprocess.run(
        [*command, str(tmp_path / name), repr(options)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 100 << 20
