"""Tensors whose elements do not lie in C order: transposed, sliced, expanded.

Elements are gathered box by box: a box of the tensor is read as one range of the file where
its elements lie densely enough, else it is cut along the axis with the longest step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...dtypes import DType
from ...tree import BLOCK, Array
from .places import Place

WORK = 24 << 20  # bytes gathered at a time
_NEAR = 16 << 10  # a range no longer than this is read whole, however sparse
_DENSE = 4  # and so is one of at most this many bytes for each byte wanted


@dataclass(frozen=True, eq=False)
class StridedData:
    """Elements of `shape`, `strides` (in elements) apart, from `start` bytes into `place`.

    Of the packed types shape and strides count bytes, as torch counts them.
    """

    place: Place
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType

    def read(self) -> Array:
        """A view of the mapped file where its bytes are numpy's, else gathered."""
        plain = not self.dtype.packed and self.dtype.name != "complex32"
        if not plain or (self.place.swapped and self.dtype.itemsize > 1):
            array = np.concatenate(list(self.blocks(WORK)))
            return array.reshape((*self.shape[:-1], -1) if self.dtype.packed else self.shape)
        raw = self.place.view(self.start, _span(self.shape, self.strides) * self._step)
        strides = [stride * self._step for stride in self.strides]
        return np.ndarray(self.shape, self.dtype.numpy, raw, strides=strides)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        # Gathered with the longest steps outermost, as the bytes lie, and then turned around.
        axes = sorted(range(len(self.shape)), key=lambda i: -self.strides[i])
        back = [axes.index(i) for i in range(len(axes))] + [len(axes)]
        strides = tuple(self.strides[i] for i in axes)
        for box, start in _boxes(self.shape, self.strides, max(1, WORK // self._step)):
            units = np.empty((*(box[i] for i in axes), self._halves), self._unit)
            self._gather(units, start, strides)
            flat = np.ascontiguousarray(units.transpose(back)).reshape(-1).view(np.uint8)
            block = self.dtype.unpack(flat, flat.size * 8 // self.dtype.bits)
            step = max(1, nbytes // block.dtype.itemsize)
            for at in range(0, block.size, step):
                yield block[at : at + step]

    @property
    def _step(self) -> int:
        """Bytes from one element to the next."""
        return max(1, self.dtype.itemsize)

    @property
    def _halves(self) -> int:
        return 2 if self.dtype.kind == "complex" else 1

    @property
    def _unit(self) -> np.dtype[Any]:
        """What is swapped as a whole: an element, or half of a complex one."""
        return np.dtype(f"<u{self._step // self._halves}")

    def _gather(self, out: NDArray[Any], start: int, strides: tuple[int, ...]) -> None:
        """Fill `out` with the box that begins at element `start`; its strides fall."""
        count = out.shape[0]
        span = _span(out.shape[:-1], strides) * self._step
        if span <= max(_NEAR, _DENSE * out.nbytes):
            raw = self.place.read(self.start + start * self._step, span)
            order = self._unit.newbyteorder(">" if self.place.swapped else "<")
            steps = [stride * self._step for stride in strides] + [order.itemsize]
            out[...] = np.ndarray(out.shape, order, raw, strides=steps)
            return
        inner = _span(out.shape[1:-1], strides[1:])
        near = max(0, _NEAR // self._step - inner)
        chunk = near // strides[0] + 1 if strides[0] else count
        for at in range(0, count, chunk):
            part, first = out[at : at + chunk], start + at * strides[0]
            if chunk == 1:
                self._gather(part[0], first, strides[1:])
            else:
                self._gather(part, first, strides)


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last one of a box."""
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def _boxes(
    shape: tuple[int, ...], strides: tuple[int, ...], most: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Boxes of at most `most` elements that follow each other in C order: (shape, start)."""
    if math.prod(shape) <= most:
        yield shape, 0
        return
    inner = math.prod(shape[1:])
    if inner <= most:
        rows = most // inner
        for row in range(0, shape[0], rows):
            yield (min(rows, shape[0] - row), *shape[1:]), row * strides[0]
        return
    for row in range(shape[0]):
        for below, start in _boxes(shape[1:], strides[1:], most):
            yield (1, *below), row * strides[0] + start
