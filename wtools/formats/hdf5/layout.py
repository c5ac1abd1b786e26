"""Where a dataset's elements lie: layout, filter pipeline, external storage (IV.A.2.h, i, l)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .cursor import UNDEFINED, Cursor, Image
from .objects import EXTERNAL, FILL, FILTERS, LAYOUT, Message

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
_FILTERS = {4: "szip", 5: "nbit", 6: "scale-offset", 32000: "lzf", 32001: "blosc", 32015: "zstd"}

Index = Literal["btree1", "single", "implicit", "fixed", "extensible", "btree2"]
_INDEXES: tuple[Index, ...] = ("single", "implicit", "fixed", "extensible", "btree2")


@dataclass(frozen=True)
class Contiguous:
    """Elements in one run (compact ones, too: they lie in the header). `address`: where."""

    address: int
    nbytes: int


@dataclass(frozen=True)
class Chunked:
    """Elements in equal chunks, each filtered on its own; `address` is that of the index."""

    shape: tuple[int, ...]
    index: Index
    address: int
    filters: tuple[int, ...]
    single_nbytes: int | None = None  # stored size of a filtered single chunk
    single_mask: int = 0


def layout(image: Image, messages: list[Message], place: str) -> Contiguous | Chunked:
    """The layout of the dataset with these header messages.

    Raises UnsafeError for data in other files, FormatError for filters not known here.
    """
    by_kind = {m.kind: m for m in messages}
    if EXTERNAL in by_kind:
        raise image.unsafe("keeps its elements in another file (external storage)", place)
    if LAYOUT not in by_kind:
        raise image.corrupt("a dataset without a layout", place)
    c = by_kind[LAYOUT].cursor(image)
    version = c.u8()
    if version not in (3, 4):
        raise image.unsupported(f"data layout version {version}", place)
    kind = c.u8()
    if kind == 0:
        nbytes = c.u16()
        start = c.address + c.at
        c.skip(nbytes)
        return Contiguous(start, nbytes)
    if kind == 1:
        return Contiguous(c.u64(), c.u64())
    if kind == 3:
        raise image.unsafe("is a virtual dataset: its elements are in other files", place)
    if kind != 2:
        raise image.corrupt(f"layout class {kind}", place)
    filters = _filters(image, by_kind[FILTERS].cursor(image), place) if FILTERS in by_kind else ()
    return _chunked_v3(c, filters) if version == 3 else _chunked_v4(c, filters)


def _chunked_v3(c: Cursor, filters: tuple[int, ...]) -> Chunked:
    rank = c.u8() - 1
    address = c.u64()
    return Chunked(tuple(c.u32() for _ in range(max(0, rank))), "btree1", address, filters)


def _chunked_v4(c: Cursor, filters: tuple[int, ...]) -> Chunked:
    flags, rank, width = c.u8(), c.u8() - 1, c.u8()
    shape = tuple(c.uint(width) for _ in range(max(0, rank)))
    c.skip(width)  # the last dimension is the element's size
    number = c.u8()
    if not 1 <= number <= 5:
        raise c.image.corrupt(f"chunk index {number}", f"byte {c.address}")
    index = _INDEXES[number - 1]
    nbytes, mask = None, 0
    if index == "single" and flags & 2:
        nbytes, mask = c.u64(), c.u32()
    c.skip({"single": 0, "implicit": 0, "fixed": 1, "extensible": 5, "btree2": 6}[index])
    return Chunked(shape, index, c.u64(), filters, nbytes, mask)


def _filters(image: Image, c: Cursor, place: str) -> tuple[int, ...]:
    version, count = c.u8(), c.u8()
    if version not in (1, 2) or count > 32:
        raise image.corrupt(f"filter pipeline of version {version}", place)
    c.skip(6 if version == 1 else 0)
    found = []
    for _ in range(count):
        number = c.u16()
        named = version == 1 or number >= 256
        length = c.u16() if named else 0
        c.skip(2)
        values = c.u16()
        c.skip(length + (-length % 8 if version == 1 else 0) + 4 * values)
        c.skip(4 if version == 1 and values % 2 else 0)
        if number not in (DEFLATE, SHUFFLE, FLETCHER32):
            raise image.unsupported(f"the filter {_FILTERS.get(number, number)}", place)
        found.append(number)
    return tuple(found)


def fill_value(image: Image, messages: list[Message], size: int) -> bytes:
    """The bytes of the element that stands where none was written (IV.A.2.f)."""
    for message in messages:
        if message.kind != FILL or message.shared:
            continue
        c = message.cursor(image)
        version = c.u8()
        if version in (1, 2):
            c.skip(2)
            defined = c.u8()
        else:
            defined = c.u8() >> 5 & 1
        if defined and c.left >= 4 and c.u32() == size:
            return c.take(size)
    return bytes(size)


def undefined(address: int) -> bool:
    return address == UNDEFINED


def chunk_count(shape: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    return math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
