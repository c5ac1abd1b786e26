"""A file written front to back, tensor by tensor, in bounded memory."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np

from .files import Source
from .tree import Raw, Tensor

# Read and written from one buffer that stays in the second-level cache, a block costs less than
# copy_file_range does; buffers of 1 MB and more take twice as long. Measured on ext4.
CHUNK = 1 << 18
_ZEROS = bytes(CHUNK)
_SHARE = 1 << 27  # bytes after which the disk gets its share


@cache
def _disk() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "wtools-sync")


os.register_at_fork(after_in_child=_disk.cache_clear)  # a child has none of the threads


class FileWriter:
    """A file at `path`, new, or with `keep` the one that is there, to be changed in place.

    `advance(nbytes)` is called with the bytes of tensors as they go. Holes of a sparse source
    stay holes. Of a large file the disk gets its share while the rest is still being written, so
    that the sync at the end has less to wait for. Raises OSError where the disk does.
    """

    def __init__(
        self,
        path: Path,
        advance: Callable[[int], None] = lambda nbytes: None,
        *,
        keep: bool = False,
    ) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.fd = os.open(path, flags if keep else flags | os.O_TRUNC, 0o666)
        self.position = os.fstat(self.fd).st_size
        self._advance = advance
        self._buffer = np.empty(CHUNK, np.uint8)
        self._synced = self.position
        self._sync: Future[None] | None = None

    def put(self, data: Any) -> None:
        """Append bytes (anything with a contiguous buffer)."""
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else view[:0]  # empty views cannot be cast
        while len(view):
            count = os.pwrite(self.fd, view[: 1 << 30], self.position)
            self.position += count
            view = view[count:]
        if self.position - self._synced >= _SHARE:
            self._sync_behind()

    def pad(self, alignment: int, byte: bytes = b"\0") -> None:
        """Append bytes until the position is a multiple of `alignment`."""
        self.put(byte * (-self.position % alignment))

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes already written."""
        view = memoryview(data)
        while len(view):
            count = os.pwrite(self.fd, view, offset)
            offset += count
            view = view[count:]

    def tensor(self, tensor: Tensor) -> None:
        """Append the tensor's bytes: little-endian, C order, narrow types packed."""
        raw = tensor.raw
        blocks = tensor.packed_blocks(CHUNK) if raw is None else self._raw_blocks(raw)
        for block in blocks:
            if isinstance(block, int):
                self.position += block  # a hole
            else:
                self.put(block)
            self._advance(block if isinstance(block, int) else len(block))

    def copy(self, source: Source, start: int, stop: int) -> None:
        """Append the bytes [start, stop) of another file."""
        for at in range(start, stop, CHUNK):
            block = self._buffer[: min(CHUNK, stop - at)]
            source.readinto(block, at)
            self.put(block)

    def crc(self, start: int, stop: int) -> int:
        """The CRC-32 of bytes already written. May run in a thread beside the writing."""
        crc = 0
        buffer = bytearray(min(CHUNK, stop - start))
        for first, last, hole in extents(_Written(self.fd, start, stop - start)):
            for at in range(first, last, CHUNK):
                block = memoryview(buffer)[: last - at]
                if hole:
                    block = memoryview(_ZEROS)[: last - at]
                else:
                    os.preadv(self.fd, [block], start + at)
                crc = zlib.crc32(block, crc)
        return crc

    def _raw_blocks(self, raw: Raw) -> Iterator[Any]:
        for start, stop, hole in extents(raw):
            if hole:
                yield stop - start
                continue
            for at in range(start, stop, CHUNK):
                block = self._buffer[: min(CHUNK, stop - at)]
                raw.readinto(block, at)
                yield block

    def _sync_behind(self) -> None:
        """Have what is written so far synced by a thread, unless one is at it already."""
        if self._sync is None or self._sync.done():
            self._wait()
            self._synced = self.position
            self._sync = _disk().submit(os.fdatasync, self.fd)

    def _wait(self) -> None:
        if self._sync is not None:
            sync, self._sync = self._sync, None
            sync.result()  # raises what the disk had to say

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                os.ftruncate(self.fd, self.position)  # the file may end in a hole
                self._wait()
        finally:
            if self._sync is not None:
                wait([self._sync])  # it must not meet another file under this descriptor
            self.close()


class _Written(NamedTuple):
    fd: int
    offset: int
    nbytes: int


class _Placed(Protocol):
    """A range of an open file."""

    @property
    def fd(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


def extents(raw: _Placed) -> Iterator[tuple[int, int, bool]]:
    """(start, stop, is a hole) of the runs that a tensor's bytes consist of, in order."""
    at = 0
    while at < raw.nbytes:
        try:
            data = min(raw.nbytes, os.lseek(raw.fd, raw.offset + at, os.SEEK_DATA) - raw.offset)
            if data > at:
                yield at, data, True
            if data == raw.nbytes:
                return
            at = min(raw.nbytes, os.lseek(raw.fd, raw.offset + data, os.SEEK_HOLE) - raw.offset)
            yield data, at, False
        except OSError as error:
            # ENXIO: no data up to the file's end. Else the file system cannot tell: read it all,
            # as where the file has become too short, so that the reading says so.
            whole = os.fstat(raw.fd).st_size >= raw.offset + raw.nbytes
            yield at, raw.nbytes, error.errno == errno.ENXIO and whole
            return
