"""A zip directory read strictly: where each member's bytes lie, and what is wrong with it.

Python's zipfile takes what a hostile file says at its word (two members of one name, members
that overlap, a local header that contradicts the directory, sizes that a bomb claims). Here the
whole central directory is checked before a member is touched, and members that are stored
without compression are located, not read: their bytes are ordinary ranges of the file.

    archive = zips.directory(source)      # a Mapping of name -> Member
    archive.offset("data/0")              # the first byte of its data in the file
    archive.read("data.pkl")              # whole, its CRC checked
    archive.blocks("weights.npy")         # streamed, inflated where needed, CRC checked at the end
    archive.file("model.weights.h5")      # a seekable file object
    archive.verify_crc("data/0")          # explicit: a scan of the whole member
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from ..errors import CorruptError, UnsafeError
from ..files import RawData, Source, elements
from ..tree import BLOCK, Array, Storage
from .zip_entries import END, LOCAL, Member, damaged, data_offset, members

SCHEMA = "schema.json"  # of a skops file, whose other members may all be arrays
TAIL = 1 << 16  # bytes at the end in which the names of the last members stand
FIRST = 1 << 12  # packed bytes read at first: a header needs no more
CHUNK = 1 << 16  # packed bytes inflated at a time


class Zip(Mapping[str, Member]):
    """The members of an archive, by name, in directory order; see the module docstring."""

    def __init__(self, source: Source, members: dict[str, Member]) -> None:
        self.source = source
        self._members = members

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def offset(self, name: str) -> int:
        """The file offset of the member's first data byte, its local header checked.

        Raises CorruptError where the local header contradicts the directory.
        """
        member = self[name]
        return data_offset(self.source, member)

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """The whole member, its CRC checked. Raises UnsafeError above `most` bytes."""
        member = self[name]
        if most is not None and member.nbytes > most:
            raise UnsafeError(
                f"{member.nbytes} bytes where at most {most} are taken",
                path=self.source.path,
                place=name,
            )
        return b"".join(self.blocks(name))

    def blocks(self, name: str, nbytes: int = BLOCK) -> Iterator[bytes]:
        """The member's bytes in order, at most `nbytes` at a time, in bounded memory.

        Raises CorruptError at the end where length or CRC are not what the directory says, and
        as soon as the stream is longer than it may be.
        """
        member = self[name]
        start = data_offset(self.source, member)
        crc = total = 0
        for block in _inflated(self.source, member, start, nbytes):
            total += len(block)
            if total > member.nbytes:
                raise self._bad(member, f"unpacks to more than the {member.nbytes} bytes it claims")
            crc = zlib.crc32(block, crc)
            yield block
        if total != member.nbytes:
            raise self._bad(member, f"unpacks to {total} bytes, not to the {member.nbytes} claimed")
        if member.crc not in (0, crc):
            raise self._bad(
                member,
                f"its CRC is {crc:#010x}, the directory says {member.crc:#010x}: data are damaged",
            )

    def verify_crc(self, name: str) -> bool:
        """Read the member to its end. False where it has no CRC; CorruptError if it fails."""
        for _ in self.blocks(name):
            pass
        member = self[name]
        return member.crc != 0 or not member.nbytes

    def file(self, name: str) -> BinaryIO:
        """The member as a seekable binary file.

        Stored: a window on the source, nothing copied. Deflated: inflated into an unnamed
        temporary file (on disk, so memory stays bounded), its CRC checked.
        """
        member = self[name]
        if member.stored:
            return cast(BinaryIO, Window(self.source, self.offset(name), member.nbytes))
        import tempfile  # which loads half a dozen modules that opening has no use for

        spool = tempfile.TemporaryFile()  # noqa: SIM115
        for block in self.blocks(name):
            spool.write(block)
        spool.seek(0)
        return cast(BinaryIO, spool)

    def data(
        self, name: str, start: int, shape: tuple[int, ...], dtype: DType, *, swapped: bool = False
    ) -> RawData | StreamedData:
        """Elements that begin `start` bytes into the member: RawData where it is stored."""
        member = self[name]
        if member.stored:
            return RawData(self.source, self.offset(name) + start, shape, dtype, swapped)
        return StreamedData(self, name, start, shape, dtype, swapped)

    def storage(self, name: str, start: int, nbytes: int) -> Storage:
        """What identifies these bytes, so that tied tensors are recognised."""
        if self[name].stored:
            return Storage(self.source.path, self.offset(name) + start, nbytes)
        return Storage(f"{self.source.path}!{name}", start, nbytes)

    def _bad(self, member: Member, reason: str) -> CorruptError:
        return CorruptError(reason, path=self.source.path, place=member.name)


@dataclass(frozen=True, eq=False)
class StreamedData:
    """Elements inside a deflated member: inflated from its start each time, block by block."""

    archive: Zip
    name: str
    start: int
    shape: tuple[int, ...]
    dtype: DType
    swapped: bool = False

    def read(self) -> Array:
        blocks = list(self.blocks())
        empty = np.empty(0, self.dtype.numpy)
        return (np.concatenate(blocks) if blocks else empty).reshape(self.shape)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        count = int(np.prod(self.shape, dtype=object))
        group = self.dtype.nbytes(8)  # bytes of eight elements: whole bytes at every width
        step = max(1, nbytes // max(1, self.dtype.numpy.itemsize * 8)) * 8
        wanted = self.dtype.nbytes(count)
        for raw in _regroup(self.archive.blocks(self.name), self.start, wanted, step // 8 * group):
            here = min(step, count)
            yield elements(raw, here, self.dtype, self.swapped)
            count -= here


def _regroup(
    blocks: Iterator[bytes], skip: int, wanted: int, step: int
) -> Iterator[NDArray[np.uint8]]:
    """`wanted` bytes after the first `skip`, in runs of `step`; reads to the end of `blocks`."""
    held = bytearray()
    for block in blocks:
        drop = min(skip, len(block))
        skip -= drop
        held += memoryview(block)[drop : drop + wanted]
        wanted -= min(wanted, len(block) - drop)
        while len(held) >= step:
            yield np.frombuffer(bytes(held[:step]), np.uint8)
            del held[:step]
    if held:
        yield np.frombuffer(bytes(held), np.uint8)


class Window(io.RawIOBase):
    """A seekable, read-only binary file over a byte range of a Source."""

    def __init__(self, source: Source, start: int, nbytes: int) -> None:
        super().__init__()
        source.check(start, nbytes)
        self._source, self._start, self._nbytes, self._position = source, start, nbytes, 0

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        count = min(len(view), max(0, self._nbytes - self._position))
        self._source.readinto(view[:count], self._start + self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._nbytes}
        self._position = max(0, base[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def is_zip(source: Source) -> bool:
    """Does the file begin like a zip archive? The directory at its end may still be missing."""
    return source.size >= 4 and source.pread(0, 4) in (LOCAL, END)


def first_name(source: Source) -> str | None:
    """The name in the first local header: what a cut archive still tells."""
    if source.size < 30 or source.pread(0, 4) != LOCAL:
        return None
    (length,) = struct.unpack("<H", source.pread(26, 2))
    if source.size < 30 + length:
        return None
    return source.pread(30, length).decode("utf-8", "replace")


def names_in_tail(source: Source, name: str) -> bool:
    """Does `name` stand near the file's end, where the directory names the last members?"""
    size = min(source.size, TAIL)
    return name.encode() in source.pread(source.size - size, size)


def directory(source: Source) -> Zip:
    """The archive's members; errors as `zip_entries.members`."""
    return Zip(source, members(source))


def _inflated(source: Source, member: Member, start: int, nbytes: int) -> Iterator[bytes]:
    if member.stored:
        for at in range(0, member.nbytes, nbytes):
            yield source.pread(start + at, min(nbytes, member.nbytes - at))
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    at, step = 0, FIRST
    while at < member.packed:
        held = source.pread(start + at, min(step, member.packed - at))
        at, step = at + len(held), min(CHUNK, 4 * step)
        while held:
            try:
                block = inflate.decompress(held, nbytes)
            except zlib.error as error:
                raise damaged(source, f"cannot be inflated: {error}", place=member.name) from None
            if block:
                yield block
            held = inflate.unconsumed_tail
            if inflate.eof and (inflate.unused_data or at < member.packed):
                raise damaged(source, "ends before its packed bytes do", place=member.name)
    while not inflate.eof and (block := inflate.decompress(b"", nbytes)):
        yield block  # what the window still holds after the last packed byte
