"""Is a file an ONNX model? Protobuf has no magic number, so its first fields must tell."""

from __future__ import annotations

from ...errors import WtoolsError
from ...files import Source
from . import schema
from .wire import LEN, VARINT, Wire

_NEWEST_IR = 100  # an ir_version above this is another format's number
_MOST_FIELDS = 10_000


def is_onnx(source: Source) -> bool:
    """True for a ModelProto: an IR version, then only known fields up to the end of the file,
    among them a graph that begins like one. A file that is cut short inside its graph, or whose
    producer's name already tells what it is, counts as one.
    """
    if source.size < 4 or source.pread(0, 1) == b"\0":
        return False
    wire = Wire(source)
    version = graph = other = False
    try:
        for count, (number, _, a, b) in enumerate(wire.fields(0, source.size, schema.MODEL)):
            if count == 0 and number not in (1, 2, 7, 8):
                return False
            if number == 1:
                version = 0 < a <= _NEWEST_IR
            elif number == 7:
                graph = graph or _like_graph(wire, a, b)
            else:
                other = other or number in (2, 3, 8)
            if count == _MOST_FIELDS:
                break
    except WtoolsError:
        return _cut(wire)
    return graph and (version or other)


def _like_graph(wire: Wire, start: int, end: int) -> bool:
    """Do the bytes from `start` begin with a field of a graph, and that with one of a node?"""
    end = min(end, wire.source.size)
    if end - start < 2:
        return False
    try:
        tag, at = wire.varint(start)
        length, at = wire.varint(at)
    except WtoolsError:
        return False
    number, kind = tag >> 3, tag & 7
    if number not in schema.GRAPH or kind != LEN:
        return False
    if number != 1 or length < 2:
        return True
    first = wire.varint(at)[0] if at < wire.source.size else 10
    return first & 7 == LEN and first >> 3 in schema.NODE


def _cut(wire: Wire) -> bool:
    """A damaged file: does it begin with an IR version and a producer, or the graph?"""
    at, size = 0, wire.source.size
    seen: set[int] = set()
    try:
        while at < size:
            tag, at = wire.varint(at)
            number, kind = tag >> 3, tag & 7
            if number not in schema.MODEL or kind not in schema.MODEL[number]:
                return False
            a, at = wire.varint(at)
            if kind == VARINT:
                if number == 1 and not 0 < a <= _NEWEST_IR:
                    return False
                seen.add(number)
                continue
            if number == 7:
                return 1 in seen and _like_graph(wire, at, at + a)
            if at + a > size:
                break
            if number in (2, 3) and not _printable(wire, at, at + a):
                return False
            seen.add(number)
            at += a
    except WtoolsError:
        return False
    return {1, 2} <= seen and len(seen) > 2


def _printable(wire: Wire, start: int, end: int) -> bool:
    try:
        return end - start <= 256 and wire.text(start, end).isprintable()
    except WtoolsError:
        return False
