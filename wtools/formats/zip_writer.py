"""A zip archive written front to back, members stored without compression.

Every member's data begins at a multiple of 64 bytes, so that readers can map it. Layouts are
those of PKWARE's APPNOTE.TXT 6.3.10; sizes of 4 GiB and more take the zip64 form. There are no
times in it: the same members give the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ..streams import FileWriter
from ..tree import Tensor

ALIGNMENT = 64
_SMALL = 1 << 20  # bytes below which a thread costs more than it brings
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_UTF8 = 1 << 11
_DATE = 1 << 5 | 1  # the first of January 1980, the earliest there is
_PADDING = 0x4246  # "FB": what torch calls the extra field that it pads with


class _Member(NamedTuple):
    """name, bytes, offsets of its header and of its data, and the CRC that is being computed."""

    name: bytes
    nbytes: int
    header: int
    start: int
    crc: Future[int] | None = None


class ZipWriter:
    """`add` members, or `begin` one, write to `file` and `end` it; leaving the block closes it.

    The checksum of what was written is computed by a thread, from the file, while the next member
    is being written.
    """

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self.file = FileWriter(path, advance)
        self._members: list[_Member] = []
        self._open: _Member | None = None
        self._pool = ThreadPoolExecutor(1, "wtools-crc")

    def add(self, name: str, data: bytes) -> None:
        """A small member."""
        self.begin(name, len(data))
        self.file.put(data)
        self.end()

    def tensor(self, name: str, tensor: Tensor, head: bytes = b"") -> None:
        """A member of `head` and the tensor's bytes."""
        self.begin(name, len(head) + tensor.nbytes)
        self.file.put(head)
        self.file.tensor(tensor)
        self.end()

    def crc(self) -> int:
        """A checksum of the checksums of all members so far."""
        crc = 0
        for member in self._members:
            assert member.crc is not None
            crc = zlib.crc32(member.crc.result().to_bytes(4, "little"), crc)
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
        self._open = _Member(raw, nbytes, header, self.file.position)

    def end(self) -> None:
        """Finish the member begun."""
        assert self._open is not None
        member, self._open = self._open, None
        assert self.file.position == member.start + member.nbytes
        crc: Future[int] = Future()
        if member.nbytes < _SMALL:
            crc.set_result(self.file.crc(member.start, self.file.position))
        else:
            crc = self._pool.submit(self.file.crc, member.start, self.file.position)
        self._members.append(member._replace(crc=crc))

    def _entry(self, member: _Member) -> bytes:
        """The member's entry in the directory; its local header gets the CRC, too."""
        name, nbytes, header, _, future = member
        assert future is not None
        crc = future.result()
        self.file.patch(header + 14, struct.pack("<L", crc))
        wide = [value for value in (nbytes, nbytes, header) if value >= _MAX32]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size = min(nbytes, _MAX32)
        return (
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
                len(name),
                len(extra),
                0,
                0,
                0,
                0,
                min(header, _MAX32),
            )
            + name
            + extra
        )

    def _finish(self) -> None:
        start = self.file.position
        for member in self._members:
            self.file.put(self._entry(member))
        end, count = self.file.position, len(self._members)
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
            self._pool.shutdown(cancel_futures=True)
            self.file.__exit__(kind, error, trace)
