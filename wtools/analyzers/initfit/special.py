"""The few functions of mathematical statistics that the tests need, without SciPy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_NORMAL = NormalDist()
_MANY = 1e4  # degrees of freedom above which the cube-root approximation is good to 1e-6


def normal_cdf(x: Array) -> Array:
    """The standard normal distribution function of each element."""
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])


def normal_quantile(p: Array) -> Array:
    """The standard normal quantile of each element, 0 < p < 1."""
    return np.array([_NORMAL.inv_cdf(v) for v in p.tolist()])


def chi2_tail(x: float, freedom: float) -> float:
    """P(X > x) of a chi-squared variable; `freedom` need not be whole.

    The regularized incomplete gamma function Q(freedom/2, x/2) by its series or its continued
    fraction (Abramowitz & Stegun 6.5.29, 6.5.31); for many degrees of freedom by the
    approximation of Wilson and Hilferty (1931).
    """
    if x <= 0:
        return 1.0
    if freedom > _MANY:
        spread = 2 / (9 * freedom)
        return 0.5 * math.erfc(((x / freedom) ** (1 / 3) - 1 + spread) / math.sqrt(2 * spread))
    a, x = freedom / 2, x / 2
    front = math.exp(max(-745.0, a * math.log(x) - x - math.lgamma(a)))
    if x < a + 1:
        term = total = 1 / a
        k = a
        while term > total * 1e-16:
            k += 1
            term *= x / k
            total += term
        return max(0.0, 1 - total * front)
    return front * _fraction(a, x)


def _fraction(a: float, x: float) -> float:
    """The continued fraction of Q by the method of Lentz."""
    b = x + 1 - a
    c, d = 1e300, 1 / b
    found = d
    for k in range(1, 10_000):
        term = k * (a - k)
        b += 2
        d = 1 / (term * d + b or 1e-300)
        c = b + term / c or 1e-300
        found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found


def smallest(ps: Iterable[float]) -> float:
    """One p-value of several independent ones: how rare so small a smallest is (Šidák)."""
    all_of_them = list(ps)
    least = min(all_of_them, default=1.0)
    return -math.expm1(len(all_of_them) * math.log1p(-least)) if least < 1 else 1.0
