"""Where a storage's bytes lie: a range of the file, a packed zip member, or memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...dtypes import DType
from ...files import RawData, Source, elements
from ...tree import ArrayData, Data, Storage
from ..zips import Zip

Bytes = NDArray[np.uint8]


class Place(Protocol):
    """`nbytes` bytes of one storage, big-endian where `swapped`."""

    @property
    def nbytes(self) -> int: ...

    @property
    def swapped(self) -> bool: ...

    def data(self, start: int, shape: tuple[int, ...], dtype: DType) -> Data:
        """Elements in C order from `start` bytes on."""

    def view(self, start: int, nbytes: int) -> Bytes:
        """The bytes as an array, mapped where possible."""

    def read(self, start: int, nbytes: int) -> Bytes:
        """The bytes as an array of their own: safe against a file that is cut meanwhile."""

    def storage(self, start: int, nbytes: int, strides: tuple[int, ...] | None) -> Storage | None:
        """What identifies these bytes, or None for bytes that nobody else can share."""


@dataclass(frozen=True, eq=False)
class InFile:
    """A range of the file: a stored zip member, or a storage of the old format."""

    source: Source
    offset: int
    nbytes: int
    swapped: bool = False

    def data(self, start: int, shape: tuple[int, ...], dtype: DType) -> Data:
        swapped = self.swapped and dtype.itemsize > 1
        return RawData(self.source, self.offset + start, shape, dtype, swapped)

    def view(self, start: int, nbytes: int) -> Bytes:
        return self.source.view(self.offset + start, nbytes)

    def read(self, start: int, nbytes: int) -> Bytes:
        buffer = np.empty(nbytes, np.uint8)
        self.source.readinto(buffer, self.offset + start)
        return buffer

    def storage(self, start: int, nbytes: int, strides: tuple[int, ...] | None) -> Storage:
        return Storage(self.source.path, self.offset + start, nbytes, strides)


@dataclass(frozen=True, eq=False)
class Deflated:
    """A packed zip member: inflated anew each time it is read."""

    archive: Zip
    name: str
    swapped: bool = False

    @property
    def nbytes(self) -> int:
        return self.archive[self.name].nbytes

    def data(self, start: int, shape: tuple[int, ...], dtype: DType) -> Data:
        return self.archive.data(self.name, start, shape, dtype, swapped=self.swapped)

    def view(self, start: int, nbytes: int) -> Bytes:
        return self.read(start, nbytes)

    def read(self, start: int, nbytes: int) -> Bytes:
        buffer = np.empty(nbytes, np.uint8)
        at = -start
        for block in self.archive.blocks(self.name):
            low, high = max(0, -at), min(len(block), nbytes - at)
            if low < high:
                buffer[at + low : at + high] = np.frombuffer(block, np.uint8)[low:high]
            at += len(block)
        return buffer

    def storage(self, start: int, nbytes: int, strides: tuple[int, ...] | None) -> Storage:
        here = self.archive.storage(self.name, start, nbytes)
        return Storage(here.file, here.offset, here.nbytes, strides)


@dataclass(frozen=True, eq=False)
class InMemory:
    """Bytes that the pickle itself carried."""

    raw: bytes | bytearray
    swapped: bool = False

    @property
    def nbytes(self) -> int:
        return len(self.raw)

    def data(self, start: int, shape: tuple[int, ...], dtype: DType) -> Data:
        count = int(np.prod(shape, dtype=object))
        raw = self.view(start, dtype.nbytes(count))
        return ArrayData(elements(raw, count, dtype, self.swapped).reshape(shape))

    def view(self, start: int, nbytes: int) -> Bytes:
        return np.frombuffer(self.raw, np.uint8, nbytes, start)

    def read(self, start: int, nbytes: int) -> Bytes:
        return self.view(start, nbytes).copy()

    def storage(self, start: int, nbytes: int, strides: tuple[int, ...] | None) -> None:
        return None
