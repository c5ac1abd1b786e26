"""The distributions that initializers draw from: uniform, normal, and normal cut at a bound.

All are centred at zero and given by one number, their scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .special import normal_cdf, normal_quantile

Array = NDArray[Any]
Family = Literal["uniform", "normal", "truncated_normal"]

FAMILIES: tuple[Family, ...] = ("uniform", "normal", "truncated_normal")

CUT = 2.0  # standard deviations at which Keras, TensorFlow, JAX and timm cut
CUT_STD = 0.87962566103423978  # std of a standard normal cut there (Keras' constant)
_ROOT_2PI = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Law:
    """A distribution. scale: half the width of a uniform one, sigma of a normal one (before it is
    cut)."""

    family: Family
    scale: float

    @classmethod
    def of_std(cls, family: Family, std: float) -> Law:
        """The one with this standard deviation."""
        return cls(family, std / unit_std(family))

    @property
    def std(self) -> float:
        return self.scale * unit_std(self.family)

    @property
    def bound(self) -> float:
        """The largest magnitude possible."""
        return {"uniform": self.scale, "truncated_normal": CUT * self.scale}.get(
            self.family, math.inf
        )

    def cdf(self, x: Array) -> Array:
        """P(X <= x) of each element."""
        unit = x / self.scale
        if self.family == "uniform":
            return np.clip((unit + 1) / 2, 0, 1)
        if self.family == "normal":
            return normal_cdf(unit)
        low, inside = _cut()
        return np.clip((normal_cdf(unit) - low) / inside, 0, 1)

    def quantile(self, p: Array) -> Array:
        """The x with P(X <= x) = p, 0 < p < 1."""
        if self.family == "uniform":
            return self.scale * (2 * p - 1)
        if self.family == "normal":
            return self.scale * normal_quantile(p)
        low, inside = _cut()
        return self.scale * normal_quantile(low + p * inside)

    def beyond(self, x: float) -> float:
        """P(|X| > x), precise where it is small."""
        unit = max(x, 0.0) / self.scale
        if self.family == "uniform":
            return max(0.0, 1 - unit)
        tail = math.erfc(unit / math.sqrt(2))
        if self.family == "normal":
            return tail
        low, inside = _cut()
        return max(0.0, tail - 2 * low) / inside

    def log_likelihood(self, count: int, squares: float) -> float:
        """Of `count` elements within the bound with this sum of squares."""
        if self.family == "uniform":
            return -count * math.log(2 * self.scale)
        inside = 1.0 if self.family == "normal" else _cut()[1]
        norm = math.log(self.scale * _ROOT_2PI * inside)
        return -count * norm - squares / (2 * self.scale * self.scale)


def unit_std(family: Family) -> float:
    """The standard deviation at scale 1."""
    return {"uniform": 1 / math.sqrt(3), "normal": 1.0, "truncated_normal": CUT_STD}[family]


@cache
def _cut() -> tuple[float, float]:
    """(probability below the lower cut, between the cuts) of a standard normal."""
    low = 0.5 * math.erfc(CUT / math.sqrt(2))
    return low, 1 - 2 * low


@cache
def moment(family: Family, power: int) -> float:
    """E[X**power] over std**power, for an even power."""
    if family == "normal":
        return float(math.prod(range(1, power, 2)))
    if family == "uniform":
        return 3 ** (power / 2) / (power + 1)
    x = np.linspace(-CUT, CUT, 20_001)
    density = np.exp(-x * x / 2) / (_ROOT_2PI * _cut()[1])
    under = (density * x**power).sum() - density[0] * CUT**power
    return float(under * (x[1] - x[0])) / CUT_STD**power
