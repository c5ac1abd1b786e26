"""What a sketch tells of a tensor as a sample of some distribution: counts between edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sketch import Sketch, bins

Array = NDArray[Any]
_SLACK = 1e-6  # relative: what float32 arithmetic adds to a bound
_EXACT_MOST = 1 << 16


@dataclass(frozen=True)
class Sample:
    """The finite elements of one tensor; `dropped` exact zeros (a padding row) left out."""

    sketch: Sketch
    dropped: int = 0

    @property
    def count(self) -> int:
        return self.sketch.finite - self.dropped

    @property
    def squares(self) -> float:
        return self.sketch.sum2

    @property
    def rms(self) -> float:
        return float(np.sqrt(self.squares / self.count))

    @property
    def exact(self) -> bool:
        """Is every value of the type one bin (types of 16 bits and less)?"""
        return bins.of(self.sketch.dtype).exact

    @cached_property
    def _values(self) -> tuple[Array, Array]:
        """(lower end, running count before it) of the bins, ascending."""
        assert self.sketch.histogram is not None
        kind, found = bins.of(self.sketch.dtype), self.sketch.histogram
        low, high = kind.interval(found.bins)
        kept = ~np.isnan(low)
        low, high, counts = low[kept], high[kept], found.counts[kept].astype(np.int64)
        if self.dropped:
            counts = np.where((low <= 0) & (high >= 0), 0, counts)
        order = np.argsort(low, kind="stable")
        return low[order], np.concatenate([[0], np.cumsum(counts[order])])

    @cached_property
    def _between(self) -> Array:
        """Of an exact type: the points half-way between neighbours, where rounding divides."""
        values = np.unique(bins.of(self.sketch.dtype).values)
        values = values[np.isfinite(values)].astype(np.float64)
        middle: Array = (values[1:] + values[:-1]) / 2
        return middle

    def edges(self, wanted: Array) -> Array:
        """The points nearest to the wanted ones where bins meet, ascending, none twice."""
        if self.exact:
            edges = self._between
            at = np.clip(np.searchsorted(edges, wanted), 1, edges.size - 1)
            nearer = wanted - edges[at - 1] < edges[at] - wanted
            rounded: Array = np.unique(edges[at - nearer])
        else:
            mantissa, exponent = np.frexp(wanted)
            rounded = np.unique(np.ldexp(np.round(mantissa * 256) / 256, exponent))
        return rounded

    def counts(self, edges: Array) -> Array:
        """How many elements lie before the first edge, between each two, after the last."""
        low, running = self._values
        below = running[np.searchsorted(low, edges, side="left")]
        return np.diff(below, prepend=0, append=running[-1])

    def around(self, value: float) -> tuple[float, float]:
        """Between which magnitudes a magnitude lay before it was rounded to this type."""
        if not self.exact:
            return value * (1 - _SLACK), value * (1 + _SLACK)
        edges = self._between
        at = int(np.searchsorted(edges, value))
        low = edges[at - 1] if at else value
        return max(float(low), 0.0), float(edges[min(at, edges.size - 1)])

    def at_magnitude(self, value: float) -> int:
        """How many elements round to the same magnitude as `value` does, of an exact type."""
        low, high = self.around(value)
        ends = np.array([-high, -low, low, high])
        counts = self.counts(ends)
        return int(counts[1] + counts[3])
