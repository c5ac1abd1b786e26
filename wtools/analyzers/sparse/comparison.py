"""The same model trained in two ways: which weights survive in which."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tree import Tensor, WeightTree
from ..elements import STEP, aligned, reals
from ..matching import pairs


def compared(a: WeightTree, b: WeightTree) -> dict[str, Any]:
    """Over the tensors of real numbers that both have in the same shape, as figures for `summary`.

    kept_in_both, only_here, only_there, in_neither: elements that are not zero. mean_there_of_...:
    the mean magnitude in `b` of those kept and of those dropped in `a`: an L1 drops what is small
    elsewhere. l1_ratio, l2_ratio: norms in `a` over those in `b`. Raises what reading raises.
    """
    matched = [(x, y) for x, y in pairs(a, b).matched if x.shape == y.shape and x.size]
    total = np.zeros(10)
    for x, y in matched:
        for p, q in _blocks(x, y):
            total += _figures(p, q)
    both, here, there, neither, kept, dropped, l1, l1_there, l2, l2_there = total.tolist()
    return {
        "compared": {
            "with": b.path,
            "tensors": len(matched),
            "kept_in_both": int(both),
            "only_here": int(here),
            "only_there": int(there),
            "in_neither": int(neither),
            "mean_there_of_kept": _ratio(kept, both + here),
            "mean_there_of_dropped": _ratio(dropped, there + neither),
            "l1_ratio": _ratio(l1, l1_there),
            "l2_ratio": math.sqrt(_ratio(l2, l2_there)),
        }
    }


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for p, q in aligned(x.blocks(), y.blocks()):
        for start in range(0, p.size, STEP):
            one = np.abs(reals(p[start : start + STEP], x.dtype))
            other = np.abs(reals(q[start : start + STEP], y.dtype))
            finite = np.isfinite(one) & np.isfinite(other)
            yield one[finite], other[finite]


def _figures(p: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    alive, there = p > 0, q > 0
    counts = [alive & there, alive & ~there, ~alive & there, ~alive & ~there]
    sums = [q[alive].sum(), q[~alive].sum(), p.sum(), q.sum(), p @ p, q @ q]
    return np.array([*map(np.count_nonzero, counts), *sums], np.float64)


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan
