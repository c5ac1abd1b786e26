"""HDF5 files read without the HDF5 library: structure, attributes and where the elements lie.

The library can hang or take gigabytes on a few changed bytes, follows links into other files and
loads filter plugins; h5py costs 0.1 s to import. Here every structure is read within bounds, once,
from a file descriptor that is already open, and elements are byte ranges of the file:

    root = hdf5.open(source)                # Group; attributes, groups and datasets below it
    root.attributes["keras_version"]        # str, list of str, or a numpy array
    for dataset in root.walk(): ...         # all datasets, depth first
    dataset.data(dtype)                     # RawData where contiguous, else ChunkedData

Read are superblocks 0 to 3, both kinds of object header and group, contiguous, compact and
chunked layouts, deflate, shuffle and fletcher32. Refused with a typed error: soft and external
links, external storage, virtual datasets, other filters, cycles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...dtypes import DType
from ...errors import CorruptError, FormatError
from ...files import RawData, Source
from ...tree import Storage
from . import dense
from .chunks import FLOOR, ChunkedData, Table, chunk_table
from .cursor import UNDEFINED, Cursor, Image
from .groups import is_group, links
from .layout import Chunked, Contiguous, fill_value, layout
from .objects import (
    ATTRIBUTE,
    ATTRIBUTE_INFO,
    SPACE,
    TYPE,
    Message,
    messages,
    shared_type,
    type_of,
)
from .types import GlobalHeap, Type, dataspace, datatype, value

MAGIC = b"\x89HDF\r\n\x1a\n"
OBJECT = 1000  # bytes of memory that an object is counted as; each takes as many in real files
MAX_DEPTH = 100  # groups within groups; a nested Keras model takes two per level


@dataclass(frozen=True, eq=False)
class Dataset:
    """An array in the file. `path` is its name from the root, "a/b/0"."""

    path: str
    shape: tuple[int, ...]
    type: Type
    attributes: Mapping[str, Any]
    _image: Image = field(repr=False)
    _layout: Contiguous | Chunked = field(repr=False)
    _table: Table | None = field(repr=False)
    _fill: bytes = field(repr=False)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.type.size

    def data(self, dtype: DType) -> RawData | ChunkedData:
        """The elements as `dtype`, which has the width of the stored type."""
        image, swapped = self._image, self.type.swapped
        if isinstance(self._layout, Contiguous) and self._table is None:
            start = image.start + self._layout.address
            return RawData(image.source, start, self.shape, dtype, swapped)
        place = image.place(self.path) or self.path
        chunked, table = self._layout, self._table
        assert isinstance(chunked, Chunked) and table is not None
        return ChunkedData(image, place, chunked, table, self.shape, dtype, swapped, self._fill)

    def storage(self) -> Storage | None:
        """The byte range of a contiguous dataset; None for chunks."""
        if isinstance(self._layout, Contiguous) and self._table is None:
            path = self._image.source.path
            return Storage(path, self._image.start + self._layout.address, self.nbytes)
        return None


@dataclass(frozen=True, eq=False)
class Group:
    """A group: its attributes, and the groups and datasets in it by name, in stored order."""

    path: str
    attributes: Mapping[str, Any]
    children: Mapping[str, Group | Dataset]

    def get(self, path: str) -> Group | Dataset | None:
        """What stands at "a/b" below this group, or None."""
        here: Group | Dataset = self
        for part in path.split("/"):
            if not isinstance(here, Group) or part not in here.children:
                return None
            here = here.children[part]
        return here

    def group(self, path: str) -> Group | None:
        found = self.get(path)
        return found if isinstance(found, Group) else None

    @property
    def groups(self) -> dict[str, Group]:
        return {n: child for n, child in self.children.items() if isinstance(child, Group)}

    @property
    def datasets(self) -> dict[str, Dataset]:
        return {n: child for n, child in self.children.items() if isinstance(child, Dataset)}

    def walk(self) -> Iterator[Dataset]:
        """All datasets below, depth first."""
        for child in self.children.values():
            if isinstance(child, Dataset):
                yield child
            else:
                yield from child.walk()


def signature(source: Source, start: int = 0, size: int | None = None) -> int | None:
    """Where the superblock begins: at 0, or after a user block of 512, 1024, ... bytes."""
    size = source.size - start if size is None else size
    at = 0
    while at + 8 <= size and at <= 1 << 20:
        if source.pread(start + at, 8) == MAGIC:
            return at
        at = at * 2 or 512
    return None


def open(source: Source, start: int = 0, size: int | None = None, label: str = "") -> Group:
    """The root group of the HDF5 file in `size` bytes of `source` from `start`.

    label: what errors put before the place. Raises FormatError, CorruptError or UnsafeError.
    """
    size = source.size - start if size is None else size
    at = signature(source, start, size)
    if at is None:
        raise FormatError("is not an HDF5 file", path=source.path, place=label or None)
    image, address = _superblock(source, start, size, at, label)
    return _Reader(image).root(address)


def _superblock(source: Source, start: int, size: int, at: int, label: str) -> tuple[Image, int]:
    """The image from the base address on, and the root group's header address (section II)."""
    c = Image(source, start, size, label).cursor(at, min(size - at, 96))
    c.skip(8)
    version = c.u8()
    if version > 3:
        raise c.image.unsupported(f"superblock version {version}", f"byte {at}")
    if version < 2:
        c.skip(4)
        offsets, lengths = c.u8(), c.u8()
        c.skip(9 + (4 if version == 1 else 0))
        base, _, end, _ = c.u64(), c.u64(), c.u64(), c.u64()
        c.skip(8)
    else:
        offsets, lengths = c.u8(), c.u8()
        c.skip(1)
        base, _, end = c.u64(), c.u64(), c.u64()
        c.image.verify(at, 48)
    root = c.u64()
    if (offsets, lengths) != (8, 8):
        raise c.image.unsupported(f"addresses of {offsets} bytes", f"byte {at}")
    if base != at:
        raise c.image.corrupt(f"a base address of {base}", f"byte {at}")
    if end > size:
        raise CorruptError(
            f"cut short: it says that it has {end} bytes, there are {size}",
            path=source.path,
            place=label or None,
            advice="Copy or download it again.",
        )
    return Image(source, start + base, size - base, label), root


class _Reader:
    """One walk through a file, each group visited once."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.heap = GlobalHeap(image)
        self.groups: set[int] = set()

    def root(self, address: int) -> Group:
        header = messages(self.image, address)
        if not is_group(header):
            raise self.image.corrupt("its root is no group", f"byte {address}")
        return self._group("", address, header, 0)

    def _group(self, path: str, address: int, header: list[Message], depth: int) -> Group:
        if address in self.groups:
            raise self.image.unsafe("a group that is reached twice: a cycle of links", path)
        if depth > MAX_DEPTH:
            raise self.image.unsafe(f"groups nested more than {MAX_DEPTH} deep", path)
        self.groups.add(address)
        children: dict[str, Group | Dataset] = {}
        for link in links(self.image, header):
            below = f"{path}/{link.name}" if path else link.name
            if link.kind != "hard":
                raise self.image.unsafe(f"is a{_n(link.kind)} {link.kind} link", below)
            if link.name in children or not link.name or "/" in link.name:
                raise self.image.corrupt(f"a second or impossible name {link.name!r}", path)
            child = self._object(below, link.address, depth + 1)
            if child is not None:
                children[link.name] = child
        return Group(path, self._attributes(header, path), children)

    def _object(self, path: str, address: int, depth: int) -> Group | Dataset | None:
        self.image.spend(OBJECT)
        header = messages(self.image, address)
        kinds = {m.kind for m in header}
        if is_group(header):
            return self._group(path, address, header, depth)
        if SPACE in kinds and TYPE in kinds:
            return self._dataset(path, header)
        if TYPE in kinds:  # a committed datatype: a name for a type, no data
            return None
        raise self.image.corrupt("neither a group nor a dataset", path)

    def _dataset(self, path: str, header: list[Message]) -> Dataset:
        image = self.image
        by_kind = {m.kind: m for m in header}
        type = type_of(image, by_kind[TYPE])
        shape = dataspace(by_kind[SPACE].cursor(image))
        where = layout(image, header, path)
        shape = (0,) if shape is None else shape
        nbytes = math.prod(shape) * type.size
        attributes = self._attributes(header, path)
        fill = fill_value(image, header, type.size)
        table = None
        if isinstance(where, Chunked):
            table = chunk_table(image, where, shape, type.size, path)
        elif not nbytes:
            where = Contiguous(0, 0)
        elif where.address == UNDEFINED:
            if nbytes > FLOOR:
                raise image.unsafe(f"claims {nbytes} bytes, none are stored", path)
            where = Chunked(tuple(max(1, n) for n in shape), "single", UNDEFINED, ())
            table = chunk_table(image, where, shape, type.size, path)
        elif where.nbytes < nbytes:
            raise image.corrupt(f"{where.nbytes} bytes stored for shape {shape}", path)
        else:
            image.check(where.address, nbytes, path)
        return Dataset(path, shape, type, attributes, image, where, table, fill)

    def _attributes(self, header: list[Message], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for message in header:
            if message.kind == ATTRIBUTE and not message.shared:
                name, held = self._attribute(message.cursor(self.image))
                found[name] = held
            elif message.kind == ATTRIBUTE_INFO:
                for c in self._dense_attributes(message.cursor(self.image)):
                    name, held = self._attribute(c)
                    found[name] = held
        return found

    def _dense_attributes(self, c: Cursor) -> Iterator[Cursor]:
        c.skip(1)
        flags = c.u8()
        c.skip(2 if flags & 1 else 0)
        heap, names = c.u64(), c.u64()
        if heap != UNDEFINED:
            yield from dense.items(self.image, heap, names, kind=8, skip=0)

    def _attribute(self, c: Cursor) -> tuple[str, Any]:
        """An attribute message (section IV.A.2.m)."""
        version, flags = c.u8(), c.u8()
        if version not in (1, 2, 3):
            raise self.image.corrupt(f"attribute of version {version}", f"byte {c.address}")
        sizes = c.u16(), c.u16(), c.u16()
        c.skip(1 if version == 3 else 0)
        parts = []
        for size in sizes:
            parts.append(c.part(size))
            if version == 1:
                c.skip(-size % 8)
        name = parts[0].data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        shared = version > 1 and flags & 1
        type = shared_type(self.image, parts[1]) if shared else datatype(parts[1])
        return name, value(c, type, dataspace(parts[2]), self.heap)


def _n(word: str) -> str:
    return "n" if word[0] in "aeiou" else ""


__all__ = ["MAGIC", "Dataset", "Group", "open", "signature"]
