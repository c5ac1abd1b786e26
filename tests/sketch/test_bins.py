"""Every bit pattern falls into the bin that stands for its value, in both cores."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sketch.reference import NARROW

from wtools import dtypes
from wtools.sketch import Histogram, bins, sketch
from wtools.sketch.cores import cores
from wtools.sketch.model import from_histogram

SMALL_FLOATS = [n for n in NARROW if dtypes.get(n).kind == "float"]


@pytest.fixture(params=cores())
def any_core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WTOOLS_CORE", request.param)
    return str(request.param)


def every_pattern(dtype: str) -> np.ndarray:
    """All values of a type of 16 bits or less, in the order of their bits."""
    kind = dtypes.get(dtype)
    if kind.kind == "bool":
        return np.array([False, True])
    patterns = np.arange(1 << kind.bits).astype(np.uint16 if kind.bits == 16 else np.uint8)
    if kind.packed:
        raw = kind.pack(patterns.view(kind.numpy))
        return kind.unpack(raw, patterns.size)
    return patterns.view(kind.numpy)


@pytest.mark.usefixtures("any_core")
@pytest.mark.parametrize("dtype", NARROW)
def test_every_pattern_has_its_own_bin(dtype: str) -> None:
    array = every_pattern(dtype)
    for place in range(0, array.size, max(1, array.size // 256)):
        found = sketch(array[place : place + 1]).histogram
        assert found == Histogram(np.array([place], np.uint32), np.array([1]))
    everything = sketch(array).histogram
    assert everything == Histogram(np.arange(array.size, dtype=np.uint32), np.ones(array.size))


@pytest.mark.usefixtures("any_core")
@pytest.mark.parametrize("dtype", NARROW)
def test_patterns_in_different_numbers_are_counted_apart(dtype: str) -> None:
    array = every_pattern(dtype)
    numbers = 1 + np.arange(array.size) % 7
    places = np.random.default_rng(0).permutation(np.repeat(np.arange(array.size), numbers))
    found = sketch(array[places]).histogram
    assert found == Histogram(np.arange(array.size, dtype=np.uint32), numbers)


@pytest.mark.parametrize("dtype", NARROW)
def test_a_bin_stands_for_the_value_of_its_pattern(dtype: str) -> None:
    """Against ml_dtypes and NumPy: the table of values is our own, so that nothing is imported."""
    with np.errstate(invalid="ignore"):
        expected = every_pattern(dtype).astype(np.float64)
    np.testing.assert_array_equal(bins.of(dtype).values, expected)


@pytest.mark.parametrize("dtype", [n for n in SMALL_FLOATS if n != "float8_e8m0fnu"])
def test_subnormal_patterns_are_known(dtype: str) -> None:
    with np.errstate(invalid="ignore"):
        size = np.abs(every_pattern(dtype).astype(np.float64))
    least = float(ml_dtypes.finfo(dtypes.get(dtype).numpy).smallest_normal)
    np.testing.assert_array_equal(bins.of(dtype).subnormal, (size > 0) & (size < least))


@pytest.mark.usefixtures("any_core")
def test_float32_goes_by_its_upper_16_bits() -> None:
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for lower in (0, 1, 0x7FFF, 0xFFFF):
        found = sketch((upper | np.uint32(lower)).view(np.float32)).histogram
        assert found == Histogram(np.arange(1 << 16, dtype=np.uint32), np.ones(1 << 16))


@pytest.mark.usefixtures("any_core")
def test_float64_goes_by_its_upper_19_bits() -> None:
    upper = np.arange(1 << 19, dtype=np.uint64) << np.uint64(45)
    for lower in (0, (1 << 45) - 1):
        found = sketch((upper | np.uint64(lower)).view(np.float64)).histogram
        assert found == Histogram(np.arange(1 << 19, dtype=np.uint32), np.ones(1 << 19))


@pytest.mark.usefixtures("any_core")
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_integers_go_by_their_leading_eight_bits(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = {0, info.min, info.max}
    for power in range(64):
        for lead in (128, 129, 200, 255):
            for tail in (0, 1, (1 << power) - 1):
                value = (lead << power | min(tail, (1 << power) - 1)) >> 7
                values |= {value, -value}
    kept = sorted(v for v in values if info.min <= v <= info.max)
    for value in kept:
        (number,) = sketch(np.array([value], dtype)).histogram.bins
        low, high = bins.of(dtype).interval(np.array([number]))
        near, far = sorted((abs(int(low[0])), abs(int(high[0]))))
        assert near <= abs(value) < far or near == abs(value) == far
        assert far - near <= max(near // 128, 1)
        assert (number >> 15 == 1) == (value < 0)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_lies_in_the_interval_of_its_bin(value: float) -> None:
    (number,) = sketch(np.array([value], np.float32)).histogram.bins
    (low,), (high,) = bins.of("float32").interval(np.array([number]))
    assert low <= value <= high
    assert high - low <= max(min(abs(low), abs(high)) / 128, 2.0**-133)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float64_lies_in_the_interval_of_its_bin(value: float) -> None:
    (number,) = sketch(np.array([value])).histogram.bins
    (low,), (high,) = bins.of("float64").interval(np.array([number]))
    assert low <= value <= high
    assert high - low <= max(min(abs(low), abs(high)) / 128, 2.0**-1029)


def test_the_sketch_of_a_narrow_type_follows_from_its_histogram_alone() -> None:
    array = every_pattern("bfloat16")
    found = sketch(array)
    assert found.histogram is not None
    again = from_histogram("bfloat16", found.histogram)
    assert (again.sum, again.m4, again.nans) == (found.sum, found.m4, found.nans)
