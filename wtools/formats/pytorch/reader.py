"""Sequential reading of a pickle, from memory or from a window of a file."""

from __future__ import annotations

from ...errors import CorruptError
from ...files import Source

FIRST, CHUNK = 1 << 12, 1 << 20  # bytes read at once: at first and after a jump, and at most
FAR = 4096  # a bytes object of at least this stays in the file


class Reader:
    """The bytes [start, end) of `source`, or `data`; errors name the byte in the file."""

    def __init__(
        self, source: Source, start: int = 0, end: int | None = None, *, data: bytes | None = None
    ) -> None:
        self.source = source
        self.in_file = data is None
        self._held = data if data is not None else b""
        self._at = 0
        self._ahead = FIRST
        self._next = start if data is None else start + len(data)  # file offset after `_held`
        self.end = self._next if data is not None else source.size if end is None else end

    @property
    def position(self) -> int:
        """The offset in the file of the next byte."""
        return self._next - len(self._held) + self._at

    @property
    def remaining(self) -> int:
        return self.end - self.position

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises CorruptError where the pickle ends before."""
        end = self._at + count
        if end > len(self._held):
            self._fetch(count)
            end = self._at + count
        chunk = self._held[self._at : end]
        self._at = end
        return chunk

    def skip(self, count: int) -> None:
        if count > self.remaining:
            raise self.cut()
        target = self.position + count
        held = len(self._held) - self._at
        if count <= held:
            self._at += count
        else:
            self._held, self._at, self._next = b"", 0, target
            self._ahead = FIRST

    def line(self) -> bytes:
        """Up to the next newline, without it."""
        searched = self._at
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held) - self._at
            if not self.in_file or self._next >= self.end:
                raise self.cut()
            self._fetch(min(self.remaining, max(CHUNK, 2 * searched)))
        chunk = self._held[self._at : end]
        self._at = end + 1
        return chunk

    def _fetch(self, count: int) -> None:
        """Hold at least `count` bytes from the position on."""
        if count > self.remaining:
            raise self.cut()
        rest = self._held[self._at :]
        more = min(self.end - self._next, max(self._ahead, count - len(rest)))
        self._ahead = min(CHUNK, 4 * self._ahead)
        self._held = rest + self.source.pread(self._next, more)
        self._next += more
        self._at = 0

    def cut(self) -> CorruptError:
        return CorruptError(
            "the pickle ends in the middle",
            path=self.source.path,
            place=f"byte {self.end}",
            advice="The file is probably cut short: copy or download it again.",
        )
