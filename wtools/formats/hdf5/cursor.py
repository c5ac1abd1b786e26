"""Bounds-checked reading of HDF5 structures, in the terms of the file format specification.

Addresses in an HDF5 file count from the superblock's base address; an `Image` turns them into
offsets of the Source and counts what is read, so that no structure can be read without end.
Section numbers in this package are those of the HDF5 File Format Specification, version 3.0.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ...errors import CorruptError, FormatError, UnsafeError
from ...files import Source
from .checksum import lookup3

UNDEFINED = (1 << 64) - 1
PAGE = 4096  # bytes read at once: structures that belong together lie together
PAGES = 64  # kept, the last ones used: small structures of several objects share a page
METADATA_FLOOR = 32 << 20  # bytes of metadata that any file may make us read


class Image:
    """The bytes of one HDF5 file: a whole Source, or a stored zip member, or after a user block.

    label: what is put before the place in errors (the zip member's name), or "".
    """

    def __init__(self, source: Source, start: int, size: int, label: str = "") -> None:
        self.source = source
        self.start = start
        self.size = size
        self.label = label
        self.budget = max(METADATA_FLOOR, 2 * size)
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def read(self, address: int, nbytes: int) -> bytes:
        """Metadata bytes at `address`. Raises CorruptError, or UnsafeError past the budget."""
        self.check(address, nbytes)
        self.spend(nbytes)
        if nbytes > PAGE:
            return self.source.pread(self.start + address, nbytes)
        number, at = divmod(address, PAGE)
        found = self._page(number)[at : at + nbytes]
        if len(found) < nbytes:
            found += self._page(number + 1)[: nbytes - len(found)]
        return found

    def _page(self, number: int) -> bytes:
        page = self._pages.pop(number, None)
        if page is None:
            start = number * PAGE
            page = self.source.pread(self.start + start, min(PAGE, self.size - start))
            if len(self._pages) == PAGES:
                self._pages.popitem(last=False)
        self._pages[number] = page
        return page

    def verify(self, address: int, nbytes: int) -> None:
        """Raise CorruptError unless the last 4 of the bytes are the checksum of the others."""
        raw = self.read(address, nbytes)
        if nbytes < 4 or lookup3(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
            raise self.corrupt("the checksum does not fit: metadata are damaged", f"byte {address}")

    def spend(self, nbytes: int) -> None:
        self.budget -= nbytes
        if self.budget < 0:
            raise UnsafeError(
                f"more than {max(METADATA_FLOOR, 2 * self.size)} bytes of structures to read",
                path=self.source.path,
                place=self.label or None,
                advice="They lead to the same bytes over and over, or are many and tiny.",
            )

    def check(self, address: int, nbytes: int, place: str | None = None) -> None:
        if address < 0 or nbytes < 0 or address + nbytes > self.size:
            end = "an undefined address" if address == UNDEFINED else f"byte {address + nbytes}"
            raise self.corrupt(
                f"{end} is needed, the file ends at {self.size}",
                place,
                advice="The file is probably cut short: copy or download it again.",
            )

    def cursor(self, address: int, nbytes: int) -> Cursor:
        return Cursor(self, self.read(address, nbytes), address)

    def corrupt(
        self, reason: str, place: str | None = None, *, advice: str | None = None
    ) -> CorruptError:
        return CorruptError(reason, path=self.source.path, place=self.place(place), advice=advice)

    def unsupported(self, what: str, place: str | None = None) -> FormatError:
        return FormatError(
            f"uses {what}, which is not read here",
            path=self.source.path,
            place=self.place(place),
            advice="h5repack (of the HDF5 tools) or h5py can rewrite the file without it.",
        )

    def unsafe(self, reason: str, place: str | None = None) -> UnsafeError:
        return UnsafeError(reason, path=self.source.path, place=self.place(place))

    def place(self, place: str | None) -> str | None:
        return "!".join(part for part in (self.label, place) if part) or None


@dataclass
class Cursor:
    """A position in some bytes of an Image; every step past their end is a CorruptError."""

    image: Image
    data: bytes
    address: int  # of data[0]
    at: int = 0

    def take(self, nbytes: int) -> bytes:
        end = self.at + nbytes
        if nbytes < 0 or end > len(self.data):
            raise self.image.corrupt(
                f"a structure of {len(self.data)} bytes ends early", f"byte {self.address}"
            )
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def skip(self, nbytes: int) -> None:
        self.take(nbytes)

    def uint(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def u8(self) -> int:
        return self.uint(1)

    def u16(self) -> int:
        return self.uint(2)

    def u32(self) -> int:
        return self.uint(4)

    def u64(self) -> int:
        return self.uint(8)

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def expect(self, signature: bytes) -> None:
        found = self.take(len(signature))
        if found != signature:
            raise self.image.corrupt(
                f"{signature[:4].decode()} expected, {found!r} found", f"byte {self.address}"
            )

    def part(self, nbytes: int) -> Cursor:
        """The next `nbytes` bytes as a cursor of their own."""
        address = self.address + self.at
        return Cursor(self.image, self.take(nbytes), address)

    def pad(self, multiple: int = 8) -> None:
        self.at += -self.at % multiple

    def text(self) -> bytes:
        """Bytes up to a NUL, which is passed over."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self.image.corrupt("a name does not end", f"byte {self.address + self.at}")
        found = self.data[self.at : end]
        self.at = end + 1
        return found
