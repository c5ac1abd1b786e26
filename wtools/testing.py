"""Contract tests for formats, importable by anyone who adds one.

class TestMyFormat(FormatContract):
    format = "my-format"
    samples = ["fixtures/my.bin"]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from . import dtypes, formats
from .errors import WtoolsError
from .files import Source
from .tree import WeightTree


class FormatContract:
    """What every format promises. Subclass with `format` and `samples` (paths of good files)."""

    format: ClassVar[str]
    samples: ClassVar[list[str | Path]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "sample" in metafunc.fixturenames:
            metafunc.parametrize("sample", self.samples, ids=lambda p: Path(p).name)

    def test_exactly_this_format_claims_the_file(self, sample: Path) -> None:
        with Source(sample) as source:
            assert formats.detect(source).NAME == self.format

    def test_sniffing_ignores_the_extension(self, sample: Path, tmp_path: Path) -> None:
        link = tmp_path / "file.bin"
        link.write_bytes(Path(sample).read_bytes())
        with Source(link) as source:
            assert formats.detect(source).NAME == self.format

    def test_opening_reads_no_tensor(self, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from .files import RawData

        def refuse(*_: object) -> None:
            raise AssertionError("a tensor was read while opening")

        monkeypatch.setattr(RawData, "read", refuse)
        monkeypatch.setattr(RawData, "blocks", refuse)
        formats.open(sample).close()

    def test_tensors_are_what_they_say(self, sample: Path) -> None:
        with formats.open(sample) as tree:
            assert isinstance(tree, WeightTree) and tree.path == os.fspath(sample)
            for name, tensor in tree.items():
                assert tensor.name == name
                array = tensor.read()
                assert array.shape == tensor.shape
                assert array.dtype == dtypes.get(tensor.dtype).numpy
                assert not array.flags.writeable

    def test_blocks_are_the_tensor(self, sample: Path) -> None:
        with formats.open(sample) as tree:
            for tensor in tree.values():
                whole = tensor.read().reshape(-1)
                blocks = list(tensor.blocks(256))
                assert all(block.ndim == 1 and block.nbytes <= 256 for block in blocks)
                joined = np.concatenate(blocks) if blocks else whole[:0]
                assert joined.tobytes() == whole.tobytes()

    def test_packed_blocks_are_its_bytes(self, sample: Path) -> None:
        with formats.open(sample) as tree:
            for tensor in tree.values():
                packed = b"".join(block.tobytes() for block in tensor.packed_blocks(256))
                assert len(packed) == tensor.nbytes
                assert packed == dtypes.get(tensor.dtype).pack(tensor.read()).tobytes()

    def test_arrays_outlive_the_file(self, sample: Path) -> None:
        with formats.open(sample) as tree:
            arrays = [tensor.read() for tensor in tree.values()]
        for array in arrays:
            array.tobytes()

    def test_the_source_is_left_as_it_was(self, sample: Path) -> None:
        before = Path(sample).read_bytes()
        with formats.open(sample) as tree:
            for tensor in tree.values():
                tensor.read()
        assert Path(sample).read_bytes() == before

    def test_cut_short_is_a_wtools_error(self, sample: Path, tmp_path: Path) -> None:
        data = Path(sample).read_bytes()
        for length in {len(data) * k // 16 for k in range(16)} | {len(data) - 1}:
            cut = tmp_path / "cut"
            cut.write_bytes(data[:length])
            try:
                with formats.open(cut, format=self.format) as tree:
                    for tensor in tree.values():
                        tensor.read(copy=True)
            except WtoolsError:
                continue
            assert self.survives_cut(data, length), (
                f"cut to {length} of {len(data)} bytes: no error"
            )

    def survives_cut(self, data: bytes, length: int) -> bool:
        """Override where a shorter file is still a whole one (trailing padding)."""
        return False
