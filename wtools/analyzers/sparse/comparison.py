"""The same model trained in two ways: which weights survive in which."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tree import Tensor, WeightTree
from ..elements import STEP, aligned, reals
from ..matching import pairs
from .views import is_coefficient

ALIKE = 0.06  # of the survivors, and of all, that may differ where the same ones survive
_EQUAL = 1e-4  # of the logarithm of the ratio of norms
_NOTHING = 1e-6  # of the mean magnitude of the others: as good as zero
_FEW = 0.02  # zeros that may be chance
_LINE = 0.98  # correlation of magnitudes of which one set is the other, scaled
_SUMS = (
    *("both", "here", "there", "neither", "kept", "dropped", "l1", "l1_there", "l2", "l2_there"),
    *("n", "x", "y", "xx", "xy", "yy", "dropped_there"),
)


def compared(a: WeightTree, b: WeightTree) -> dict[str, Any]:
    """Over the weights that both have in the same shape, as figures for `summary`: coefficients of
    linear models; where there are none, tensors of two axes and more; else all.

    beside_the_twin: what penalty they differ in, in words. kept_in_both, only_here, only_there,
    in_neither: elements that are not zero. mean_there_of_...: the mean magnitude in `b` of those
    kept and of those dropped in `a`: an L1 drops what is small elsewhere. l1_ratio, l2_ratio: norms
    in `a` over those in `b`. slope, shift, correlation: of the magnitudes in `a` of what both keep
    with one sign against those in `b`: where inputs hardly correlate, L1 shifts them towards zero
    and L2 scales them. Raises what reading raises.
    """
    matched = _weights([(x, y) for x, y in pairs(a, b).matched if x.shape == y.shape and x.size])
    total = np.zeros(len(_SUMS))
    for x, y in matched:
        for p, q in _blocks(x, y):
            total += _figures(p, q)
    sums = dict(zip(_SUMS, total.tolist(), strict=True))
    both, here, there, neither = (sums[name] for name in _SUMS[:4])
    figures = {
        "kept_in_both": int(both),
        "only_here": int(here),
        "only_there": int(there),
        "in_neither": int(neither),
        "mean_there_of_kept": _ratio(sums["kept"], both + here),
        "mean_there_of_dropped": _ratio(sums["dropped"], there + neither),
        "l1_ratio": _ratio(sums["l1"], sums["l1_there"]),
        "l2_ratio": math.sqrt(_ratio(sums["l2"], sums["l2_there"])),
        **_line(sums),
    }
    # what one of them drops may have been nothing in the other, as a weight of a constant input is
    nothing = sums["dropped"] <= _NOTHING * sums["kept"] and (
        sums["dropped_there"] <= _NOTHING * (sums["l1"] - sums["dropped_there"])
    )
    told = {"with": b.path, "beside_the_twin": _told(figures, nothing), "tensors": len(matched)}
    return {"compared": told | figures}


def _weights(matched: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    linear = [pair for pair in matched if is_coefficient(pair[0])]
    return linear or [pair for pair in matched if pair[0].ndim > 1] or matched


def _line(sums: Mapping[str, float]) -> dict[str, float]:
    """The least-squares line through the magnitudes that both keep."""
    n, x, y = sums["n"], sums["x"], sums["y"]
    xx, xy, yy = (sums["xx"] * n - x * x, sums["xy"] * n - x * y, sums["yy"] * n - y * y)
    slope = _ratio(xy, xx)
    shift = _ratio(slope * x - y, n)
    correlation = xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan
    return {"slope": slope, "shift": shift, "correlation": correlation}


def _told(figures: Mapping[str, Any], nothing: bool) -> str:
    """What the twin tells of the penalty; "" where it does not.

    L2 alone shrinks and drops nothing. Along the path of L1 the norm falls as zeros are added: one
    that has the zeros of its twin and all magnitudes in proportion below has more L2 beside.
    """
    both, here, there = (figures[k] for k in ("kept_in_both", "only_here", "only_there"))
    count = both + here + there + figures["in_neither"]
    zeros, zeros_there = (_ratio(count - both - k, count) for k in (here, there))
    if not both or not count:
        return ""
    ratio, named = figures["l2_ratio"], {True: "more", False: "less"}
    if nothing or max(here, there) <= ALIKE * both:  # the same ones survive
        if abs(math.log(ratio)) < _EQUAL:
            return "as much of either penalty as its twin"
        beside = " beside the same L1" if zeros > _FEW and figures["correlation"] > _LINE else ""
        return f"{named[ratio < 1]} L2 than its twin{beside}"
    if abs(zeros - zeros_there) <= ALIKE:
        return ""
    return f"{named[zeros > zeros_there]} L1 than its twin"


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for p, q in aligned(x.blocks(), y.blocks()):
        for start in range(0, p.size, STEP):
            one = reals(p[start : start + STEP], x.dtype)
            other = reals(q[start : start + STEP], y.dtype)
            finite = np.isfinite(one) & np.isfinite(other)
            yield one[finite], other[finite]


def _figures(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """The sums named in _SUMS, over some elements of both."""
    p, q = np.abs(one), np.abs(other)
    alive, there = p > 0, q > 0
    counts = [alive & there, alive & ~there, ~alive & there, ~alive & ~there]
    sums = [q[alive].sum(), q[~alive].sum(), p.sum(), q.sum(), p @ p, q @ q]
    same = alive & (np.sign(one) == np.sign(other))
    x, y = q[same], p[same]
    line = [x.size, x.sum(), y.sum(), x @ x, x @ y, y @ y, p[~there].sum()]
    return np.array([*map(np.count_nonzero, counts), *sums, *line], np.float64)


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan
