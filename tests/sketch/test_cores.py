"""The compiled core, with every instruction set that runs here, against its twin in NumPy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from sketch.reference import NAMES, assert_agree, assert_is_of, example, float32s

from wtools.errors import UsageError
from wtools.sketch import Sketch, core, sketch, twin
from wtools.sketch import cores as choice

COMPILED = [name for name in choice.cores() if name != "numpy"]


def by(name: str, array: np.ndarray, **options: bool) -> Sketch:
    """The sketch of `array` by the core of that name."""
    before = os.environ.get("WTOOLS_CORE")
    os.environ["WTOOLS_CORE"] = name
    try:
        return sketch(array, **options)
    finally:
        os.environ.pop("WTOOLS_CORE")
        if before is not None:
            os.environ["WTOOLS_CORE"] = before


@pytest.mark.parametrize("histogram", [True, False])
@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("name", COMPILED)
class TestAgreement:
    def test_with_special_numbers(self, name: str, dtype: str, histogram: bool) -> None:
        for count in (1, 7, 8, 9, 63, 4_095, 4_096, 4_097, 20_000):
            array = example(dtype, count, count)
            compiled = by(name, array, histogram=histogram)
            assert_agree(compiled, by("numpy", array, histogram=histogram))
            assert_is_of(compiled, array)

    def test_at_any_alignment(self, name: str, dtype: str, histogram: bool) -> None:
        array = example(dtype, 5_000)
        expected = by(name, array, histogram=histogram)
        for shift in (1, 2, 3, 7):
            buffer = np.empty(array.nbytes + shift, np.uint8)
            moved = buffer[shift:].view(array.dtype)
            moved[:] = array
            assert repr(by(name, moved, histogram=histogram)) == repr(expected)


@pytest.mark.parametrize("name", COMPILED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=float32s(1, 600))
def test_any_float32(name: str, array: np.ndarray) -> None:
    assert_agree(by(name, array), by("numpy", array))


@pytest.mark.parametrize("name", COMPILED)
def test_one_special_number_anywhere_in_a_block(name: str) -> None:
    for dtype in ("float32", "float64", "float16"):
        for special in (np.nan, np.inf, -np.inf, 1e-42):
            for place in (0, 1, 100, 4_095, 4_096, 8_190):
                array = np.linspace(1, 2, 8_191).astype(dtype)
                array[place] = special
                assert_agree(by(name, array), by("numpy", array))


@pytest.mark.parametrize("dtype", NAMES)
def test_every_instruction_set_gives_the_same_to_the_last_bit(dtype: str) -> None:
    array = example(dtype, 50_000)
    for histogram in (True, False):
        found = {repr(by(name, array, histogram=histogram)) for name in COMPILED}
        assert len(found) <= 1


def test_nan_keeps_its_bits_and_infinities_their_sign() -> None:
    patterns = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFC00000, 0x7F800000, 0xFF800000])
    array = np.tile(patterns.astype(np.uint32).view(np.float32), 1_000)
    for name in choice.cores():
        found = by(name, array)
        assert (found.nans, found.pos_infs, found.neg_infs) == (4_000, 1_000, 1_000)


def test_counters_of_equal_bytes_carry_over() -> None:
    """Pairs of bytes are counted in 8 bits: every 256th increment carries."""
    for count in (65_535, 65_536, 131_071, 131_072, 200_001):
        for name in choice.cores():
            found = by(name, np.full(count, 7, np.int8))
            assert (found.count, found.sum) == (count, 7 * count)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("zeros", [0.0, 0.05, 0.5, 0.99, 1.0])
def test_repeated_elements_are_counted_as_any_others(name: str, dtype: str, zeros: float) -> None:
    array = example(dtype, 20_001)
    array[np.random.default_rng(0).random(array.size) < zeros] = 0
    for count in (0, 1, 127, 128, 129, 130, 160, 4_096, 20_001):
        found, expected = by(name, array[:count]), by("numpy", array[:count])
        assert found.histogram == expected.histogram


def test_a_table_is_emptied_before_its_counters_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MOST", 10_000)
    for dtype in ("float32", "bfloat16"):
        scanner = choice.scanner(dtype, histogram=True, moments=False)
        raw = np.zeros(8_000, np.uint8)
        for _ in range(20):
            scanner.scan(raw)
        assert scanner.drain().counts.sum() == 20 * 8_000 // twin.WORDS[dtype].itemsize
        assert not scanner.drain().counts.size


def test_a_core_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WTOOLS_CORE", raising=False)
    assert core() == choice.cores()[-1]
    monkeypatch.setenv("WTOOLS_CORE", "numpy")
    assert core() == "numpy"
    monkeypatch.setenv("WTOOLS_CORE", "abacus")
    with pytest.raises(UsageError, match=r"abacus.*numpy"):
        core()


def test_the_core_was_built() -> None:
    """Where there is a compiler the tests must not pass by way of the twin alone."""
    assert COMPILED or not shutil.which("cc")


@pytest.mark.skipif(not COMPILED, reason="nothing compiled to misuse")
class TestMisuse:
    """No call from Python reaches outside a buffer."""

    def test_unknown_kinds_and_instruction_sets(self) -> None:
        data = np.zeros(16, np.uint8)
        for kind, isa in ((-1, 0), (99, 0), (0, -1), (0, 99)):
            with pytest.raises(ValueError, match="unknown kind"):
                choice._core.scan(kind, isa, True, None, data)
        with pytest.raises(ValueError, match="unknown kind"):
            choice._core.sizes(99)
        with pytest.raises(ValueError, match="counted as BYTES"):
            choice._core.scan(choice.KINDS.index("int8"), 0, True, data, data)

    def test_tables_of_the_wrong_size(self) -> None:
        data = np.zeros(16, np.uint8)
        with pytest.raises(ValueError, match="wrong size"):
            choice._core.scan(0, 0, True, np.zeros(8, np.uint8), data)
        table = np.zeros(choice._core.sizes(1)[0], np.uint8)
        with pytest.raises(ValueError, match="no room"):
            choice._core.drain(1, table, np.empty(8, np.uint32), np.empty(8, np.int64))
        with pytest.raises(TypeError):
            choice._core.drain(1, None, np.empty(8, np.uint32), np.empty(8, np.int64))

    def test_buffers_that_are_none(self) -> None:
        with pytest.raises(TypeError):
            choice._core.scan(0, 0, True, None, 5)
        with pytest.raises((BufferError, ValueError, TypeError)):
            choice._core.scan(0, 0, True, b"read-only", b"")
        with pytest.raises(ValueError, match="scratch"):
            choice._core.scan_file(0, 0, True, None, 0, 0, 8, np.empty(8, np.uint8))

    def test_a_closed_file(self) -> None:
        with pytest.raises(OSError, match="descriptor"):
            choice._core.scan_file(0, 0, True, None, 99_999, 0, 8, np.empty(1 << 16, np.uint8))

    def test_half_an_element_at_the_end_is_left_alone(self) -> None:
        found = choice._core.scan(1, 0, True, None, np.zeros(7, np.uint8))
        assert found[0][0] == 1


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_sums_at_the_ends_of_the_range_do_not_overflow(name: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    for values in ([info.min], [info.max], [info.min, info.max]):
        array = np.resize(np.array(values, dtype), 100_001)
        found = by(name, array, histogram=False)
        assert_is_of(found, array)
        assert_agree(found, by("numpy", array, histogram=False))


@pytest.mark.slow
def test_under_the_sanitizers(tmp_path: Path) -> None:
    script = Path(__file__).with_name("sanitize.sh")
    done = subprocess.run(
        ["bash", str(script), sys.executable, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
