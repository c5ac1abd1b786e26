"""Repeated numbers of a protobuf message, packed or not, decoded block by block with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptError
from ...files import Source

MOST_BYTES = 10  # of one varint
_CHUNK = 1 << 18  # file bytes decoded at a time
_WIDTH = {0: 0, 1: 8, 5: 4}  # wire type -> bytes of a fixed-width number

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Piece:
    """Numbers in the file bytes [start, end): packed, or each behind its own one-byte tag.

    wire: the numbers' wire type (0 varint, 1 eight bytes, 5 four bytes).
    """

    wire: int
    start: int
    end: int
    tagged: bool = False

    @property
    def nbytes(self) -> int:
        return self.end - self.start

    @property
    def width(self) -> int:
        """Bytes of one number in the file, its tag included; 0 where they differ."""
        width = _WIDTH[self.wire]
        return width + self.tagged if width else 0

    def bounds(self) -> tuple[int, int]:
        """The fewest and the most numbers that these bytes can be."""
        if self.width:
            return self.nbytes // self.width, self.nbytes // self.width
        return -(-self.nbytes // (MOST_BYTES + self.tagged)), self.nbytes // (1 + self.tagged)


def numbers(source: Source, pieces: Sequence[Piece]) -> Iterator[NDArray[Any]]:
    """The numbers of all pieces in order, in blocks: uint64 of varints, else <u4 or <u8.

    Raises CorruptError for a varint of more than 64 bits or one that is cut.
    """
    for piece in pieces:
        yield from _fixed(source, piece) if piece.width else _varints(source, piece)


def _fixed(source: Source, piece: Piece) -> Iterator[NDArray[Any]]:
    width = _WIDTH[piece.wire]
    step = _CHUNK // piece.width * piece.width
    for at in range(piece.start, piece.end, step):
        raw = np.frombuffer(source.pread(at, min(step, piece.end - at)), np.uint8)
        if piece.tagged:
            raw = np.ascontiguousarray(raw.reshape(-1, piece.width)[:, 1:]).reshape(-1)
        yield raw.view(f"<u{width}")


def _varints(source: Source, piece: Piece) -> Iterator[NDArray[Any]]:
    per = 2 if piece.tagged else 1  # a tag is a varint itself
    at = piece.start
    while at < piece.end:
        raw = np.frombuffer(source.pread(at, min(_CHUNK, piece.end - at)), np.uint8)
        stops = np.flatnonzero(raw < 0x80)
        stops = stops[: stops.size // per * per]
        if not stops.size:
            raise CorruptError(
                "a number of more than 64 bits, or one that is cut",
                path=source.path,
                place=f"byte {at}",
            )
        length = int(stops[-1]) + 1
        try:
            values = decode(raw[:length], stops)
        except ValueError as error:
            raise CorruptError(str(error), path=source.path, place=f"byte {at}") from None
        yield values[1::2] if piece.tagged else values
        at += length


def decode(raw: Bytes, stops: NDArray[np.intp] | None = None) -> NDArray[np.uint64]:
    """The varints of `raw`, which ends with one. Raises ValueError for one above 64 bits.

    stops: where `raw` is below 0x80, that is, the last byte of each.
    """
    if stops is None:
        stops = np.flatnonzero(raw < 0x80)
    if stops.size == raw.size:
        return raw.astype(np.uint64)
    starts = np.empty_like(stops)
    starts[0] = 0
    starts[1:] = stops[:-1] + 1
    lengths = stops - starts + 1
    longest = int(lengths.max())
    if longest > MOST_BYTES:
        raise ValueError("a varint of more than 64 bits")
    values = (raw[starts] & 0x7F).astype(np.uint64)
    for k in range(1, longest):
        more = np.flatnonzero(lengths > k)
        byte = raw[starts[more] + k]
        if k == MOST_BYTES - 1 and (byte > 1).any():
            raise ValueError("a varint of more than 64 bits")
        values[more] |= (byte & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return values


def count(source: Source, pieces: Sequence[Piece]) -> int:
    """How many numbers the pieces are, by a scan of their bytes where their widths differ."""
    total = 0
    for piece in pieces:
        if piece.width:
            total += piece.nbytes // piece.width
            continue
        stops = 0
        for at in range(piece.start, piece.end, _CHUNK):
            raw = np.frombuffer(source.pread(at, min(_CHUNK, piece.end - at)), np.uint8)
            stops += int(np.count_nonzero(raw < 0x80))
        total += stops // (1 + piece.tagged)
    return total
