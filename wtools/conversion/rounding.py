"""Rounding numbers to narrower ones: to nearest, ties to even, with an account of what changed.

numpy and ml_dtypes round float32 to float16 and bfloat16 correctly and fast. They do not round
float64 to bfloat16 once but twice, and are slow for types of 8 bits and less; both go another
way here. A float64 is first rounded to odd in float32: the last bit of the result says whether
anything was cut off, so that the second rounding cannot take it for a tie (Boldo and Melquiond,
"When double rounding is odd", 2004). For the small types the upper 16 bits of a float32, the
last of them again saying whether anything was cut off, are an index into a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..dtypes import DType
from ..formats.drafts import exact
from ..tree import Array

OnOverflow = Literal["error", "saturate", "inf"]
OVERFLOW, SUBNORMAL, FLUSHED, UNHELD = 1, 2, 4, 8  # flags in the upper byte of a table's entry


@dataclass(frozen=True)
class Tally:
    """What rounding did to the elements of one tensor.

    overflowed: finite values beyond the target's largest, and infinities it does not have.
    subnormal: normal values that became subnormal; flushed: values other than 0 that became 0.
    unheld: NaNs that the target does not have.
    """

    overflowed: int = 0
    subnormal: int = 0
    flushed: int = 0
    unheld: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.overflowed + other.overflowed,
            self.subnormal + other.subnormal,
            self.flushed + other.flushed,
            self.unheld + other.unheld,
        )


def rounded(
    array: Array, source: DType, target: DType, on_overflow: OnOverflow = "inf"
) -> tuple[Array, Tally]:
    """`array` (flat, of dtype `source`) as `target`, and what that did.

    Overflow gives infinity (NaN where the target has none), or the largest finite value with
    "saturate"; "error" rounds like "inf" and leaves it to the caller to look at the tally.
    """
    if exact(source.name, target.name):
        return array.astype(target.numpy), Tally()
    with np.errstate(all="ignore"):
        if target.bits > 8:
            return _to_wide(array, source, target, on_overflow == "saturate")
        return _to_small(array, target, on_overflow == "saturate")


# --- to float32, float16, bfloat16 ---------------------------------------------------------------


def _to_wide(array: Array, source: DType, target: DType, saturate: bool) -> tuple[Array, Tally]:
    narrow = array
    if target.name == "bfloat16" and source.name == "float64":
        narrow = _odd_float32(array)
    elif source.bits < 32:  # float16 to bfloat16 and back, by way of float32, which is exact
        narrow = array.astype(np.float32)
    out = narrow.astype(target.numpy)
    infinity, least_normal = _patterns(target)
    pattern = np.dtype(f"u{target.itemsize}")
    magnitude = out.view(pattern) & pattern.type((1 << (target.bits - 1)) - 1)
    overflowed = subnormal = flushed = 0
    if np.count_nonzero(magnitude == infinity):
        lost = (magnitude == infinity) & np.isfinite(narrow)
        overflowed = int(np.count_nonzero(lost))
        if saturate and overflowed:
            largest = np.copysign(_largest(target), narrow[lost])
            out[lost] = largest.astype(target.numpy)
    small = magnitude < least_normal
    if np.count_nonzero(small):
        low, kept = array[small], magnitude[small]
        flushed = int(np.count_nonzero((kept == 0) & (low != 0)))
        was_normal = np.abs(low) >= float(_least(source))
        subnormal = int(np.count_nonzero((kept != 0) & was_normal))
    return out, Tally(overflowed, subnormal, flushed)


def _odd_float32(array: NDArray[np.float64]) -> NDArray[np.float32]:
    """float64 rounded to odd: towards zero, then the last bit set if that cut anything off."""
    near = array.astype(np.float32)
    wide = near.astype(np.float64)
    bits = near.view(np.uint32)
    finite = np.isfinite(array)
    away = (np.abs(wide) > np.abs(array)) & finite  # one step too far (or to infinity)
    bits = bits - away.astype(np.uint32)
    cut = (wide != array) & finite
    odd: NDArray[np.float32] = (bits | cut.astype(np.uint32)).view(np.float32)
    return odd


def _patterns(dtype: DType) -> tuple[int, int]:
    """The bit patterns of infinity and of the least normal number."""
    mantissa = {"float32": 23, "float16": 10, "bfloat16": 7}[dtype.name]
    exponents = (1 << (dtype.bits - 1 - mantissa)) - 1
    return exponents << mantissa, 1 << mantissa


@cache
def _largest(dtype: DType) -> float:
    infinity, _ = _patterns(dtype)
    return float(np.array(infinity - 1, f"u{dtype.itemsize}").view(dtype.numpy))


@cache
def _least(dtype: DType) -> float:
    """The least normal number."""
    if dtype.name in ("float32", "float16", "float64"):
        return float(np.finfo(dtype.numpy).smallest_normal)
    import ml_dtypes

    limits: Any = ml_dtypes.finfo
    return float(limits(dtype.numpy).smallest_normal)


# --- to eight bits and less ----------------------------------------------------------------------


def _to_small(array: Array, target: DType, saturate: bool) -> tuple[Array, Tally]:
    kind = "bfloat16"
    if array.dtype == np.float64:
        array = _odd_float32(array)
    if array.dtype == np.float16 or array.dtype.itemsize == 2:
        kind = dtypes.of_numpy(array.dtype).name
        index = array.view(np.uint16)
    else:
        bits = array.astype(np.float32, copy=False).view(np.uint32)
        index = (bits >> 16).astype(np.uint16) | ((bits & 0xFFFF) != 0)
    entries = _table(kind, target.name, saturate)[index]
    out = entries.astype(np.uint8).view(target.numpy)
    flags = entries >> 8
    if not flags.any():
        return out, Tally()
    counts = [int(np.count_nonzero(flags & f)) for f in (OVERFLOW, SUBNORMAL, FLUSHED, UNHELD)]
    return out, Tally(*counts)


@cache
def _table(source: str, target: str, saturate: bool) -> NDArray[np.uint16]:
    """For each 16-bit pattern of `source`: the pattern in `target`, and flags above it."""
    dtype = dtypes.get(target)
    values = np.arange(1 << 16).astype(np.uint16).view(dtypes.get(source).numpy).astype(np.float64)
    codes = np.arange(1 << dtype.bits).astype(np.uint8)
    if dtype.bits < 8:  # ml_dtypes keeps narrow floats in the low bits of a byte
        codes = codes[: 1 << dtype.bits]
    held = codes.view(dtype.numpy).astype(np.float64)
    finite = np.isfinite(held)
    positive = finite & ~np.signbit(held)
    grid, grid_codes = held[positive], codes[positive]  # rising with the code
    magnitudes = np.abs(np.where(np.isnan(values), 0.0, values))
    magnitudes = np.minimum(magnitudes, 4 * grid[-1])  # infinities lie beyond the grid, too
    at, beyond = _nearest(magnitudes, grid)
    out = grid_codes[at].astype(np.uint16)
    sign = np.signbit(values) & ~(np.isnan(values))
    negative_zero = (held == 0) & np.signbit(held)
    has_zero = bool(negative_zero.any())
    signed = sign & ((out != 0) | has_zero)
    out |= np.where(signed, 1 << (dtype.bits - 1), 0).astype(np.uint16)
    overflow = beyond | np.isinf(values)
    infinite = np.isinf(held)
    if infinite.any():
        overflow = beyond & np.isfinite(values)
        both = codes[infinite & ~np.signbit(held)][0], codes[infinite & np.signbit(held)][0]
        at_infinity = np.where(sign, both[1], both[0])
        out = np.where(np.isinf(values) | (beyond & (not saturate)), at_infinity, out)
    elif np.isnan(held).any() and not saturate:
        out = np.where(overflow, codes[np.isnan(held)][0], out)
    unheld = np.isnan(values)
    if np.isnan(held).any():
        out = np.where(unheld, codes[np.isnan(held)][0], out)
        unheld = np.zeros_like(unheld)
    normal = _least(dtype)
    kept = grid[at]
    subnormal = (kept != 0) & (kept < normal) & (magnitudes >= _least(dtypes.get(source)))
    flushed = (kept == 0) & (magnitudes != 0)
    flags = overflow * OVERFLOW + subnormal * SUBNORMAL + flushed * FLUSHED + unheld * UNHELD
    entries: NDArray[np.uint16] = (out.astype(np.int64) | flags << 8).astype(np.uint16)
    return entries


def _nearest(
    magnitudes: NDArray[np.float64], grid: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Index of the nearest grid value, ties to the even index; and what rounds beyond the grid.

    Neighbours on the grid have codes of both parities, so the even index is the even mantissa.
    """
    step = grid[-1] - grid[-2]
    extended = np.append(grid, grid[-1] + step)
    above = np.minimum(np.searchsorted(extended, magnitudes), len(extended) - 1)
    below = np.maximum(above - 1, 0)
    up, down = extended[above] - magnitudes, magnitudes - extended[below]
    take_above = (up < down) | ((up == down) & (above % 2 == 0))
    index = np.where(take_above, above, below)
    beyond = (index == len(grid)) | (magnitudes > extended[-1])
    return np.minimum(index, len(grid) - 1), beyond
