"""Plain NumPy statistics to hold sketches against, and what counts as equal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from wtools import dtypes
from wtools.sketch import Sketch
from wtools.sketch.model import COUNTS

Array = NDArray[Any]
EPS = 2.0**-52

NAMES = list(dtypes.DTYPES)
FLOATS = [n for n, d in dtypes.DTYPES.items() if d.kind == "float"]
NARROW = [n for n, d in dtypes.DTYPES.items() if d.bits <= 16 and d.kind != "complex"]
WIDE = [n for n, d in dtypes.DTYPES.items() if d.bits >= 32 and d.kind != "complex"]


def wide(array: Array) -> Array:
    """The elements as real numbers in float64: magnitudes of complex ones."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "c":
        return np.hypot(flat.real.astype(np.float64), flat.imag.astype(np.float64))
    return flat.astype(np.float64)


def example(dtype: str, count: int, seed: int = 0, *, special: bool = True) -> Array:
    """Numbers with some zeros, subnormals, NaN and infinities, where the type has them."""
    rng = np.random.default_rng(seed)
    kind = dtypes.get(dtype)
    if kind.kind == "bool":
        return rng.integers(0, 2, count).astype(np.bool_)
    if kind.kind in ("int", "uint"):
        low = -(1 << (kind.bits - 1)) if kind.kind == "int" else 0
        high = low + (1 << kind.bits) - 1
        numbers = rng.integers(low, high, count, endpoint=True, dtype=_at_least_8(kind))
        return numbers.astype(kind.numpy)
    numbers = rng.standard_normal(count) * np.exp(rng.standard_normal(count))
    if special:
        for value in (0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 1e-310, 3e-6):
            numbers[rng.integers(0, count, count // 50)] = value
    with np.errstate(all="ignore"):
        if dtype == "complex32":  # which holds halves, though NumPy keeps them in more
            numbers = numbers.astype(np.float16)
        return numbers.astype(kind.numpy)


def _at_least_8(kind: dtypes.DType) -> Any:
    return np.dtype(f"{kind.kind}{max(kind.bits, 8)}")


def assert_agree(a: Sketch, b: Sketch) -> None:
    """Counts, histograms and extremes are equal; sums up to rounding, 1e-12 of their scale."""
    assert a.dtype == b.dtype
    for name in COUNTS:
        assert getattr(a, name) == getattr(b, name), name
    assert a.histogram == b.histogram
    if not a.finite:
        return
    assert (a.min, a.max) == (b.min, b.max)
    assert_sums(a, float(b.sum), float(b.l1), b.m2, b.m3, b.m4)


def assert_sums(a: Sketch, sum_: float, l1: float, m2: float, m3: float, m4: float) -> None:
    """Distances are rounded by some EPS of the largest magnitude, all else by 1e-12 of itself."""
    assert math.isclose(a.l1, l1, rel_tol=1e-12)
    assert abs(a.sum - sum_) <= 1e-12 * l1
    n, blur = a.finite, 4 * EPS * a.linf
    scale = math.sqrt(m2 / n) + blur
    tail = (m4 / n) ** 0.25 + blur
    assert abs(a.m2 - m2) <= n * (1e-12 * scale**2 + 2 * blur * scale)
    assert abs(a.m3 - m3) <= n * (1e-12 * tail**3 + 3 * blur * tail**2)
    assert abs(a.m4 - m4) <= n * (1e-12 * tail**4 + 4 * blur * tail**3)


def assert_is_of(sketch: Sketch, array: Array) -> None:
    """All figures of `sketch` are those of `array`, by plain NumPy in extended precision."""
    x = wide(array)
    finite = x[np.isfinite(x)]
    assert sketch.count == x.size
    assert sketch.zeros == np.count_nonzero(x == 0)
    assert sketch.nans == np.count_nonzero(np.isnan(x))
    assert sketch.pos_infs == np.count_nonzero(x == np.inf)
    assert sketch.neg_infs == np.count_nonzero(x == -np.inf)
    assert sketch.finite == finite.size
    if not finite.size:
        assert math.isnan(sketch.min)
        assert math.isnan(sketch.mean)
        return
    assert float(sketch.min) == finite.min()
    assert float(sketch.max) == finite.max()
    long = finite.astype(np.longdouble)
    distance = long - long.mean()
    powers = [float((distance**k).sum()) for k in (2, 3, 4)]
    assert_sums(sketch, float(long.sum()), float(np.abs(long).sum()), *powers)
    np.testing.assert_allclose(sketch.l2, float(np.sqrt((long * long).sum())), rtol=1e-12)


@st.composite
def float32s(draw: Any, least: int = 0, most: int = 300) -> Array:
    """Any float32 numbers at all; many equal ones, NaN, infinities and subnormals among them."""
    pool = draw(st.lists(st.floats(width=32), min_size=1, max_size=20))
    size = draw(st.integers(least, most))
    places = draw(arrays.arrays(np.int64, size, elements=st.integers(0, len(pool) - 1)))
    return np.array(pool, np.float32)[places]
