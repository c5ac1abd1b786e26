"""How far two arrays are apart, whatever the order of their axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..tree import Array


@dataclass(frozen=True)
class Difference:
    """max_abs: the largest |a - b|; max_rel: the largest |a - b| / |a| where |a| is above the
    absolute tolerance; scale: the largest |a|, of integers at least 1; equal: every |a - b| <=
    atol + rtol * |a|.

    NaN and infinities must stand in the same places; else max_abs is infinite.
    """

    max_abs: float
    max_rel: float
    scale: float
    equal: bool


NONE = Difference(float("inf"), float("inf"), 0.0, False)


def difference(a: Array, b: Array, *, atol: float, rtol: float) -> Difference:
    """B against A, of the same shape. Where the shapes differ, nothing is equal."""
    if a.shape != b.shape:
        return NONE
    if "U" in (a.dtype.kind, b.dtype.kind):
        return _labels(a, b)
    least = 0.0 if a.dtype.kind == "f" else 1.0
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    same = finite | (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        gap = np.where(finite, np.abs(a - b), np.where(same, 0.0, np.inf))
        size = np.where(np.isfinite(a), np.abs(a), 0.0)
    counted = size > atol
    relative = gap[counted] / size[counted]
    return Difference(
        float(gap.max(initial=0.0)),
        float(relative.max(initial=0.0)),
        float(size.max(initial=least)),
        bool(np.all(gap <= atol + rtol * size)),
    )


def _labels(a: Array, b: Array) -> Difference:
    """Of texts: equal, or 1 apart."""
    gap = (a.astype(str) != b.astype(str)).astype(np.float64)
    worst = float(gap.max(initial=0.0))
    return Difference(worst, worst, 1.0, not worst)


def arrangements(b: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    """`b` in the ways in which it may have that shape: as it is, its channels moved to the end or
    to the front, without axes of one element, the last step of a series."""
    candidates = [b]
    if b.ndim > 2:
        candidates += [np.moveaxis(b, 1, -1), np.moveaxis(b, -1, 1)]
    if b.ndim == 3 and len(shape) == 2:
        candidates += [b[:, -1], b[:, :, -1]]
    if b.ndim == 4 and b.shape[0] != shape[0]:  # onnx: (time, directions, batch, units)
        candidates.append(np.moveaxis(b, 2, 0).reshape(b.shape[2], b.shape[0], -1))
    for one in candidates:
        if one.shape == shape:
            yield one
        elif one.size == np.prod(shape, dtype=int) and _squeezed(one.shape) == _squeezed(shape):
            yield one.reshape(shape)


def _squeezed(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]


def nearest(a: Array, candidates: list[Array]) -> tuple[float, Array | None]:
    """(max |a - b|, b) for the arrangement of any candidate that is nearest to `a`; (inf, None)
    where none has its shape."""
    best: tuple[float, Array | None] = (float("inf"), None)
    for candidate in candidates:
        for b in arrangements(candidate, a.shape):
            gap = gap_of(a, b)
            if best[1] is None or gap < best[0]:
                best = gap, b
    return best


def gap_of(a: Array, b: Array) -> float:
    """max |a - b|; inf where NaN stands on one side, or texts differ."""
    if "U" in (np.asarray(a).dtype.kind, np.asarray(b).dtype.kind):
        return 0.0 if bool(np.all(np.asarray(a) == np.asarray(b))) else float("inf")
    with np.errstate(invalid="ignore", over="ignore"):
        gap = float(np.max(np.abs(np.asarray(a, np.float64) - b), initial=0.0))
    return gap if np.isfinite(gap) else float("inf")
