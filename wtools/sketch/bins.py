"""The bins of the histogram, and what each bin stands for.

A type of up to 16 bits has one bin for each bit pattern (of an integer: its two's complement),
so its histogram is the exact distribution. A wider type is cut to its leading bits:

- float32: the upper 16 bits of the pattern: sign, 8 bits of exponent, 7 of mantissa;
- integers of 32 and 64 bits: the same 16 bits of the value cut (not rounded) to float32;
- float64 and complex (by magnitude, in float64): the upper 19 bits, because the exponent has
  11: sign, exponent, 7 of mantissa.

Seven bits of mantissa make 128 bins for each power of two: a bin [a, b) has b <= a * (1 + 1/128).
The subnormals are the exception: there the bins are all as wide as the lowest normal ones
(2**-133 for float32, 2**-1029 for float64).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes

Array = NDArray[Any]

# name -> (exponent bits, mantissa bits, bias, which patterns are not finite). "ieee": the highest
# exponent is infinity and NaN; "fn": only all ones is NaN; "fnuz": only minus zero is NaN;
# "finite": none; "e8m0": powers of two without sign or zero, all ones is NaN. The types of 8 bits
# and less: OCP Microscaling Formats 1.0, OCP 8-bit Floating Point 1.0 and the paper that
# introduced the fnuz types (Noune et al., arXiv:2206.02915).
_LAYOUT = {
    "float16": (5, 10, 15, "ieee"),
    "bfloat16": (8, 7, 127, "ieee"),
    "float8_e4m3fn": (4, 3, 7, "fn"),
    "float8_e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e5m2fnuz": (5, 2, 16, "fnuz"),
    "float8_e8m0fnu": (8, 0, 127, "e8m0"),
    "float6_e2m3fn": (2, 3, 1, "finite"),
    "float6_e3m2fn": (3, 2, 3, "finite"),
    "float4_e2m1fn": (2, 1, 1, "finite"),
}


@dataclass(frozen=True)
class Bins:
    """The bins of one dtype. `bits`: there are 2**bits of them."""

    dtype: str
    bits: int

    @property
    def exact(self) -> bool:
        """Does each bin hold one value only?"""
        return self.dtype in _LAYOUT or self.dtype in _SMALL_INTEGERS

    @cached_property
    def values(self) -> Array:
        """The value of every bin of an exact type (float64, or int64 for integers)."""
        patterns = np.arange(1 << self.bits, dtype=np.int64)
        if self.dtype in _LAYOUT:
            return decode(patterns, *_LAYOUT[self.dtype])
        if dtypes.get(self.dtype).kind == "int":
            top = 1 << (self.bits - 1)
            return (patterns ^ top) - top
        return patterns

    @cached_property
    def subnormal(self) -> NDArray[np.bool_]:
        """Which bins of an exact type hold a subnormal number."""
        patterns = np.arange(1 << self.bits)
        if self.dtype not in _LAYOUT or _LAYOUT[self.dtype][3] == "e8m0":
            return np.zeros(patterns.size, np.bool_)
        exponent, mantissa, _, _ = _LAYOUT[self.dtype]
        low = (patterns >> mantissa) & ((1 << exponent) - 1) == 0
        subnormal: NDArray[np.bool_] = low & np.isfinite(self.values) & (self.values != 0)
        return subnormal

    def interval(self, bins: Array) -> tuple[Array, Array]:
        """The smallest and the largest value of each bin as float64 (NaN where it is not finite).

        For exact types the two are equal, and for integers below 256. For the others the end
        away from zero is the next bin's beginning, which the bin itself does not hold.
        """
        if self.exact:
            values = self.values[bins].astype(np.float64)
            values[~np.isfinite(values)] = np.nan
            return values, values
        sign = bins >> (self.bits - 1) != 0
        magnitude = (bins & ((1 << (self.bits - 1)) - 1)).astype(np.int64)
        near, far = self._edge(magnitude), self._edge(magnitude + 1)
        if dtypes.get(self.dtype).kind in ("int", "uint"):  # a narrow bin holds one integer
            near = np.where(far - near <= 1, np.ceil(near), near)
            far = np.where(far - near <= 1, near, far)
        return np.where(sign, -far, near), np.where(sign, -near, far)

    def _edge(self, magnitude: Array) -> Array:
        """Where the bins of a wide type begin, without the sign; NaN beyond the last finite one."""
        exponents = 1 << (self.bits - 8)
        scale, bias = np.divmod(magnitude, 128), exponents // 2 - 1
        exponent = np.maximum(scale[0], 1) - bias - 7
        mantissa = scale[1] + np.where(scale[0] > 0, 128, 0)
        with np.errstate(over="ignore"):
            edges: Array = np.ldexp(mantissa.astype(np.float64), exponent)
        np.minimum(edges, np.finfo(np.float64).max, out=edges)
        edges[magnitude > (exponents - 1) * 128] = np.nan
        return edges


_SMALL_INTEGERS = {
    d.name: 1 if d.kind == "bool" else d.bits
    for d in dtypes.DTYPES.values()
    if d.bits <= 16 and d.kind in ("int", "uint", "bool")
}


@cache
def of(dtype: str) -> Bins:
    """The bins of the dtype of that canonical name."""
    if dtype in _SMALL_INTEGERS:
        return Bins(dtype, _SMALL_INTEGERS[dtype])
    if dtype in _LAYOUT:
        return Bins(dtype, dtypes.get(dtype).bits)
    wide = dtype == "float64" or dtypes.get(dtype).kind == "complex"
    return Bins(dtype, 19 if wide else 16)


def decode(patterns: Array, exponent: int, mantissa: int, bias: int, special: str) -> Array:
    """The float64 values of bit patterns of a small float type (see `_LAYOUT`)."""
    if special == "e8m0":
        return np.where(patterns == 255, np.nan, np.ldexp(1.0, patterns - bias))
    scale = (patterns >> mantissa) & ((1 << exponent) - 1)
    fraction = patterns & ((1 << mantissa) - 1)
    significand = fraction + np.where(scale > 0, 1 << mantissa, 0)
    power = np.maximum(scale, 1) - bias - mantissa
    magnitude = np.ldexp(significand.astype(np.float64), power)
    if special == "ieee":
        highest = scale == (1 << exponent) - 1
        magnitude[highest] = np.where(fraction[highest] == 0, np.inf, np.nan)
    elif special == "fn":
        all_ones = (1 << (exponent + mantissa)) - 1
        magnitude[patterns & all_ones == all_ones] = np.nan
    sign = patterns >> (exponent + mantissa) & 1
    values: Array = np.where(sign == 1, -magnitude, magnitude)
    if special == "fnuz":
        values[patterns == 1 << (exponent + mantissa)] = np.nan
    return values
