"""A zip archive written front to back, members stored without compression.

Every member's data begins at a multiple of 64 bytes, so that readers can map it. Layouts are
those of PKWARE's APPNOTE.TXT 6.3.10; sizes of 4 GiB and more take the zip64 form. There are no
times in it: the same members give the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ..streams import FileWriter
from ..tree import Tensor

ALIGNMENT = 64
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_UTF8 = 1 << 11
_DATE = 1 << 5 | 1  # the first of January 1980, the earliest there is
_PADDING = 0x4246  # "FB": what torch calls the extra field that it pads with


class ZipWriter:
    """`add` members, or `begin` one, write to `file` and `end` it; leaving the block closes it."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self.file = FileWriter(path, advance)
        self._entries: list[bytes] = []
        self._open: tuple[bytes, int, int, int] | None = None

    def add(self, name: str, data: bytes) -> None:
        """A small member."""
        self.begin(name, len(data))
        self.file.put(data)
        self.end(zlib.crc32(data))

    def tensor(self, name: str, tensor: Tensor, head: bytes = b"") -> int:
        """A member of `head` and the tensor's bytes; its CRC-32."""
        self.begin(name, len(head) + tensor.nbytes)
        self.file.put(head)
        crc = self.file.tensor_crc(tensor, zlib.crc32(head))
        self.end(crc)
        return crc

    def begin(self, name: str, nbytes: int) -> None:
        """The local header of a member of `nbytes` bytes, up to where its data begin."""
        header = self.file.position
        raw = name.encode()
        wide = nbytes >= _MAX32
        extra = struct.pack("<2H2Q", 1, 16, nbytes, nbytes) if wide else b""
        fill = -(header + 30 + len(raw) + len(extra) + 4) % ALIGNMENT
        extra += struct.pack("<2H", _PADDING, fill) + b"Z" * fill
        size = _MAX32 if wide else nbytes
        self.file.put(
            struct.pack(
                "<4s5H3L2H",
                b"PK\x03\x04",
                45 if wide else 20,
                _UTF8,
                0,
                0,
                _DATE,
                0,
                size,
                size,
                len(raw),
                len(extra),
            )
            + raw
            + extra
        )
        self._open = raw, nbytes, header, self.file.position

    def end(self, crc: int) -> None:
        """Finish the member begun, whose data have that CRC-32."""
        assert self._open is not None
        raw, nbytes, header, start = self._open
        assert self.file.position == start + nbytes
        self.file.patch(header + 14, struct.pack("<L", crc))
        wide = [value for value in (nbytes, nbytes, header) if value >= _MAX32]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size = min(nbytes, _MAX32)
        self._entries.append(
            struct.pack(
                "<4s6H3L5H2L",
                b"PK\x01\x02",
                45 if wide else 20,
                45 if wide else 20,
                _UTF8,
                0,
                0,
                _DATE,
                crc,
                size,
                size,
                len(raw),
                len(extra),
                0,
                0,
                0,
                0,
                min(header, _MAX32),
            )
            + raw
            + extra
        )
        self._open = None

    def _finish(self) -> None:
        start = self.file.position
        for entry in self._entries:
            self.file.put(entry)
        end, count = self.file.position, len(self._entries)
        nbytes = end - start
        if count >= _MAX16 or start >= _MAX32 or nbytes >= _MAX32:
            self.file.put(
                struct.pack(
                    "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, nbytes, start
                )
                + struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
            )
        count, nbytes, start = min(count, _MAX16), min(nbytes, _MAX32), min(start, _MAX32)
        self.file.put(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, nbytes, start, 0))

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self.file.__exit__(kind, error, trace)
