"""The same model trained in two ways: which weights survive in which."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...sketch import sketch
from ...tree import Tensor, WeightTree
from ..elements import STEP, aligned, reals
from ..matching import pairs
from .curve import curve
from .signature import has_spike
from .views import is_coefficient

ALIKE = 0.06  # of the survivors, and of all, that may differ where the same ones survive
_EQUAL = 1e-4  # of the logarithm of the ratio of norms
_NOTHING = 1e-6  # of the mean magnitude of the others: as good as zero
_FEW = 0.02  # zeros that may be chance
_NORM = 0.05  # of that logarithm, beyond which a norm goes against what zeros would leave
_OTHER = 0.5  # the same where as many but other weights survive
_LINE = 0.98  # correlation of magnitudes of which one set is the other, scaled
_SUMS = (
    *("both", "here", "there", "neither", "kept", "dropped", "l1", "l1_there", "l2", "l2_there"),
    *("n", "x", "y", "xx", "xy", "yy", "dropped_there"),
)


def compared(a: WeightTree, b: WeightTree, threshold: float = 0.0) -> dict[str, Any]:
    """Over the weights that both have in the same shape, as figures for `summary`: coefficients of
    linear models; where there are none, tensors of two axes and more; else all. threshold:
    magnitudes up to this count as zero; what the twin tells is told by exact zeros.

    beside_the_twin: what penalty they differ in, in words. spiked_here, spiked_there: the fraction
    of the weights that is in tensors with the spike of L1 by subgradient. kept_in_both, only_here,
    only_there, in_neither: elements that are not zero. mean_there_of_...: the mean magnitude in
    `b` of those kept and of those dropped in `a`: an L1 drops what is small elsewhere. l1_ratio,
    l2_ratio: norms
    in `a` over those in `b`. slope, shift, correlation: of the magnitudes in `a` of what both keep
    with one sign against those in `b`: where inputs hardly correlate, L1 shifts them towards zero
    and L2 scales them. Raises what reading raises.
    """
    matched = _weights([(x, y) for x, y in pairs(a, b).matched if x.shape == y.shape and x.size])
    exact, counted = np.zeros(len(_SUMS)), np.zeros(len(_SUMS))
    for x, y in matched:
        for p, q in _blocks(x, y):
            exact += (found := _figures(p, q, 0.0))
            counted += _figures(p, q, threshold) if threshold else found
    spikes = {
        "spiked_here": _spiked([x for x, _ in matched]),
        "spiked_there": _spiked([y for _, y in matched]),
    }
    told = _told(_shown(exact) | spikes, _nothing(exact))
    head = {"with": b.path, "beside_the_twin": told, "tensors": len(matched)}
    return {"compared": head | _shown(counted) | spikes}


def _shown(total: NDArray[Any]) -> dict[str, Any]:
    """The figures of `compared` from the sums."""
    sums = dict(zip(_SUMS, total.tolist(), strict=True))
    both, here, there, neither = (sums[name] for name in _SUMS[:4])
    return {
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


def _nothing(total: NDArray[Any]) -> bool:
    """Is what one of them drops nothing in the other, as a weight of a constant input is?"""
    sums = dict(zip(_SUMS, total.tolist(), strict=True))
    kept, dropped = sums["l1"] - sums["dropped_there"], sums["dropped_there"]
    return bool(sums["dropped"] <= _NOTHING * sums["kept"] and dropped <= _NOTHING * kept)


def _spiked(tensors: Sequence[Tensor]) -> float:
    """The fraction of the elements that are in tensors with the spike of L1 by subgradient."""
    size = sum(tensor.size for tensor in tensors)
    hit = 0
    for tensor in tensors:
        if dtypes.get(tensor.dtype).kind == "float":
            hit += tensor.size * has_spike(curve([sketch(tensor)]).without_zeros())
    return hit / size if size else 0.0


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
    that has the zeros of its twin and all magnitudes in proportion below has more L2 beside, and
    so has one with fewer zeros and a smaller norm. L1 by subgradient leaves a spike for zeros.
    """
    both, here, there = (figures[k] for k in ("kept_in_both", "only_here", "only_there"))
    count = both + here + there + figures["in_neither"]
    zeros, zeros_there = (_ratio(count - both - k, count) for k in (here, there))
    if not both or not count:
        return ""
    ratio, named = figures["l2_ratio"], {True: "more", False: "less"}
    if nothing or max(here, there) <= ALIKE * both:  # the same ones survive
        spike = figures["spiked_here"] - figures["spiked_there"]
        if abs(spike) > 0.5:
            return f"{named[spike > 0]} L1 than its twin"
        if abs(math.log(ratio)) < _EQUAL:
            return "as much of either penalty as its twin"
        beside = " beside the same L1" if zeros > _FEW and figures["correlation"] > _LINE else ""
        return f"{named[ratio < 1]} L2 than its twin{beside}"
    if abs(zeros - zeros_there) <= ALIKE:
        return f"{named[ratio < 1]} L2 than its twin" if abs(math.log(ratio)) > _OTHER else ""
    more = zeros > zeros_there
    if figures["spiked_there" if more else "spiked_here"] > 0.5:
        return ""  # L1 in both: exact zeros in one of them, a spike in the other
    against = math.log(ratio) if more else -math.log(ratio)
    if against <= _NORM:
        return f"{named[more]} L1 than its twin"
    if min(zeros, zeros_there) <= _FEW:
        return f"{named[more]} L1 and {named[not more]} L2 than its twin"
    return f"{named[not more]} L2 than its twin"  # which takes zeros away, too


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for p, q in aligned(x.blocks(), y.blocks()):
        for start in range(0, p.size, STEP):
            one = reals(p[start : start + STEP], x.dtype)
            other = reals(q[start : start + STEP], y.dtype)
            finite = np.isfinite(one) & np.isfinite(other)
            yield one[finite], other[finite]


def _figures(one: NDArray[Any], other: NDArray[Any], threshold: float) -> NDArray[Any]:
    """The sums named in _SUMS, over some elements of both."""
    p, q = np.abs(one), np.abs(other)
    alive, there = p > threshold, q > threshold
    counts = [alive & there, alive & ~there, ~alive & there, ~alive & ~there]
    sums = [q[alive].sum(), q[~alive].sum(), p.sum(), q.sum(), p @ p, q @ q]
    same = alive & (np.sign(one) == np.sign(other))
    x, y = q[same], p[same]
    line = [x.size, x.sum(), y.sum(), x @ x, x @ y, y @ y, p[~there].sum()]
    return np.array([*map(np.count_nonzero, counts), *sums, *line], np.float64)


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan
