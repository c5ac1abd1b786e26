"""The magnitudes of some weights, from their histograms: who holds how much of the energy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sketch import Sketch, bins

Array = NDArray[Any]
BIN = 1 / 128  # relative width of a bin of a wide type


@dataclass(frozen=True, eq=False)
class Curve:
    """Bins of magnitude, ascending: from `near` to `far`, each with `count` elements.

    Where near and far are equal the bin holds that magnitude alone: zeros, and every value of a
    type of 16 bits and less, whose figures are therefore exact. l1, l2: of all elements, exact.
    """

    near: Array
    far: Array
    counts: NDArray[np.int64]
    l1: float
    l2: float

    @property
    def count(self) -> int:
        """The number of finite elements."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Of the magnitudes."""
        return self.l1 / self.count if self.count else math.nan

    @property
    def rms(self) -> float:
        return self.l2 / math.sqrt(self.count) if self.count else math.nan

    @cached_property
    def _reached(self) -> Array:
        """Elements up to and with each bin."""
        return np.cumsum(self.counts)

    @cached_property
    def _energy(self) -> Array:
        """The share of the squares up to and with each bin."""
        near, far = self._scaled
        square = (near**2 + near * far + far**2) / 3  # if spread evenly
        total = np.cumsum(square * self.counts)
        return total / total[-1] if total.size and total[-1] else total

    @cached_property
    def _scaled(self) -> tuple[Array, Array]:
        """near, far in parts of the largest: their squares and sums stay within float64."""
        largest = float(self.far.max(initial=0)) or 1.0
        return self.near / largest, self.far / largest

    def hoyer(self) -> float:
        """0 where all magnitudes are equal, 1 where one element holds everything: (sqrt(n) -
        l1/l2) / (sqrt(n) - 1). Hoyer, JMLR 5 (2004). NaN without an element that is not zero."""
        root = math.sqrt(self.count)
        if not 0 < self.l2 < math.inf or root <= 1:
            return math.nan
        return (root - self.l1 / self.l2) / (root - 1)

    def gini(self) -> float:
        """The Gini index of the magnitudes; 0 where all are equal, near 1 where few hold all.

        For wide types within 1/128: magnitudes of a bin are taken as equal. Hurley and Rickard,
        IEEE Trans. Inf. Theory 55 (2009). NaN without an element that is not zero.
        """
        near, far = self._scaled
        middle = (near + far) / 2
        total = float(middle @ self.counts)
        if not total:
            return math.nan
        n = self.count
        # 1 - 2 sum_k x_k / |x|_1 (n - k + 1/2) / n over ascending x_k, summed within each bin
        places = (n - self._reached + self.counts / 2) / n
        return float(1 - 2 * (middle * self.counts / total) @ places)

    def holding(self, share: float) -> float:
        """The smallest fraction of the elements that holds that share of the L2 energy."""
        if not self.l2:
            return math.nan
        left = 1 - share  # what the smallest elements may hold
        at = int(np.searchsorted(self._energy, left, side="right"))
        if at >= self.counts.size:
            return 0.0
        below = self._energy[at - 1] if at else 0.0
        part = (left - below) / (self._energy[at] - below)
        dropped = self._reached[at] - self.counts[at] + part * self.counts[at]
        return float(1 - dropped / self.count)

    def magnitude(self, fraction: float) -> float:
        """The magnitude that `fraction` of the elements do not exceed."""
        if not self.count:
            return math.nan
        rank = max(1.0, fraction * self.count)
        at = min(int(np.searchsorted(self._reached, rank)), self.counts.size - 1)
        part = (rank - (self._reached[at] - self.counts[at])) / self.counts[at]
        return float(self.near[at] + part * (self.far[at] - self.near[at]))

    def energy_below(self, fraction: float) -> float:
        """The share of the L2 energy in the smallest `fraction` of the elements."""
        if not self.l2:
            return math.nan
        rank = fraction * self.count
        at = min(int(np.searchsorted(self._reached, rank)), self.counts.size - 1)
        below = self._energy[at - 1] if at else 0.0
        part = (rank - (self._reached[at] - self.counts[at])) / self.counts[at]
        return float(below + part * (self._energy[at] - below))

    def below(self, magnitude: float) -> float:
        """The fraction of the elements with a magnitude below that; where the threshold cuts a
        bin, its elements are taken as spread evenly."""
        if not self.count:
            return math.nan
        point = self.near == self.far
        whole = np.where(point, self.near < magnitude, self.far <= magnitude)
        cut = ~whole & (self.near < magnitude)
        share = (magnitude - self.near[cut]) / (self.far - self.near)[cut]
        return float(self.counts[whole].sum() + share @ self.counts[cut]) / self.count

    def without_zeros(self) -> Curve:
        kept = self.far > 0
        return Curve(self.near[kept], self.far[kept], self.counts[kept], self.l1, self.l2)


def curve(sketches: Iterable[Sketch]) -> Curve:
    """The magnitudes of all elements of the sketches, whatever their dtypes."""
    parts = list(sketches)
    bounds = [_bins(sketch) for sketch in parts]
    near, far, counts = (np.concatenate([np.empty(0), *(b[k] for b in bounds)]) for k in range(3))
    order = np.lexsort((far, near))
    l1 = float(sum(float(sketch.l1) for sketch in parts))
    l2 = math.hypot(*(sketch.l2 for sketch in parts))
    return Curve(near[order], far[order], counts[order].astype(np.int64), l1, l2)


def _bins(sketch: Sketch) -> tuple[Array, Array, Array]:
    assert sketch.histogram is not None
    kind = bins.of(sketch.dtype)
    low, high = kind.interval(sketch.histogram.bins)
    counts = sketch.histogram.counts
    if not kind.exact and sketch.zeros:  # they share two bins with the least subnormals
        ends = (sketch.histogram.bins & ((1 << (kind.bits - 1)) - 1)) == 0
        left = counts.copy()
        left[ends] = 0
        rest = int(counts[ends].sum()) - sketch.zeros
        low, high = np.append(low, [0.0, 0.0]), np.append(high, [0.0, high[ends].max()])
        counts = np.append(left, [sketch.zeros, rest])
    finite = ~np.isnan(low) & ~np.isnan(high) & (counts > 0)
    magnitudes = np.abs(low[finite]), np.abs(high[finite])
    return np.minimum(*magnitudes), np.maximum(*magnitudes), counts[finite]
