"""JSON scanned where it lies, for headers that a stranger wrote.

`json.loads` builds whatever it is given: 100 MB of `[],[],` become 2 GB of lists, duplicate keys
silently win, NaN is a number. The headers read here have a known form, so they are matched
against it piece by piece; nothing is built but what the form allows, and every error has its
byte offset.
"""

from __future__ import annotations

import json
import re
from array import array
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from ..errors import CorruptError


def pattern(template: bytes) -> re.Pattern[bytes]:
    """A regular expression in which a space stands for any JSON white space, # for an integer
    (of at most 20 digits, not negative) and $ for a string without escapes, which is a group.
    """
    for short, long in (
        (b" ", rb"[ \t\n\r]*"),
        (b"#", rb"(?:0|[1-9][0-9]{0,19})"),
        (b"$", rb'"([^"\\\x00-\x1f]*)"'),
    ):
        template = template.replace(short, long)
    return re.compile(template)


_space = pattern(b" ")
# At most 1,024 pieces a match: the matcher keeps a record of each. Surrogates come in pairs.
MAX_NAME = 1 << 16  # bytes of a name
_scalar = re.compile(rb"[-+.0-9A-Za-z]+")
_pieces = re.compile(
    rb'(?:[^"\\\x00-\x1f]+|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}){0,1024}"
)
_until_bracket = re.compile(rb'[^\[\]{}"]*')
_SHOWN = 120


class Json:
    """Bytes of JSON text that begin `start` bytes into the file `path`.

    Raises CorruptError when they are not UTF-8.
    """

    def __init__(self, raw: bytes, path: str, start: int = 0) -> None:
        self.raw = raw
        self.path = path
        self.start = start
        decoder = getincrementaldecoder("utf-8")()
        for at in range(0, len(raw), 1 << 16):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(raw[at : at + (1 << 16)], at + (1 << 16) >= len(raw))
            except UnicodeDecodeError as error:
                self.fail(at - pending + error.start, "is not UTF-8")

    def fail(self, at: int, reason: str) -> NoReturn:
        raise CorruptError(reason, path=self.path, place=f"byte {self.start + at}")

    def space(self, at: int) -> int:
        """The offset of the first byte from `at` that is not white space."""
        found = _space.match(self.raw, at)
        return found.end() if found else at

    def peek(self, at: int) -> bytes:
        """The first byte from `at` that is not white space; empty at the end."""
        at = self.space(at)
        return self.raw[at : at + 1]

    def expect(self, at: int, byte: bytes, what: str) -> int:
        """The offset after `byte`, which must come next (after white space)."""
        at = self.space(at)
        if self.raw[at : at + 1] != byte:
            self.fail(at, f"{what}: {byte.decode()!r} is missing, {self.seen(at)} stands here")
        return at + 1

    def seen(self, at: int) -> str:
        """What stands at `at`, for an error message."""
        ahead = self.raw[at : at + 12].decode("utf-8", "replace")
        return repr(ahead) if ahead else "the end"

    def string(self, at: int, what: str) -> tuple[int, int]:
        """(start, end) of the string that must come next, its quotes included."""
        start = self.expect(at, b'"', what) - 1
        at = start + 1
        while piece := _pieces.match(self.raw, at):
            if piece.end() == at:
                break
            at = piece.end()
        if self.raw[at : at + 1] != b'"':
            self.fail(at, f"{what}: a string is not closed, or holds {self.seen(at)}")
        return start, at + 1

    def text(self, start: int, end: int) -> str:
        """The string whose quotes stand at `start` and before `end`."""
        body = self.raw[start + 1 : end - 1]
        if b"\\" not in body:
            return body.decode("utf-8")
        return str(json.loads(self.raw[start:end].decode("utf-8")))

    def name(self, start: int, end: int) -> str:
        """As `text`, of at most MAX_NAME bytes."""
        if end - start > MAX_NAME:
            self.fail(start, f"a name of {end - start} bytes; at most {MAX_NAME} are read")
        return self.text(start, end)

    def skip(self, at: int, what: str) -> int:
        """The offset after the value that must come next, by its quotes and brackets alone."""
        start = at = self.space(at)
        scalar = _scalar.match(self.raw, at)
        if scalar or self.peek(at) == b'"':
            return scalar.end() if scalar else self.string(at, what)[1]
        depth = 0
        while True:
            found = _until_bracket.match(self.raw, at)
            at = found.end() if found else at
            byte = self.raw[at : at + 1]
            if byte == b'"':
                at = self.string(at, what)[1]
                continue
            depth += 1 if byte in (b"[", b"{") else -1
            at += 1
            if not byte or depth < 0:
                self.fail(start, f"{what}: its brackets are not closed")
            if not depth:
                return at

    def value(self, start: int, end: int, what: str, most: int = 1 << 20) -> Any:
        """The value between two offsets, of any form but of at most `most` bytes."""
        if end - start > most:
            self.fail(start, f"{what} takes {end - start} bytes, at most {most} are read")
        try:
            return json.loads(
                self.raw[start:end].decode("utf-8"),
                object_pairs_hook=_without_repeats,
                parse_constant=_refused,
            )
        except RecursionError:
            self.fail(start, f"{what} is nested too deeply")
        except ValueError as error:
            self.fail(start, f"{what} is not valid JSON: {error}")


class Names:
    """Which of many names repeat, at 16 bytes a name."""

    def __init__(self) -> None:
        self._hashes, self._places = array("q"), array("q")

    def add(self, name: str, at: int) -> None:
        self._hashes.append(hash(name))
        self._places.append(at)

    def suspects(self) -> Iterator[tuple[int, int]]:
        """Places of names with one hash: the same name, but for a freak of chance."""
        hashes = np.asarray(self._hashes)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        for i in np.flatnonzero(hashes[1:] == hashes[:-1]):
            yield self._places[order[i]], self._places[order[i + 1]]


def shown(name: str) -> str:
    """A name for an error message: quoted, cut where it is very long."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
