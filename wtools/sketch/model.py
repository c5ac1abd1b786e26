"""The Sketch: what one pass over some numbers keeps of them, and how two of them add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from . import bins as binning

Array = NDArray[Any]
MANY = 8  # histograms that are added up faster by way of all bins than by sorting theirs
FEW = 4096  # elements of which a sketch of a wide type keeps the values
_TINY, _HUGE = 2.0**-500, 2.0**500  # beyond these, float64 does not hold squares (and their sums)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the bins that are not empty, by bin number, ascending (see `bins`).

    All elements are counted, NaN and infinities too. bins: uint32; counts: int64.
    """

    bins: NDArray[np.uint32]
    counts: NDArray[np.int64]

    @classmethod
    def dense(cls, counts: Array) -> Histogram:
        """From the counts of all bins."""
        used = np.flatnonzero(counts)
        return cls(used.astype(np.uint32), counts[used].astype(np.int64))

    @classmethod
    def sum(cls, histograms: Sequence[Histogram]) -> Histogram:
        """All counts together."""
        if len(histograms) == 1:
            return histograms[0]
        if not histograms:
            return cls(np.empty(0, np.uint32), np.empty(0, np.int64))
        if len(histograms) > MANY:
            dense = np.zeros(1 + max(int(h.bins.max(initial=0)) for h in histograms), np.int64)
            for h in histograms:
                dense[h.bins] += h.counts
            return cls.dense(dense)
        bins = np.concatenate([h.bins for h in histograms])
        counts = np.concatenate([h.counts for h in histograms])
        order = np.argsort(bins, kind="stable")
        bins, counts = bins[order], counts[order]
        first = np.flatnonzero(np.diff(bins, prepend=np.int64(-1)))
        return cls(bins[first], np.add.reduceat(counts, first) if first.size else counts)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram.sum([self, other])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Histogram)
            and np.array_equal(self.bins, other.bins)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.bins)


@dataclass(frozen=True)
class Sketch:
    """Statistics of a set of numbers that can be added to those of another set.

    count: all elements; zeros (of either sign), nans, pos_infs, neg_infs, subnormals: how many
        of them are that. Everything below is over the finite elements only.
    sum, l1: the sums of the elements and of their magnitudes; exact for integers (as int).
    m2, m3, m4: the sums of the second to fourth powers of the elements' distances from their
        mean. They, not powers about zero, are kept because they do not cancel when the mean is
        far from zero.
    center, offset: the mean is center + offset: two numbers, so that the difference of two means
        does not cancel where the spread is far smaller than the mean. (0 for integers, whose
        means follow from exact sums.)
    min, max: int for integers and bool; NaN when there are no finite elements.
    histogram: None when it was not asked for.
    values: with a histogram, all finite elements of wide types in ascending order (float64 or a
        64-bit integer) as long as there are not more than FEW elements in total; else None.

    Complex elements count by their magnitude.

    Merging adds counts and histograms exactly. For types of 16 bits and less with a histogram
    all other figures are computed from it, so merging is exactly associative; otherwise sums
    agree to some 1e-15 of `l1` (or of m2, m4) whatever the order. Central moments are merged by
    the formulas of Pébay, "Formulas for robust, one-pass parallel computation of covariances
    and arbitrary-order statistical moments" (Sandia SAND2008-6212, 2008).
    """

    dtype: str
    count: int = 0
    zeros: int = 0
    nans: int = 0
    pos_infs: int = 0
    neg_infs: int = 0
    subnormals: int = 0
    sum: float | int = 0
    l1: float | int = 0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0
    center: float = 0.0
    offset: float = 0.0
    min: float | int = math.nan
    max: float | int = math.nan
    histogram: Histogram | None = None
    values: Array | None = field(default=None, compare=False, repr=False)

    # --- from the counts -------------------------------------------------------------------------

    @property
    def infs(self) -> int:
        return self.pos_infs + self.neg_infs

    @property
    def finite(self) -> int:
        """The number of finite elements."""
        return self.count - self.nans - self.infs

    @property
    def zero_fraction(self) -> float:
        """Zeros among all elements."""
        return self.zeros / self.count if self.count else math.nan

    @property
    def mean(self) -> float:
        if not self.finite:
            return math.nan
        mean = float(self.sum / self.finite)
        if not math.isfinite(mean):  # the sum overflows, which the mean cannot
            mean = self._scaled_mean() if self.values is not None else self.center + self.offset
        return min(max(mean, float(self.min)), float(self.max))

    @property
    def var(self) -> float:
        """The population variance (ddof = 0); infinite where squares leave float64."""
        if math.isnan(self.m2):
            return math.inf
        return self.m2 / self.finite if self.finite else math.nan

    @property
    def std(self) -> float:
        """The population standard deviation (ddof = 0)."""
        return self._root(self.m2, self.mean, self.finite) if self.finite else math.nan

    @property
    def sum2(self) -> float:
        """The sum of squares (about zero)."""
        return self.m2 + self._mean_power(2) if self.finite else 0.0

    @property
    def sum3(self) -> float:
        """The sum of third powers (about zero)."""
        if not self.finite:
            return 0.0
        return self.m3 + 3 * self.mean * self.m2 + self._mean_power(3)

    @property
    def sum4(self) -> float:
        """The sum of fourth powers (about zero)."""
        if not self.finite:
            return 0.0
        mean = self.mean
        return self.m4 + 4 * mean * self.m3 + 6 * mean * mean * self.m2 + self._mean_power(4)

    def _root(self, squares: float, about: float, parts: int) -> float:
        """The root of `squares / parts`, `squares` the sum of squared distances from `about`.

        Where squares leave the range of float64 it comes from scaled values; without values
        it is infinite there, or 0, as in plain float64.
        """
        if self.values is None or self.linf == 0 or _TINY < self.linf < _HUGE:
            return math.inf if math.isnan(squares) else math.sqrt(squares / parts)
        exponent = math.frexp(self.linf)[1]
        scaled = np.ldexp(self.values.astype(np.float64), -exponent) - math.ldexp(about, -exponent)
        return _ldexp(math.sqrt(float(scaled @ scaled) / parts), exponent)

    def _scaled_mean(self) -> float:
        assert self.values is not None
        exponent = math.frexp(self.linf)[1]
        scaled = np.ldexp(self.values.astype(np.float64), -exponent)
        return _ldexp(math.fsum(scaled) / self.finite, exponent)

    def _mean_power(self, power: int) -> float:
        return self.finite * math.prod([self.mean] * power)

    @property
    def l2(self) -> float:
        """The Euclidean norm."""
        return self._root(self.sum2, 0.0, 1)

    @property
    def rms(self) -> float:
        """The root of the mean square."""
        return self._root(self.sum2, 0.0, self.finite) if self.finite else math.nan

    @property
    def linf(self) -> float:
        """The largest magnitude; 0 when there are no finite elements."""
        return float(max(abs(self.min), abs(self.max))) if self.finite else 0.0

    @property
    def skewness(self) -> float:
        """Population skewness g1 = (m3/n) / (m2/n)**1.5; NaN for a constant."""
        scale = self.std
        return self.m3 / self.finite / scale / scale / scale if scale > 0 else math.nan

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis g2 = (m4/n) / (m2/n)**2 - 3 (0 for a normal distribution)."""
        var = self.var
        return self.m4 / self.finite / var / var - 3 if var > 0 else math.nan

    # --- from the histogram ----------------------------------------------------------------------

    @property
    def exact(self) -> bool:
        """Do quantiles and fractions come out exactly? (Up to 16 bits, or FEW elements.)"""
        return self.values is not None or binning.of(self.dtype).exact

    def quantile(self, q: float) -> float:
        """The q-quantile of the finite elements, 0 <= q <= 1: numpy's method "inverted_cdf".

        That is the smallest element x such that at least q of the elements are <= x. Exact for
        types of 16 bits and less, and for up to FEW elements. Otherwise the bin in which x lies
        is known, and the value is found by spreading the bin's elements evenly over it: within
        1/128 of x (2**-133 for float32 subnormals). The ends are exact, and so is 0 unless there
        are numbers below 2**-133, which share the bins of the two zeros.

        NaN when there are no finite elements. Raises UsageError without a histogram.
        """
        return self.quantiles(q)[0]

    def quantiles(self, *qs: float) -> tuple[float, ...]:
        """Several quantiles for the price of one. See `quantile`."""
        low, high, counts = self._ascending()
        below = np.cumsum(counts)
        found = []
        for q in qs:
            if not 0 <= q <= 1:
                raise UsageError(f"a quantile lies between 0 and 1, not at {q}")
            rank = max(1, math.ceil(q * self.finite))  # of the element sought, counted from 1
            if not counts.size:
                value = math.nan
            elif rank in (1, self.finite):
                value = float(self.min if rank == 1 else self.max)
            else:
                at = int(np.searchsorted(below, rank))
                place = (rank - 0.5 - float(below[at] - counts[at])) / float(counts[at])
                value = float(low[at]) + place * float(high[at] - low[at])
                value = min(max(value, float(self.min)), float(self.max))
            found.append(value)
        return tuple(found)

    def below(self, threshold: float) -> float:
        """The fraction of the finite elements with magnitude < threshold.

        Exact where `exact` says so, and for any threshold at the edge of a bin (such as
        the powers of two); otherwise the elements of the bin that the threshold cuts are taken
        as spread evenly, and the truth lies within `below_bounds`.
        """
        return self._below(threshold)[1]

    def below_bounds(self, threshold: float) -> tuple[float, float]:
        """Two fractions between which the true one lies; equal where `below` is exact."""
        low, _, high = self._below(threshold)
        return low, high

    def _below(self, threshold: float) -> tuple[float, float, float]:
        if not self.finite:
            return math.nan, math.nan, math.nan
        low, high, counts = self._ascending()
        near = np.where(high <= 0, -high, low)
        far = np.where(high <= 0, -low, high)
        point = near == far  # bins of one value; the others do not hold their far end
        whole = np.where(point, near < threshold, far <= threshold)
        cut = ~whole & (near < threshold)
        inside = float(counts[whole].sum())
        part = (threshold - near[cut]) / (far - near)[cut] * counts[cut]
        n = self.finite
        return inside / n, (inside + float(part.sum())) / n, (inside + counts[cut].sum()) / n

    def _ascending(self) -> tuple[Array, Array, Array]:
        """(smallest, largest value, count) of the finite bins, by value; zeros apart."""
        if self.histogram is None:
            raise UsageError("this sketch was made without a histogram")
        if self.values is not None:
            points, counts = np.unique(self.values.astype(np.float64), return_counts=True)
            return points, points, counts
        bins, counts = self.histogram.bins, self.histogram.counts
        kind = binning.of(self.dtype)
        low, high = kind.interval(bins)
        if not kind.exact and self.zeros:
            low, high, counts = self._part_zeros(bins, low, high, counts, kind)
        finite = ~(np.isnan(low) | np.isnan(high)) & (counts > 0)
        low, high, counts = low[finite], high[finite], counts[finite]
        order = np.lexsort((high, low))  # zero comes before the bin that begins there
        return low[order], high[order], counts[order]

    def _part_zeros(
        self, bins: Array, low: Array, high: Array, counts: Array, kind: binning.Bins
    ) -> tuple[Array, Array, Array]:
        """Take the exact zeros out of the two bins that they share with the least subnormals."""
        counts = counts.copy()
        left = self.zeros
        for sign in (0, 1 << (kind.bits - 1)):
            at = np.flatnonzero(bins == sign)
            taken = min(left, int(counts[at].sum()))
            counts[at] -= taken
            left -= taken
        zero = np.zeros(1)
        return np.append(low, zero), np.append(high, zero), np.append(counts, self.zeros)

    # --- adding up -------------------------------------------------------------------------------

    def merge(self, other: Sketch) -> Sketch:
        """The sketch of both sets of elements together.

        The result has a histogram if both have one. Raises UsageError for different dtypes.
        """
        if self.dtype != other.dtype:
            raise UsageError(f"a sketch of {self.dtype} does not add to one of {other.dtype}")
        if not self.count or not other.count:
            whole = self if self.count else other
            has_both = self.histogram is not None and other.histogram is not None
            return whole if has_both else replace(whole, histogram=None, values=None)
        if self.histogram is not None and other.histogram is not None:
            histogram = self.histogram + other.histogram
            if binning.of(self.dtype).exact:
                return from_histogram(self.dtype, histogram)
            values = None
            if self.values is not None and other.values is not None:
                values = few(self.dtype, self.count + other.count, [self.values, other.values])
            return replace(_merge_moments(self, other), histogram=histogram, values=values)
        return _merge_moments(self, other)

    __add__ = merge


COUNTS = ("count", "zeros", "nans", "pos_infs", "neg_infs", "subnormals")
MOMENTS = ("sum", "l1", "m2", "m3", "m4", "center", "offset", "min", "max")


def few(dtype: str, count: int, parts: Sequence[Array]) -> Array | None:
    """What Sketch.values is, if `parts` are all of `count` elements (NaN and infinities or not)."""
    if count > FEW or binning.of(dtype).exact:
        return None
    values = np.concatenate(parts) if parts else np.empty(0)
    return np.sort(values[np.isfinite(values)])


def merge_all(dtype: str, parts: Sequence[Sketch]) -> Sketch:
    """The sum of `parts`, always paired the same way, so that rounding is reproducible."""
    level = list(parts)
    while len(level) > 1:
        level = [
            level[i].merge(level[i + 1]) if i + 1 < len(level) else level[i]
            for i in range(0, len(level), 2)
        ]
    return level[0] if level else Sketch(dtype)


def total(parts: Sequence[Sketch]) -> Sketch:
    """One or more sketches of one dtype merged one after another, but faster."""
    if binning.of(parts[0].dtype).exact and all(part.dtype == parts[0].dtype for part in parts):
        histograms = [part.histogram for part in parts if part.histogram is not None]
        if len(histograms) == len(parts) > 1:
            return from_histogram(parts[0].dtype, Histogram.sum(histograms))
    return reduce(Sketch.merge, parts)


def _merge_moments(a: Sketch, b: Sketch) -> Sketch:
    counts = {name: getattr(a, name) + getattr(b, name) for name in COUNTS}
    if not a.finite or not b.finite:
        return replace(a if a.finite else b, histogram=None, values=None, **counts)
    a, b = sorted((a, b), key=_order)  # so that merging is exactly commutative
    n, na, nb = a.finite + b.finite, a.finite, b.finite
    delta = _between(a, b)
    ab = na * nb / n
    square = delta * delta
    m2 = (a.m2 + b.m2) + square * ab
    m3 = (a.m3 + b.m3) + (
        square * delta * ab * ((na - nb) / n) + 3 * delta * (na / n * b.m2 - nb / n * a.m2)
    )
    m4 = (a.m4 + b.m4) + (
        square * square * ab * ((na * na - na * nb + nb * nb) / (n * n))
        + 6 * square * ((na / n) ** 2 * b.m2 + (nb / n) ** 2 * a.m2)
        + 4 * delta * (na / n * b.m3 - nb / n * a.m3)
    )
    return Sketch(
        a.dtype,
        **counts,
        sum=a.sum + b.sum,
        l1=a.l1 + b.l1,
        m2=m2,
        m3=m3,
        m4=m4,
        center=a.center + 0.0,  # no -0.0, whose place would tell which came first
        offset=0.0 if isinstance(a.sum, int) else a.offset + delta * (nb / n),
        min=min(a.min, b.min),
        max=max(a.max, b.max),
    )


def _order(sketch: Sketch) -> tuple[Any, ...]:
    return sketch.finite, *(getattr(sketch, name) for name in MOMENTS)


def _between(a: Sketch, b: Sketch) -> float:
    """The distance from the mean of `a` to that of `b`."""
    if isinstance(a.sum, int) and isinstance(b.sum, int):
        return (b.sum * a.finite - a.sum * b.finite) / (a.finite * b.finite)
    return (b.center - a.center) + (b.offset - a.offset)


def from_histogram(dtype: str, histogram: Histogram, *, keep: bool = True) -> Sketch:
    """The sketch of a type whose histogram is its exact distribution (16 bits and less)."""
    kind = binning.of(dtype)
    values, counts = kind.values[histogram.bins], histogram.counts
    finite = np.isfinite(values)
    v, c = values[finite], counts[finite]
    fields: dict[str, Any] = {
        "count": int(counts.sum()),
        "zeros": int(counts[values == 0].sum()),
        "nans": int(counts[np.isnan(values)].sum()),
        "pos_infs": int(counts[values == np.inf].sum()),
        "neg_infs": int(counts[values == -np.inf].sum()),
        "subnormals": int(counts[kind.subnormal[histogram.bins]].sum()),
        "histogram": histogram if keep else None,
    }
    if v.size == 0:
        return Sketch(dtype, **fields)
    if v.dtype.kind == "i":
        fields |= {"sum": int(v @ c), "l1": int(np.abs(v) @ c)}
        fields |= {"min": int(v.min()), "max": int(v.max())}
    else:
        products = (v * c).tolist()
        fields |= {"sum": math.fsum(products), "l1": math.fsum(map(abs, products))}
        fields |= {"min": float(v.min()) + 0.0, "max": float(v.max()) + 0.0}
    mean = fields["sum"] / int(c.sum())
    distance = v - mean
    square = distance * distance
    weighted = square * c
    fields |= {
        "m2": float(weighted.sum()),
        "m3": float((weighted * distance).sum()),
        "m4": float((weighted * square).sum()),
        "center": 0.0 if v.dtype.kind == "i" else mean,
    }
    return Sketch(dtype, **fields)


def _ldexp(fraction: float, exponent: int) -> float:
    try:
        return math.ldexp(fraction, exponent)
    except OverflowError:
        return math.inf
