"""Chunked elements: where each chunk lies, and reading them with bounded memory.

Each chunk is read by offset and unfiltered here: deflate by zlib, shuffle and the Fletcher
checksum in numpy. No HDF5 library is involved and no filter plugin can be loaded.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...dtypes import DType
from ...files import elements
from ...tree import BLOCK, Array, split
from .cursor import UNDEFINED, Image
from .groups import btree_nodes
from .layout import DEFLATE, FLETCHER32, SHUFFLE, Chunked, chunk_count, undefined

RATIO = 200  # as for zip members: weights stay below 20, deflate reaches 1,032
FLOOR = 16 << 20  # elements of no more bytes than this are taken at any ratio
SLAB = 32 << 20  # bytes of elements assembled at a time

Table = NDArray[np.void]
_ENTRY = np.dtype([("index", "<i8"), ("address", "<u8"), ("nbytes", "<u8"), ("mask", "<u4")])


def chunk_table(
    image: Image, layout: Chunked, shape: tuple[int, ...], itemsize: int, place: str
) -> Table:
    """One entry for each stored chunk, sorted by `index`, its number in C order.

    Raises CorruptError for chunks that lie outside the file or the shape, twice at one place, or
    over one another in sum; UnsafeError where they are to unpack to more than weights ever do.
    """
    if len(layout.shape) != len(shape) or not all(layout.shape):
        raise image.corrupt(f"chunks of shape {layout.shape} for {shape}", place)
    nbytes = math.prod(layout.shape) * itemsize
    total = chunk_count(shape, layout.shape)
    if undefined(layout.address):
        table = np.empty(0, _ENTRY)
    elif layout.index == "btree1":
        table = _from_btree(image, layout, shape, place)
    elif layout.index == "single":
        size = nbytes if layout.single_nbytes is None else layout.single_nbytes
        table = np.array([(0, layout.address, size, layout.single_mask)], _ENTRY)
    elif layout.index == "fixed":
        table = _from_fixed_array(image, layout, total, nbytes, place)
    elif layout.index == "implicit":
        image.check(layout.address, total * nbytes, place)
        image.spend(total * 32)
        table = np.empty(total, _ENTRY)
        table["index"] = np.arange(total)
        table["address"] = layout.address + np.arange(total, dtype=np.uint64) * np.uint64(nbytes)
        table["nbytes"], table["mask"] = nbytes, 0
    else:
        raise image.unsupported(f"a chunk index of the kind {layout.index}", place)
    _check(image, layout, table, total, nbytes, place)
    _check_ratio(image, table, math.prod(shape) * itemsize, nbytes, place)
    return table


def _from_btree(image: Image, layout: Chunked, shape: tuple[int, ...], place: str) -> Table:
    """Entries of a version 1 B-tree: key (size, filter mask, offsets, 0), child address."""
    rank = len(shape)
    row = np.dtype([("nbytes", "<u4"), ("mask", "<u4"), ("at", "<u8", (rank + 1,)), ("to", "<u8")])
    per_axis = [-(-n // c) for n, c in zip(shape, layout.shape, strict=True)]
    found = []
    for body, children in btree_nodes(image, layout.address, 1, 8 + 8 * (rank + 1)):
        rows = np.frombuffer(body, row, len(children))
        offsets = rows["at"][:, :rank].astype(object if max(per_axis) >> 62 else np.int64)
        number = np.zeros(len(children), np.int64)
        for axis in range(rank):
            place_in = offsets[:, axis] // layout.shape[axis]
            aligned = place_in * layout.shape[axis] == offsets[:, axis]
            if not (aligned & (place_in >= 0) & (place_in < per_axis[axis])).all():
                raise image.corrupt("a chunk outside the shape", place)
            number = number * per_axis[axis] + place_in.astype(np.int64)
        entries = np.empty(len(children), _ENTRY)
        entries["index"], entries["address"] = number, rows["to"]
        entries["nbytes"], entries["mask"] = rows["nbytes"], rows["mask"]
        found.append(entries)
    table = np.concatenate(found) if found else np.empty(0, _ENTRY)
    ordered: Table = table[np.argsort(table["index"], kind="stable")]
    return ordered


def _from_fixed_array(image: Image, layout: Chunked, total: int, nbytes: int, place: str) -> Table:
    """Entries of a fixed array: (address, size, filter mask) of chunk 0, 1, ... (VII.C)."""
    c = image.cursor(layout.address, 28)
    c.expect(b"FAHD\0")
    filtered, width, page_bits, count, block = c.u8(), c.u8(), c.u8(), c.u64(), c.u64()
    widths = range(13, 21) if filtered else (8,)
    if filtered > 1 or count < total or width not in widths:
        raise image.corrupt("a fixed array that does not fit the shape", place)
    if undefined(block):
        return np.empty(0, _ENTRY)
    per_page = 1 << min(page_bits, 62)
    pages = -(-count // per_page) if count > per_page else 0
    head = 14 + ((pages + 7) // 8 + 4 if pages else 0)
    raw = image.read(block, head + count * width + 4 * max(1, pages))
    if raw[:4] != b"FADB":
        raise image.corrupt("no fixed array block here", f"byte {block}")
    body = raw[head:]
    if pages:  # each page is followed by a checksum of 4 bytes
        step = per_page * width
        body = b"".join(body[i * (step + 4) : i * (step + 4) + step] for i in range(pages))
    rows = np.frombuffer(body, np.uint8, total * width).reshape(total, width)
    table = np.empty(total, _ENTRY)
    table["index"] = np.arange(total)
    table["address"] = rows[:, :8].copy().view("<u8")[:, 0]
    table["nbytes"], table["mask"] = nbytes, 0
    if filtered:
        sizes = np.zeros((total, 8), np.uint8)
        sizes[:, : width - 12] = rows[:, 8 : width - 4]
        table["nbytes"] = sizes.view("<u8")[:, 0]
        table["mask"] = rows[:, width - 4 :].copy().view("<u4")[:, 0]
    stored: Table = table[table["address"] != UNDEFINED]
    return stored


def _check(
    image: Image, layout: Chunked, table: Table, total: int, nbytes: int, place: str
) -> None:
    index, address, stored = table["index"], table["address"], table["nbytes"]
    if len(table) > total or (np.diff(index) <= 0).any():
        raise image.corrupt("two chunks at one place", place)
    end = address.astype(np.float64) + stored  # exact below 2^53, far above any file
    if (end > image.size).any() or int(stored.sum()) > image.size:
        raise image.corrupt("a chunk outside the file", place)
    if not layout.filters and (stored != nbytes).any():
        raise image.corrupt(f"a chunk that does not have {nbytes} bytes", place)


def _check_ratio(image: Image, table: Table, claimed: int, nbytes: int, place: str) -> None:
    stored = int(table["nbytes"].sum())
    least = int(table["nbytes"].min()) if len(table) else 0
    if claimed > max(FLOOR, RATIO * stored):
        raise image.unsafe(f"claims {claimed} bytes, {stored} are stored", place)
    if len(table) and nbytes > max(FLOOR, RATIO * least):
        raise image.unsafe(f"a chunk of {least} bytes claims to unpack to {nbytes}", place)


@dataclass(frozen=True, eq=False)
class ChunkedData:
    """The elements of a chunked dataset, unpacked chunk by chunk.

    `blocks` holds one slab of whole chunks along the first axis at a time, so that each chunk is
    unpacked once; only where such a slab would exceed SLAB bytes are chunks unpacked again.
    """

    image: Image
    place: str
    layout: Chunked
    table: Table
    shape: tuple[int, ...]
    dtype: DType
    swapped: bool
    fill: bytes

    def read(self) -> Array:
        return self._region((0,) * len(self.shape), self.shape)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        for start, stop in _slabs(self.shape, self.layout.shape, self.dtype.itemsize, nbytes):
            yield from split(self._region(start, stop), nbytes)

    def _region(self, start: tuple[int, ...], stop: tuple[int, ...]) -> Array:
        """The elements with start <= index < stop."""
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        chunk = self.layout.shape
        empty = elements(np.frombuffer(self.fill, np.uint8), 1, self.dtype, self.swapped)
        out = np.empty(shape, self.dtype.numpy)
        if len(self.table) < chunk_count(self.shape, chunk):
            out[...] = empty[0]
        for at, entry in self._chunks(start, stop):
            origin = [i * c for i, c in zip(at, chunk, strict=True)]
            low = [max(a, o) for a, o in zip(start, origin, strict=True)]
            high = [min(b, o + c) for b, o, c in zip(stop, origin, chunk, strict=True)]
            to = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            of = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
            out[to] = self._unpacked(entry)[of]
        return out

    def _chunks(
        self, start: tuple[int, ...], stop: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], np.void]]:
        """(grid position, entry) of the stored chunks that touch the region."""
        chunk = self.layout.shape
        grid = [-(-n // c) for n, c in zip(self.shape, chunk, strict=True)]
        ranges = [range(a // c, -(-b // c)) for a, b, c in zip(start, stop, chunk, strict=True)]
        index = self.table["index"]
        if math.prod(map(len, ranges)) > len(index):  # few are stored: look at those
            for entry in self.table:
                at = tuple(int(i) for i in np.unravel_index(int(entry["index"]), grid))
                if all(i in r for i, r in zip(at, ranges, strict=True)):
                    yield at, entry
            return
        for at in itertools.product(*ranges):
            number = 0
            for i, n in zip(at, grid, strict=True):
                number = number * n + i
            found = int(np.searchsorted(index, number))
            if found < len(index) and index[found] == number:
                yield at, self.table[found]

    def _unpacked(self, entry: np.void) -> Array:
        count = math.prod(self.layout.shape)
        width = self.dtype.itemsize
        address, mask = int(entry["address"]), int(entry["mask"])
        place = f"chunk at byte {address} of {self.place}"
        image = self.image
        raw: Any = image.source.pread(image.start + address, int(entry["nbytes"]))
        for i in reversed(range(len(self.layout.filters))):
            if mask >> i & 1:
                continue
            kind = self.layout.filters[i]
            if kind == FLETCHER32:
                if len(raw) < 4 or not _fletcher_holds(bytes(raw[:-4]), bytes(raw[-4:])):
                    raise image.corrupt("the checksum does not fit: data are damaged", place)
                raw = raw[:-4]
            elif kind == DEFLATE:
                raw = _inflated(image, raw, count * width + 4, place)
            elif kind == SHUFFLE and width > 1 and len(raw) >= width:
                raw = _unshuffled(raw, width)
        if len(raw) != count * width:
            raise image.corrupt(f"{len(raw)} bytes where {count * width} are due", place)
        flat = elements(np.frombuffer(raw, np.uint8), count, self.dtype, self.swapped)
        return flat.reshape(self.layout.shape)


def _slabs(
    shape: tuple[int, ...], chunk: tuple[int, ...], itemsize: int, nbytes: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Regions (start, stop) that follow one another in C order and cover `shape`."""
    if 0 in shape:
        return
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) * itemsize > SLAB:
        axis += 1
    row = math.prod(shape[axis + 1 :]) * itemsize
    step = chunk[axis]
    if step * row > SLAB:
        step = max(1, SLAB // row)
    else:
        step *= max(1, min(nbytes, SLAB) // (step * row))
    for lead in _indices(shape[:axis]):
        for first in range(0, shape[axis], step):
            last = min(first + step, shape[axis])
            rest = shape[axis + 1 :]
            yield (*lead, first, *[0] * len(rest)), (*[i + 1 for i in lead], last, *rest)


def _indices(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All indices in C order, none kept (itertools.product and np.ndindex list each axis)."""
    for number in range(math.prod(shape)):
        index = []
        for n in reversed(shape):
            number, i = divmod(number, n)
            index.append(i)
        yield tuple(reversed(index))


def _inflated(image: Image, raw: bytes, most: int, place: str) -> bytes:
    inflate = zlib.decompressobj()
    try:
        out = inflate.decompress(raw, most + 1)
    except zlib.error as error:
        raise image.corrupt(f"cannot be inflated: {error}", place) from None
    if not inflate.eof or len(out) > most:
        raise image.corrupt(f"does not unpack to the {most - 4} bytes due", place)
    return out


def _unshuffled(raw: bytes, width: int) -> bytes | NDArray[np.uint8]:
    """Bytes k of all elements, k = 0, 1, ..., back to element after element."""
    count = len(raw) // width
    planes = np.frombuffer(raw, np.uint8, count * width).reshape(width, count)
    out = np.empty((count, width), np.uint8)
    for k in range(width):  # three times as fast as the transpose as a whole
        out[:, k] = planes[k]
    rest = raw[count * width :]
    return out.tobytes() + bytes(rest) if len(rest) else out.reshape(-1)


def _fletcher_holds(data: bytes, stored: bytes) -> bool:
    """HDF5's Fletcher-32: big-endian 16-bit words, sums modulo 65,535 (H5checksum.c)."""
    if len(data) % 2:
        data += b"\0"
    words = np.frombuffer(data, ">u2").astype(np.uint64)
    first = second = 0
    for start in range(0, len(words), 1 << 16):
        part = words[start : start + (1 << 16)]
        weights = np.arange(len(part), 0, -1, dtype=np.uint64)
        second = (second + len(part) * first + int((part * weights).sum())) % 65535
        first = (first + int(part.sum())) % 65535
    low, high = int.from_bytes(stored[:2], "little"), int.from_bytes(stored[2:], "little")
    return low % 65535 == first and high % 65535 == second
