"""The protobuf wire format, walked in place: fields are located by offset, not copied.

https://protobuf.dev/programming-guides/encoding/ : a message is a sequence of fields, each a
varint tag (number << 3 | wire type) and a payload. `Wire.fields` yields where the payloads lie;
what is large (a tensor's bytes) is never touched. As in protobuf's own parsers a file has at
most 2 GiB. Stricter than they are: a known field of another wire type, and groups, which ONNX
has none of, are errors here, not unknown fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptError, UnsafeError
from ...files import Source
from .varints import MOST_BYTES

VARINT, FIXED64, LEN, FIXED32 = 0, 1, 2, 5
RUN = 8  # `fields` adds it to the wire type of several equal scalar fields taken as one
LIMIT = (1 << 31) - 1  # bytes of one message: protobuf's own limit
DEPTH = 100  # messages inside messages, protobuf's own limit too
TEXT = 1 << 16  # bytes of a name or a note
FLOOR = 100 << 20  # what any file may spend on objects, see `Wire.spend`
_WINDOW = 1 << 16
_AFTER_JUMP = 1 << 10  # bytes read first where a payload was passed over
_SCAN = 1 << 20
_TAG = 5  # bytes of a tag or a length
_PAD = 24  # more than a tag and a varint: the walk may look so far past the end

Schema = Mapping[int, Collection[int]]  # field number -> the wire types it may have
Field = tuple[int, int, int, int]


class Wire:
    """A file read through a small window, and the account of what parsing it costs."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._base = 0
        self._buffer = b""
        self._window = _AFTER_JUMP
        self._texts: dict[bytes, str] = {}
        self._left = max(FLOOR, source.size * 7 // 2)

    def spend(self, nbytes: int) -> None:
        """Account for objects made from the file: fields of a few bytes must not become objects
        of many times the file's size. `nbytes` is a generous estimate, at least 1.7 times what
        was measured, so that the real sum stays below 64 MB or twice the file.

        Raises UnsafeError.
        """
        self._left -= nbytes
        if self._left < 0:
            raise UnsafeError(
                f"describes so many nodes or tensors that they would take more memory than a "
                f"file of {self.source.size} bytes may",
                path=self.source.path,
            )

    def allow(self, nbytes: int) -> None:
        """Allow for `nbytes` more of the model in another file."""
        self._left += 2 * nbytes

    def fields(
        self, start: int, end: int, schema: Schema, runs: Collection[int] = ()
    ) -> Iterator[Field]:
        """The known fields of the message in [start, end): (number, wire type, a, b).

        VARINT: a is the value. LEN, FIXED32, FIXED64: the payload is [a, b). For a number in
        `runs` equal scalar fields in a row come as one (number, wire type + RUN, a, b), where
        [a, b) begins with the first tag. Unknown fields are checked and left out.

        Raises CorruptError for anything the wire format does not allow.
        """
        if end - start > LIMIT:
            raise self.bad("a message larger than 2 GiB, which protobuf cannot hold", start)
        at = start
        while at < end:
            here = at
            i = at - self._base
            if i < 0 or i + _PAD > len(self._buffer):
                self._fill(at)
                i = 0
            buffer = self._buffer
            tag = buffer[i]
            at += 1
            if tag >= 0x80:
                tag, at = self.varint(here)
                if at - here > _TAG:
                    raise self.bad("a tag of more than 32 bits", here)
            number, wire = tag >> 3, tag & 7
            if number in runs and wire != LEN:
                after = self._run(here, tag, end)
                if after > here:
                    self._expect(number, wire, schema, here)
                    yield number, wire + RUN, here, after
                    at = after
                    continue
            byte = buffer[i + at - here]  # of a payload; mostly all of its varint
            if wire == LEN:
                length, first = (byte, at + 1) if byte < 0x80 else self.varint(at)
                if first - at > _TAG:
                    raise self.bad(f"the length of field {number} has more than 32 bits", here)
                last = at = first + length
            elif wire == VARINT:
                first, at = (byte, at + 1) if byte < 0x80 else self.varint(at)
                last = 0
            elif wire in (FIXED64, FIXED32):
                first = at
                last = at = at + (8 if wire == FIXED64 else 4)
            else:
                what = "a group, which ONNX has none of" if wire in (3, 4) else f"wire type {wire}"
                raise self.bad(f"field {number} is {what}", here)
            if not 0 < number < 1 << 29:
                raise self.bad(f"field number {number}", here)
            if at > end:
                raise self._past(number, here, at, end)
            if number in schema:
                if wire not in schema[number]:
                    self._expect(number, wire, schema, here)
                yield number, wire, first, last

    def _expect(self, number: int, wire: int, schema: Schema, at: int) -> None:
        if number in schema and wire not in schema[number]:
            raise self.bad(f"field {number} has wire type {wire}, which it cannot have", at)

    def varint(self, at: int) -> tuple[int, int]:
        """The varint at `at` and the offset after it. Padding past the file's end reads as 0."""
        i = at - self._base
        if i < 0 or i + _PAD > len(self._buffer):
            self._fill(at)
            i = 0
        buffer = self._buffer
        byte = buffer[i]
        if byte < 0x80:
            return byte, at + 1
        value, shift = byte & 0x7F, 7
        while byte >= 0x80:
            i += 1
            byte = buffer[i]
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 7 * MOST_BYTES or value >> 64:
                raise self.bad("a varint of more than 64 bits", at)
        return value, at + shift // 7

    def _fill(self, at: int) -> None:
        """Move the window to `at`; past the end of the file it holds zeros."""
        size = self.source.size
        follows = self._base < at <= self._base + len(self._buffer)
        self._window = min(_WINDOW, 4 * self._window) if follows else _AFTER_JUMP
        count = max(0, min(self._window, size - at))
        self._buffer = self.source.pread(at, count) if count else b""
        if at + count >= size:
            self._buffer += bytes(_PAD)
        self._base = at

    def _run(self, at: int, tag: int, end: int) -> int:
        """The offset after the whole fields of this tag in a row from `at`; `at` if none."""
        if tag >= 0x80:
            return at
        stride = {FIXED32: 5, FIXED64: 9}.get(tag & 7)
        end = min(end, self.source.size)
        while at < end:
            raw = np.frombuffer(self.source.pread(at, min(_SCAN, end - at)), np.uint8)
            if stride:
                count = raw.size // stride
                same = raw[: count * stride : stride] == tag
                good = count if same.all() else int(same.argmin())
                length = good * stride
            elif (tag & 7) == VARINT:
                count, good, length = _varint_run(raw, tag)
            else:
                return at
            at += length
            if good < count or not good:
                break
        return at

    def bytes(self, start: int, end: int, most: int = TEXT) -> bytes:
        """The payload [start, end) itself. Raises UnsafeError above `most` bytes."""
        if end - start > most:
            raise UnsafeError(
                f"a text of {end - start} bytes where at most {most} are taken",
                path=self.source.path,
                place=f"byte {start}",
            )
        i = start - self._base
        if i < 0 or end - self._base > len(self._buffer):
            return self.source.pread(start, end - start)
        return self._buffer[i : i + end - start]

    def text(self, start: int, end: int, most: int = TEXT) -> str:
        """The payload as a name; equal ones are one object. CorruptError where it is no UTF-8."""
        raw = self.bytes(start, end, most)
        known = self._texts.get(raw)
        if known is not None:
            return known
        self.spend(250 + 3 * len(raw))
        try:
            return self._texts.setdefault(raw, raw.decode())
        except UnicodeDecodeError:
            raise self.bad(f"the name {raw[:40]!r} is not UTF-8", start) from None

    def bad(self, reason: str, at: int) -> CorruptError:
        return CorruptError(reason, path=self.source.path, place=f"byte {at}")

    def _past(self, number: int, here: int, at: int, end: int) -> CorruptError:
        if at > self.source.size:
            return CorruptError(
                f"field {number} needs the file to have {at} bytes, it has {self.source.size}",
                path=self.source.path,
                place=f"byte {here}",
                advice="The file is probably cut short: copy or download it again.",
            )
        return self.bad(f"field {number} ends at byte {at}, its message at byte {end}", here)


def _varint_run(raw: NDArray[np.uint8], tag: int) -> tuple[int, int, int]:
    """How many (tag, varint) pairs `raw` has, how many from its start are good, their length."""
    stops = np.flatnonzero(raw < 0x80)
    values = stops[1::2]
    tags = stops[0::2][: values.size]
    if not values.size:
        return 0, 0, 0
    starts = np.empty_like(tags)
    starts[0] = 0
    starts[1:] = values[:-1] + 1
    same = (tags == starts) & (raw[tags] == tag) & (values - tags <= MOST_BYTES)
    good = values.size if same.all() else int(same.argmin())
    return values.size, good, int(values[good - 1]) + 1 if good else 0
