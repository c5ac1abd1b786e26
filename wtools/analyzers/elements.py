"""Elements of any dtype as float64, and parts of tensors, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..sketch import bins
from ..tree import BLOCK, Tensor

Array = NDArray[Any]

# Elements worked on at once: their float64 copies stay in the first caches, and BLAS, which would
# wake its own threads for more than 10,000, stays on this one.
STEP = 8192


def reals(block: Array, dtype: str) -> Array:
    """`block` as float64 (complex128 for complex); exact but for integers above 2**53."""
    if block.dtype.kind == "c":
        return block.astype(np.complex128)
    if dtype == "bfloat16":
        return (block.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    kind = dtypes.get(dtype)
    if kind.kind == "float" and kind.bits <= 8:
        values: Array = bins.of(dtype).values[block.view(np.uint8) & ((1 << kind.bits) - 1)]
        return values
    return block.astype(np.float64)


def patterns(block: Array) -> Array:
    """The bits of each element as an unsigned integer; two a row for elements of 16 bytes."""
    width = block.dtype.itemsize
    if width == 16:
        return block.view(np.uint64).reshape(-1, 2)
    return block.view(f"u{width}")


def part(tensor: Tensor, start: int, stop: int, nbytes: int = BLOCK) -> Iterator[Array]:
    """Elements [start, stop) of `tensor` in C order, as flat blocks of about `nbytes` bytes.

    `start` and `stop` are multiples of 8 or the tensor's ends. Where the bytes lie plainly in a
    file only these are read.
    """
    raw, dtype = tensor.raw, dtypes.get(tensor.dtype)
    if raw is None:
        yield from _cut(tensor.blocks(nbytes), start, stop)
        return
    step = max(1, nbytes * 8 // dtype.bits // 8) * 8
    for first in range(start, stop, step):
        count = min(step, stop - first)
        yield dtype.unpack(raw_bytes(tensor, first, first + count), count)


def raw_bytes(
    tensor: Tensor, start: int, stop: int, buffer: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The file's bytes of elements [start, stop) of a tensor that has `raw`.

    They are the beginning of `buffer` if one is given that is long enough: memory used again
    costs the system no new pages.
    """
    raw, dtype = tensor.raw, dtypes.get(tensor.dtype)
    assert raw is not None
    nbytes = dtype.nbytes(stop - start)
    found = np.empty(nbytes, np.uint8) if buffer is None else buffer[:nbytes]
    raw.readinto(found, dtype.nbytes(start))
    return found


def _cut(blocks: Iterator[Array], start: int, stop: int) -> Iterator[Array]:
    position = 0
    for block in blocks:
        kept = block[max(0, start - position) : max(0, stop - position)]
        if kept.size:
            yield kept
        position += block.size
        if position >= stop:
            return


def aligned(a: Iterator[Array], b: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Two streams of the same elements, however each is cut into blocks."""
    left = right = np.empty(0)
    while True:
        left = next(a, left) if not left.size else left
        right = next(b, right) if not right.size else right
        here = min(left.size, right.size)
        if not here:
            return
        yield left[:here], right[:here]
        left, right = left[here:], right[here:]
