"""torch's sparse layouts: COO, CSR, CSC, BSR, BSC.

A sparse tensor is shown dense, in its full shape, as long as that is not out of proportion to
what is stored; else it is shown as its stored values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...errors import CorruptError
from ...tree import Array, Data, LazyData, Tensor

Where = dict[str, str]  # path and place of an error
DENSE_FLOOR, DENSE = 64 << 20, 2  # bytes, times the stored bytes


def tensor(
    name: str,
    path: str,
    layout: str,
    parts: Sequence[Tensor],
    size: tuple[int, ...],
    facts: dict[str, Any],
    fields: dict[str, Any],
) -> Tensor:
    """The tensor of `parts`: the indices (one part or two), then the values."""
    where = {"path": path, "place": name}
    *indices, values = parts
    if any(part.dtype not in ("int64", "int32") for part in indices):
        raise CorruptError("its indices are no integers", **where)
    _check_shapes(layout, indices, values, size, where)
    dtype = dtypes.get(values.dtype)
    stored = sum(part.nbytes for part in parts)
    dense = math.prod(size) * dtype.numpy.itemsize
    facts = {**facts, "layout": layout, "stored_values": values.size}
    if dense > max(DENSE_FLOOR, DENSE * stored):
        facts["dense_shape"] = list(size)
        data: Data = values.data
        return Tensor(name, values.shape, dtype.name, data, facts=facts, **fields)
    fill = _coo if layout == "sparse_coo" else _compressed

    def densified() -> Array:
        out = np.zeros(size, dtype.numpy)
        fill(out, layout, [part.read() for part in indices], values.read(), where)
        return out

    return Tensor(name, size, dtype.name, LazyData(densified), facts=facts, **fields)


def _check_shapes(
    layout: str, indices: Sequence[Tensor], values: Tensor, size: tuple[int, ...], where: Where
) -> None:
    if layout == "sparse_coo":
        (index,) = indices
        axes = index.shape[0] if index.ndim == 2 else -1
        fits = 0 <= axes <= len(size) and values.shape == (index.shape[1], *size[axes:])
    else:
        pointers, plain = indices
        batch = size[: pointers.ndim - 1]
        blocks = (0, 2)[layout in ("sparse_bsr", "sparse_bsc")]
        fits = (
            len(size) >= pointers.ndim + 1
            and pointers.ndim == plain.ndim >= 1
            and values.ndim >= plain.ndim + blocks
            and values.shape[: plain.ndim] == plain.shape
            and plain.shape[:-1] == pointers.shape[:-1] == batch
            and pointers.shape[-1] >= 1
        )
    if not fits:
        shapes = " and ".join(str(part.shape) for part in (*indices, values))
        raise CorruptError(f"a {layout} tensor {size} of parts {shapes}", **where)


def _coo(out: Array, layout: str, indices: list[Array], values: Array, where: Where) -> None:
    """Entries of one place are summed, as torch does (they are not coalesced in the file)."""
    (index,) = indices
    for axis, numbers in enumerate(index):
        _check_range(numbers, out.shape[axis], where)
    if len(index):
        with np.errstate(all="ignore"):  # infinities and overflow are the file's own
            np.add.at(out, tuple(index), values)
    else:  # no sparse axis: all values stand for the one dense tensor
        out[...] = values.sum(axis=0)


def _compressed(out: Array, layout: str, indices: list[Array], values: Array, where: Where) -> None:
    """CSR and BSR compress the rows, CSC and BSC the columns; BSR and BSC store blocks."""
    pointers, plain = indices
    batch = pointers.shape[:-1]
    for at in np.ndindex(*batch):
        _one_matrix(out[at], layout, pointers[at], plain[at], values[at], where)


def _one_matrix(
    out: Array, layout: str, pointers: Array, plain: Array, values: Array, where: Where
) -> None:
    blocked = layout in ("sparse_bsr", "sparse_bsc")
    height, width = values.shape[1:3] if blocked else (1, 1)
    if not height or not width or out.shape[0] % height or out.shape[1] % width:
        raise CorruptError(f"blocks of {height} by {width} in {out.shape}", **where)
    grid = (out.shape[0] // height, out.shape[1] // width)
    by_row = layout in ("sparse_csr", "sparse_bsr")
    lines, across = grid if by_row else grid[::-1]
    counts = np.diff(pointers)
    ends = (int(pointers[0]), int(pointers[-1]))
    if counts.size != lines or counts.min(initial=0) < 0 or ends != (0, plain.size):
        raise CorruptError("its index pointers do not rise from 0 to its values", **where)
    _check_range(plain, across, where)
    line = np.repeat(np.arange(lines), counts)
    row, column = (line, plain) if by_row else (plain, line)
    if not blocked:
        out[row, column] = values
        return
    for r, c, block in zip(row, column, values, strict=True):
        out[r * height : (r + 1) * height, c * width : (c + 1) * width] = block


def _check_range(index: Array, length: int, where: Where) -> None:
    if index.size and (index.min() < 0 or index.max() >= length):
        worst = int(index.min()) if index.min() < 0 else int(index.max())
        raise CorruptError(f"index {worst} of an axis of {length}", **where)
