"""Files: positional reads from anything regular, atomic replacement.

Two ways lead to a file's bytes. `Source.pread` copies them and reports a file cut short as a
CorruptError; every scan of a whole tensor goes this way, so no command can die of SIGBUS when
somebody truncates the file meanwhile. `Source.view` maps them without a copy, for arrays handed
to a notebook.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .dtypes import DType
from .errors import CorruptError, MissingError, UsageError
from .tree import BLOCK, Storage

Bytes = NDArray[np.uint8]


class Source:
    """A regular file opened for reading only. Thread-safe: it has no file position.

    fd: a descriptor of that file which the caller opened its own way; the Source closes it.

    Raises MissingError when the path is absent, unreadable, or not a regular file.
    """

    def __init__(self, path: str | os.PathLike[str], *, fd: int | None = None) -> None:
        self.path = os.fspath(path)
        self._map: mmap.mmap | None = None
        self._fd = -1
        try:
            if fd is None:  # O_NONBLOCK: opening a FIFO must not wait for a writer.
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise MissingError("no such file or folder", path=self.path) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MissingError(f"cannot be opened: {reason}", path=self.path) from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise MissingError(f"is {what}", path=self.path)
        self._fd = fd
        self.size = status.st_size

    @property
    def fd(self) -> int:
        if self._fd < 0:
            raise UsageError("the file has been closed", path=self.path)
        return self._fd

    def pread(self, offset: int, nbytes: int) -> bytes:
        """Exactly `nbytes` bytes at `offset`. Raises CorruptError where the file ends before."""
        self.check(offset, nbytes)
        chunks = []
        while nbytes:
            chunk = os.pread(self.fd, min(nbytes, 1 << 30), offset)
            if not chunk:
                raise self._cut(offset)
            chunks.append(chunk)
            offset += len(chunk)
            nbytes -= len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def readinto(self, buffer: memoryview | Bytes, offset: int) -> None:
        """Fill `buffer` (any contiguous bytes) from `offset`."""
        view = memoryview(cast(Any, buffer)).cast("B")
        while len(view):
            count = os.preadv(self.fd, [view[: 1 << 30]], offset)
            if not count:
                raise self._cut(offset)
            offset += count
            view = view[count:]

    def view(self, offset: int, nbytes: int) -> Bytes:
        """A read-only array over the mapped file: no copy, paged in on use."""
        self.check(offset, nbytes)
        if not nbytes:
            return np.empty(0, np.uint8)
        if os.fstat(self.fd).st_size < offset + nbytes:
            raise self._cut(offset)
        if self._map is None:
            self._map = mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._map, np.uint8, nbytes, offset)

    def check(self, offset: int, nbytes: int, place: str | None = None) -> None:
        """Raise CorruptError unless [offset, offset + nbytes) lies inside the file."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise CorruptError(
                f"bytes {offset} to {offset + nbytes} are needed, the file has {self.size}",
                path=self.path,
                place=place,
                advice="The file is probably cut short: copy or download it again.",
            )

    def _cut(self, offset: int) -> CorruptError:
        return CorruptError(
            "the file became shorter while it was read", path=self.path, place=f"byte {offset}"
        )

    def close(self) -> None:
        """Close the file. Arrays that `view` returned stay valid: they hold the mapping."""
        self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def file(self) -> SourceFile:
        """A seekable binary file object over this source, for zipfile and h5py."""
        return SourceFile(self)


class SourceFile(io.RawIOBase):
    """A seekable, read-only binary file over a Source. Closing it leaves the Source open."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), max(0, self._source.size - self._position))
        self._source.readinto(view[:count], self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class RawData:
    """A tensor's elements lying plainly in a file: C order, contiguous, packed if narrow.

    `swapped` marks big-endian elements, which are read correctly but not copied as they are.
    """

    source: Source
    offset: int
    shape: tuple[int, ...]
    dtype: DType
    swapped: bool = False

    @property
    def count(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.count)

    @property
    def fd(self) -> int:
        return self.source.fd

    def storage(self) -> Storage:
        return Storage(self.source.path, self.offset, self.nbytes)

    def readinto(self, buffer: memoryview | Bytes, offset: int) -> None:
        """Fill `buffer` with file bytes from `offset` bytes after the tensor's first."""
        self.source.readinto(buffer, self.offset + offset)

    def read(self) -> NDArray[Any]:
        raw = self.source.view(self.offset, self.nbytes)
        return self._array(raw, self.count).reshape(self.shape)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[NDArray[Any]]:
        bits = self.dtype.nbytes(8)  # bytes of eight elements: whole bytes at every width
        step = max(1, nbytes // max(1, self.dtype.numpy.itemsize * 8)) * 8
        for start in range(0, self.count, step):
            count = min(step, self.count - start)
            buffer = np.empty(self.dtype.nbytes(count), np.uint8)
            self.readinto(buffer, start // 8 * bits)
            yield self._array(buffer, count)

    def _array(self, raw: Bytes, count: int) -> NDArray[Any]:
        return elements(raw, count, self.dtype, self.swapped)


def elements(raw: Bytes, count: int, dtype: DType, swapped: bool = False) -> NDArray[Any]:
    """`count` elements of `dtype` from file bytes, which are big-endian where `swapped`."""
    if swapped:
        width = dtype.itemsize // (2 if dtype.kind == "complex" else 1)
        if width > 1:
            raw = np.ascontiguousarray(raw.reshape(-1, width)[:, ::-1]).reshape(-1)
    return dtype.unpack(raw, count)


# --- writing: see streams.py and outputs.py ------------------------------------------------------


@contextlib.contextmanager
def atomic(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path that replaces `target` only when the block ends well.

    For a single file; `outputs.staged`, which does it, also puts sets of files in place.
    Raises OutputError when the target exists (unless `overwrite`) or cannot be written.
    """
    from .outputs import staged

    with staged(target, overwrite=overwrite) as output:
        yield output.main
