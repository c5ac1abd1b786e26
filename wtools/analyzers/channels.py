"""Figures along one axis of a tensor, from its blocks in C order, whatever its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..layers import Meaning
from ..layouts.axes import parse
from ..tree import Tensor
from .elements import patterns, reals

Array = NDArray[Any]
MOST = 1 << 18  # elements of one slab


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


def slabs(
    tensor: Tensor, shape: tuple[int, int, int], group: int = 1
) -> Iterator[tuple[int, Array]]:
    """All elements as (first, array): array[:, k] are some of index first + k of the middle axis.

    shape: the tensor's, with axes joined: (outer, indexes, inner). Arrays are of such a shape,
    in the tensor's dtype, and of at most MOST elements, if `group` indexes are not more. `first`
    is a multiple of `group`, and so is the number of indexes but at the end of the axis; with a
    group of 1 even the elements of one index may come in parts. Each element comes once.
    """
    outer, count, inner = shape
    take = taker(tensor)
    if not tensor.size:
        return
    if count * inner <= MOST:
        step = MOST // (count * inner)
        for start in range(0, outer, step):
            many = min(step, outer - start)
            yield 0, take(many * count * inner).reshape(many, count, inner)
        return
    many = max(group, MOST // inner // group * group)
    piece = inner if group > 1 else min(inner, MOST)
    for _ in range(outer):
        for first in range(0, count, many):
            here = min(many, count - first)
            for start in range(0, inner, piece):
                part = min(piece, inner - start)
                yield first, take(here * part).reshape(1, here, part)


def taker(tensor: Tensor) -> Callable[[int], Array]:
    """A function that returns the tensor's next elements, as many as it is asked for."""
    blocks = tensor.blocks()
    rest = np.empty(0, np.uint8)

    def take(count: int) -> Array:
        nonlocal rest
        held = []
        while count:
            if not rest.size:
                rest = next(blocks)
            held.append(rest[:count])
            rest = rest[count:]
            count -= held[-1].size
        return held[0] if len(held) == 1 else np.concatenate(held)

    return take


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """`shape` with the axes before and after `axis` joined."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def along(
    tensor: Tensor, axis: int, reduce: Callable[[Array], Array], join: np.ufunc, start: float = 0
) -> Array:
    """One figure for each index along `axis`, float64: `reduce` of its elements, joined by `join`.

    reduce: of a float64 array (outer, indexes, inner) to one figure an index.
    """
    found = np.full(tensor.shape[axis], start, np.float64)
    for first, slab in slabs(tensor, around(tensor.shape, axis)):
        figures = reduce(reals(slab.reshape(-1), tensor.dtype).reshape(slab.shape))
        here = found[first : first + slab.shape[1]]
        join(here, figures, out=here)
    return found


# The pattern of infinity: magnitudes of IEEE floats are in the order of their patterns.
_INFINITY = {"float64": 0x7FF << 52, "float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}


def channel_max(tensor: Tensor, axis: int) -> Array:
    """The largest finite magnitude of each index along `axis`."""
    if tensor.dtype not in _INFINITY:
        return along(tensor, axis, _largest, np.maximum)
    infinity = _INFINITY[tensor.dtype]
    numpy = dtypes.get(tensor.dtype).numpy
    found = np.zeros(tensor.shape[axis], f"u{numpy.itemsize}")
    for first, slab in slabs(tensor, around(tensor.shape, axis)):
        bits = patterns(slab) & found.dtype.type((1 << (numpy.itemsize * 8 - 1)) - 1)
        most = _most(bits)
        if most.size and most.max() >= infinity:
            bits[bits >= infinity] = 0
            most = _most(bits)
        here = found[first : first + slab.shape[1]]
        np.maximum(here, most, out=here)
    return reals(found.view(numpy), tensor.dtype)


def _most(bits: Array) -> Array:
    """The largest of each index of the middle axis; one axis at a time is what NumPy is fast at."""
    most: Array = bits.max(axis=0).max(axis=-1)
    return most


def _largest(x: Array) -> Array:
    magnitude = np.abs(x)
    largest: Array = magnitude.max(axis=(0, 2))
    if np.isfinite(largest).all():
        return largest
    finite: Array = np.where(np.isfinite(magnitude), magnitude, 0).max(axis=(0, 2))
    return finite
