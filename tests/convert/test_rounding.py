"""Rounding to nearest, ties to even: against exact arithmetic, numpy, torch and ml_dtypes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtools import dtypes
from wtools.conversion.cast import CastData, cast, casts
from wtools.conversion.rounding import Tally, rounded
from wtools.errors import UnsupportedError, UsageError
from wtools.formats.drafts import exact, widened
from wtools.tree import LazyData, Tensor

from .trees import bits

SMALL = [d.name for d in dtypes.DTYPES.values() if d.kind == "float" and d.bits <= 8]
SMALL.remove("float8_e8m0fnu")
TARGETS = [*SMALL, "float16", "bfloat16", "float32"]
SOURCES = ["float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn"]


def values(dtype: str) -> np.ndarray:
    """All values of a type of at most 16 bits, as float64."""
    kind = dtypes.get(dtype)
    codes = np.arange(1 << kind.bits).astype(np.uint8 if kind.bits <= 8 else np.uint16)
    with np.errstate(all="ignore"):
        return codes.view(kind.numpy).astype(np.float64)


def grid(dtype: str) -> list[Fraction]:
    """Its finite values from 0 up, and the next one that it would have if it went on."""
    finite = sorted({Fraction(v) for v in values(dtype) if math.isfinite(v) and v >= 0})
    return [*finite, 2 * finite[-1] - finite[-2]]


def nearest(x: float, points: list[Fraction]) -> Fraction | None:
    """The point nearest to |x|, ties to the even index; None beyond the last but one."""
    size = abs(Fraction(x))
    low, high = 0, len(points) - 1
    if size >= points[-1]:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if points[middle] <= size else (low, middle)
    below, above = size - points[low], points[high] - size
    index = low if below < above or (below == above and low % 2 == 0) else high
    return None if index == len(points) - 1 else points[index]


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "float32"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_value_goes_to_the_nearest_even(target: str, data: st.DataObject) -> None:
    """Drawn near the target's own grid, where ties are: points, midpoints and their neighbours."""
    points = grid(target)
    i = data.draw(st.integers(0, len(points) - 2))
    middle = float((points[i] + points[i + 1]) / 2)
    near = [float(points[i]), middle, np.nextafter(middle, 0), np.nextafter(middle, math.inf)]
    x = data.draw(st.sampled_from(near) | st.floats(allow_nan=False, allow_infinity=False))
    x = float(x) * data.draw(st.sampled_from([1, -1]))
    out, tally = rounded(np.array([x]), dtypes.get("float64"), dtypes.get(target), "saturate")
    expected = nearest(x, points)
    assert tally.overflowed == (expected is None)
    assert abs(float(out[0])) == float(points[-2] if expected is None else expected)
    assert tally.flushed == (x != 0 and expected == 0)
    assert not out[0] or math.copysign(1, float(out[0])) == math.copysign(1, x)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_agrees_with_the_libraries_where_they_round_once(source: str, target: str) -> None:
    array = bits(source, (1 << 16,), seed=3)
    once = source != "float64" or target in ("float32", "float16")
    if not once:
        with np.errstate(all="ignore"):  # then once is what they do, too
            array = array.astype(np.float32).astype(np.float64)
    with np.errstate(all="ignore"):
        theirs = array.astype(dtypes.get(target).numpy)
        ours, _ = rounded(array, dtypes.get(source), dtypes.get(target))
        nan = np.isnan(array.astype(np.float64)) | np.isnan(theirs.astype(np.float64))
    assert np.isnan(ours[nan].astype(np.float64)).all() or not dtypes_with_nan(target)
    pattern = f"u{dtypes.get(target).numpy.itemsize}"
    np.testing.assert_array_equal(ours[~nan].view(pattern), theirs[~nan].view(pattern))


def dtypes_with_nan(name: str) -> bool:
    return dtypes.get(name).bits > 8 or bool(np.isnan(values(name)).any())


def test_float64_is_not_rounded_twice() -> None:
    """Just above the tie of two bfloat16 neighbours: by way of float32 it would become a tie."""
    tie = 1 + 2**-8
    array = np.array([tie + 2**-40, tie, tie - 2**-40, -(tie + 2**-40)])
    out, _ = rounded(array, dtypes.get("float64"), dtypes.get("bfloat16"))
    assert out.astype(float).tolist() == [1 + 2**-7, 1.0, 1.0, -(1 + 2**-7)]


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_agrees_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    array = (np.random.default_rng(0).standard_normal(100_000) * 20).astype(np.float32)
    theirs = torch.from_numpy(array).to(getattr(torch, name)).view(torch.uint8).numpy()
    ours, tally = rounded(array, dtypes.get("float32"), dtypes.get(name))
    assert tally.overflowed == 0
    np.testing.assert_array_equal(ours.view(np.uint8), theirs.reshape(-1))


def test_what_rounding_does_is_counted() -> None:
    array = np.array([1e6, -1e6, np.inf, 1e-7, 6e-5, 1e-9, 0, np.nan, 1], np.float32)
    out, tally = rounded(array, dtypes.get("float32"), dtypes.get("float16"))
    assert tally == Tally(overflowed=2, subnormal=2, flushed=1)
    assert np.isinf(out[:3].astype(float)).all() and np.isnan(out[7])
    out, tally = rounded(array, dtypes.get("float32"), dtypes.get("float16"), "saturate")
    assert out[:3].tolist() == [65504, -65504, np.inf] and tally.overflowed == 2


def test_an_infinity_that_the_target_has_not_is_an_overflow() -> None:
    array = np.array([np.inf, -np.inf, 1000, np.nan], np.float32)
    source, target = dtypes.get("float32"), dtypes.get("float8_e4m3fn")
    out, tally = rounded(array, source, target, "saturate")
    assert out.astype(float)[:3].tolist() == [448, -448, 448] and tally.overflowed == 3
    out, _ = rounded(array, source, target, "inf")
    assert np.isnan(out.astype(float)).all()


# --- casts of tensors ----------------------------------------------------------------------------


def test_a_cast_is_computed_block_by_block_and_counted_once() -> None:
    array = np.linspace(-1e5, 1e5, 1_000_000).astype(np.float32)
    data = cast(Tensor.of("w", array), "float16", "inf").data
    assert isinstance(data, CastData) and data.tally is None
    for _ in range(2):
        blocks = list(data.blocks(4096))
        assert all(block.nbytes <= 4096 for block in blocks)
        with np.errstate(over="ignore"):
            assert np.concatenate(blocks).tobytes() == array.astype(np.float16).tobytes()
        assert data.tally == Tally(overflowed=int((np.abs(array) >= 65520).sum()))


@pytest.mark.parametrize("place", [0, 123_456, 999_999])
def test_the_value_that_overflows_is_named(place: int) -> None:
    array = np.zeros(1_000_000, np.float32)
    array[place] = 1e6
    tensor = Tensor("w", array.shape, "float32", LazyData(lambda: array))
    with pytest.raises(UnsupportedError, match=rf"'w': element {place} .*1e\+06"):
        list(cast(tensor, "float16").blocks())


def test_a_nan_is_never_made_a_number() -> None:
    tensor = cast(Tensor.of("w", np.array([1, np.nan], np.float32)), "float4_e2m1fn", "saturate")
    with pytest.raises(UnsupportedError, match=r"element 1 .*NaN"):
        tensor.read()


def test_integers_are_left_alone_and_only_widened() -> None:
    wanted = casts("bfloat16,int4=int8")
    assert wanted == {"": "bfloat16", "int4": "int8"}
    for bad in ("int8", "float32=int8", "int32=int16", "int8=float32", "float8_e8m0fnu", "flaot32"):
        with pytest.raises(UsageError):
            casts(bad)


@pytest.mark.parametrize("source", [t for t in TARGETS if t != "float32"])
@pytest.mark.parametrize("target", TARGETS)
def test_exact_means_that_every_value_is_there(source: str, target: str) -> None:
    mine = {v for v in values(source) if math.isfinite(v)}
    with np.errstate(all="ignore"):
        there = np.array(sorted(mine)).astype(dtypes.get(target).numpy).astype(np.float64)
    really = there.tolist() == sorted(mine) and mine != set()
    assert exact(source, target) == really or (exact(source, target) is False and really is True)


def test_a_wider_dtype_has_every_value() -> None:
    holds = frozenset({"float16", "float32", "int8", "int16", "uint8", "complex64"})
    assert widened("bfloat16", holds) == "float32"
    assert widened("float8_e5m2", holds) == "float16"
    assert widened("int4", holds) == "int8"
    assert widened("uint4", holds) == "uint8" or widened("uint4", holds) == "int8"
    assert widened("uint8", frozenset({"int8", "int16"})) == "int16"
    assert widened("complex128", holds) is None
