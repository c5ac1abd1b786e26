"""Figures along one axis of a tensor, from its blocks in C order, whatever its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import Meaning
from ..layouts.axes import parse
from ..tree import Tensor
from .elements import reals

Array = NDArray[Any]
_MOST = 1 << 18  # elements of one slab


def axes_of(tensor: Tensor, meaning: Meaning) -> tuple[tuple[str, ...], ...] | None:
    """The letters of each axis (see `wtools.layouts`), None where they are not known."""
    if not meaning.axes or "*" in meaning.axes:
        return None
    axes = parse(meaning.axes)
    return axes if len(axes) == tensor.ndim else None


def channel_axis(tensor: Tensor, meaning: Meaning, separator: str) -> int | None:
    """The axis of a kernel's output channels; None for what has none (vectors, embeddings).

    Where the layer is unknown, that of its framework's dense layers: first in torch, where names
    are dotted, else last.
    """
    if tensor.ndim < 2:
        return None
    axes = axes_of(tensor, meaning)
    if axes is None:
        known = meaning.kind not in ("unknown", "buffer", "")
        return None if known else 0 if separator == "." else tensor.ndim - 1
    for letters in (("o",), ("g", "u"), ("u",), ("i", "m")):
        if letters in axes:
            return axes.index(letters)
    return None


def slabs(tensor: Tensor, axis: int) -> Iterator[tuple[int, Array]]:
    """All elements as (first, array): array[:, k] are some of index first + k along `axis`.

    Arrays are of shape (outer, indexes, inner), in the tensor's dtype, of at most some 2 MB as
    float64. Each element comes once; an index may come in several arrays.
    """
    count, inner = tensor.shape[axis], math.prod(tensor.shape[axis + 1 :])
    if not tensor.size:
        return
    if count * inner <= _MOST:
        for block in _aligned(tensor, count * inner):
            yield 0, block.reshape(-1, count, inner)
        return
    position = 0
    for block in _aligned(tensor, inner):
        runs = block.reshape(-1, min(inner, block.size))
        first = position // inner % count
        position += block.size
        while len(runs):  # the last indexes of one outer place and the first of the next
            here, runs = runs[: count - first], runs[count - first :]
            yield first, here[np.newaxis]
            first = 0


def _aligned(tensor: Tensor, unit: int) -> Iterator[Array]:
    """Flat blocks that end where units of that many elements do; a unit that is too long is cut."""
    most = _MOST // unit * unit or _MOST
    left = unit  # elements to the end of the unit, where that is too long for one block
    held: list[Array] = []
    size = 0
    for block in tensor.blocks():
        while block.size:
            want = most if unit <= _MOST else min(_MOST, left)
            held.append(block[: want - size])
            block = block[want - size :]
            size += held[-1].size
            if size == want:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                left = left - size or unit
                held, size = [], 0
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def along(
    tensor: Tensor, axis: int, reduce: Callable[[Array], Array], join: np.ufunc, start: float = 0
) -> Array:
    """One figure for each index along `axis`, float64: `reduce` of its elements, joined by `join`.

    reduce: of a float64 array (outer, indexes, inner) to one figure an index.
    """
    found = np.full(tensor.shape[axis], start, np.float64)
    for first, slab in slabs(tensor, axis):
        figures = reduce(reals(slab.reshape(-1), tensor.dtype).reshape(slab.shape))
        here = found[first : first + slab.shape[1]]
        join(here, figures, out=here)
    return found


def channel_max(tensor: Tensor, axis: int) -> Array:
    """The largest finite magnitude of each index along `axis`."""
    return along(tensor, axis, _largest, np.maximum)


def _largest(x: Array) -> Array:
    magnitude = np.abs(x)
    largest: Array = magnitude.max(axis=(0, 2))
    if np.isfinite(largest).all():
        return largest
    finite: Array = np.where(np.isfinite(magnitude), magnitude, 0).max(axis=(0, 2))
    return finite
