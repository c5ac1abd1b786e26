"""The protobuf wire format, written: fields as bytes, and messages of pieces too large to join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...files import Source
from ...streams import FileWriter
from ...tree import Tensor
from ..templates import Patch, copy_patched
from .wire import FIXED32, FIXED64, LEN, VARINT, Wire


@dataclass(frozen=True)
class Copied:
    """Bytes [start, stop) of a template, patched where `patches` lie in it."""

    source: Source
    start: int
    stop: int
    patches: Sequence[Patch] = ()

    @property
    def nbytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Message:
    """A length-delimited field `number` whose payload is `pieces`."""

    number: int
    pieces: Sequence[bytes | Tensor | Copied | Message]

    @property
    def head(self) -> bytes:
        return varint(self.number << 3 | LEN) + varint(self.length)

    @property
    def length(self) -> int:
        return sum(nbytes(piece) for piece in self.pieces)

    @property
    def nbytes(self) -> int:
        return len(self.head) + self.length


AnyPiece = bytes | Tensor | Copied | Message


def nbytes(piece: AnyPiece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def put(file: FileWriter, piece: AnyPiece) -> None:
    """Write a piece, block by block."""
    if isinstance(piece, bytes):
        file.put(piece)
    elif isinstance(piece, Tensor):
        file.tensor(piece)
    elif isinstance(piece, Copied):
        copy_patched(file, piece.source, piece.start, piece.stop, piece.patches)
    else:
        file.put(piece.head)
        for inner in piece.pieces:
            put(file, inner)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def text(number: int, value: str) -> bytes:
    raw = value.encode("utf-8")
    return varint(number << 3 | LEN) + varint(len(raw)) + raw


def put_length(number: int, body: bytes) -> bytes:
    """A length-delimited field with that payload."""
    return varint(number << 3 | LEN) + varint(len(body)) + body


def entry(number: int, key: str, value: str) -> bytes:
    """A StringStringEntryProto."""
    body = text(1, key) + text(2, value)
    return varint(number << 3 | LEN) + varint(len(body)) + body


def raw_fields(wire: Wire, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, first byte of the field, of its payload, after it), unknown fields included.

    For messages that the reader has been through, so that nothing needs to be checked.
    """
    at = start
    while at < end:
        here = at
        tag, at = wire.varint(at)
        kind = tag & 7
        payload = at
        if kind == VARINT:
            _, at = wire.varint(at)
        elif kind == LEN:
            length, payload = wire.varint(at)
            at = payload + length
        else:
            at += {FIXED64: 8, FIXED32: 4}[kind]
        yield tag >> 3, here, payload, at
