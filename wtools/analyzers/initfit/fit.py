"""How well a distribution fits a tensor: p-values with the right null distribution, from a sketch.

The elements are counted between some 64 quantiles of the distribution, moved to where the bins of
the sketch meet, so that both the counts and their expectations are exact. The counts' deviations
are then projected on functions orthonormal under the null (Neyman's smooth test, grouped: Rayner,
Thas & Best, "Smooth Tests of Goodness of Fit", 2009): the first two see the location and the
scale, the others the shape. The projections are uncorrelated, so that tests of them are
independent; for a scale that was estimated the first is left out. The largest magnitude is a
test of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .laws import Law
from .sample import Sample
from .special import chi2_tail, smallest

Array = NDArray[Any]
_GROUPS = 64
_SHAPES = 8  # highest degree
_FINE = 1 << 22  # elements beyond which a generator's own largest normal number shows


@dataclass(frozen=True)
class Fit:
    """parts: p-values of independent tests by name. distance: the largest difference of the two
    distribution functions. log_likelihood: -inf where an element is impossible."""

    parts: dict[str, float]
    distance: float
    log_likelihood: float

    @property
    def p_value(self) -> float:
        return smallest(self.parts.values())


def fit(sample: Sample, law: Law, *, free: bool = False) -> Fit:
    """`law` against the elements. free: its scale was estimated from these."""
    edges, expected, basis = _groups(sample, law)
    if edges.size < 2:
        return Fit({}, 1.0, likelihood(sample, law))
    counts = sample.counts(edges)
    n = sample.count
    distance = float(np.abs(np.cumsum(counts / n - expected)).max())
    z = basis.T @ ((counts - n * expected) / np.sqrt(n * expected))
    parts = {"shape": chi2_tail(float(z[3:] @ z[3:]), max(1, z.size - 3))} if z.size > 3 else {}
    if free:
        parts["location"] = chi2_tail(float(z[1] ** 2), 1)
    else:
        parts["scale"] = chi2_tail(float(z[1:3] @ z[1:3]), z[1:3].size)
    if not free or law.bound == math.inf:
        parts |= extreme(sample, law)
    return Fit(parts, distance, likelihood(sample, law))


def _groups(sample: Sample, law: Law) -> tuple[Array, Array, Array]:
    """(edges, probabilities between them, basis)."""
    groups = min(_GROUPS, max(8, sample.count // 4))
    edges = sample.edges(_quantiles(law.family, groups) * law.scale)
    below = law.cdf(edges)
    edges, below = edges[(below > 0) & (below < 1)], below[(below > 0) & (below < 1)]
    if edges.size < 2:
        return edges, below, below
    expected = np.diff(below, prepend=0.0, append=1.0)
    middle = (np.concatenate([[0.0], below]) + np.concatenate([below, [1.0]])) / 2
    return edges, expected, _basis(law, expected, middle)


@lru_cache(maxsize=64)
def _quantiles(family: Any, groups: int) -> Array:
    return Law(family, 1.0).quantile(np.arange(1, groups) / groups)


def _basis(law: Law, expected: Array, middle: Array) -> Array:
    """Columns orthonormal under the null: 1, location, scale, shapes; times sqrt(expected)."""
    x = Law(law.family, 1.0).quantile(middle)
    u = 2 * middle - 1
    functions = [np.ones_like(u), x, x * x]
    functions += [np.polynomial.Legendre.basis(k)(u) for k in range(3, _SHAPES + 1)]
    matrix = np.stack(functions[: max(2, expected.size)], axis=1) * np.sqrt(expected)[:, None]
    basis: Array = np.linalg.qr(matrix)[0]
    return basis


def extreme(sample: Sample, law: Law) -> dict[str, float]:
    """Is the largest magnitude what so many elements would have? Two-sided.

    Where the type's rounding leaves its probability open, a value in between is taken: one that
    depends on the elements alone, evenly spread, so that the test's null distribution stays even.
    """
    low, high = sample.around(sample.sketch.linf)
    if low >= law.bound:
        return {"extreme": 0.0}
    n = sample.count
    least, most = (n * math.log1p(-min(law.beyond(m), 1 - 1e-16)) for m in (low, high))
    part = _spread(sample)
    below = (1 - part) * math.exp(least) + part * math.exp(most)
    above = -(1 - part) * math.expm1(least) - part * math.expm1(most)
    if below < above and law.bound == math.inf and n > _FINE:
        return {"extreme": 1.0}
    return {"extreme": min(1.0, 2 * below, 2 * above)}


def _spread(sample: Sample) -> float:
    """A number in [0, 1) made of the elements' last digits."""
    total = abs(float(sample.sketch.sum)) / (float(sample.sketch.l1) or 1.0)
    return math.modf(total * 1e6)[0]


def likelihood(sample: Sample, law: Law) -> float:
    """The log-likelihood, to a constant that depends on the elements alone."""
    total = law.log_likelihood(sample.count, sample.squares)
    if law.bound == math.inf:
        return total
    low, high = sample.around(sample.sketch.linf)
    if low >= law.bound:
        return -math.inf
    if sample.exact and high > law.bound:  # the outermost value stands for part of its interval
        part = max((law.bound - low) / (high - low), 1e-12)
        total += sample.at_magnitude(sample.sketch.linf) * math.log(part)
    return total
