"""What is larger than memory may be asked too: one pass, in little memory."""

from __future__ import annotations

import json
from pathlib import Path

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
