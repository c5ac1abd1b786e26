"""Datatypes, dataspaces and attribute values (sections IV.A.2.b, IV.A.2.d, IV.A.2.m)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dtypes import DTYPES, DType
from ...files import elements
from .cursor import Cursor, Image

MAX_RANK = 32  # H5S_MAX_RANK

_FIXED, _FLOAT, _STRING, _OPAQUE, _COMPOUND, _ENUM, _VLEN = 0, 1, 3, 5, 6, 8, 9
_CLASSES = {
    2: "time",
    3: "string",
    4: "bit field",
    5: "opaque",
    6: "compound",
    7: "reference",
    8: "enumeration",
    9: "variable-length",
    10: "array",
    11: "complex",
}
# (bytes, exponent bits, mantissa bits, exponent bias) of the IEEE-like floats
_FLOATS = {
    (2, 5, 10, 15): "float16",
    (2, 8, 7, 127): "bfloat16",
    (4, 8, 23, 127): "float32",
    (8, 11, 52, 1023): "float64",
    (1, 4, 3, 7): "float8_e4m3fn",
    (1, 5, 2, 15): "float8_e5m2",
}


@dataclass(frozen=True)
class Type:
    """An HDF5 datatype: its class, bytes per element and, where it holds numbers, their dtype."""

    kind: int
    size: int
    what: str
    dtype: DType | None = None
    swapped: bool = False
    base: Type | None = None
    vlen_string: bool = False

    @property
    def opaque(self) -> bool:
        return self.kind == _OPAQUE


def datatype(c: Cursor, depth: int = 0) -> Type:
    """The datatype message at the cursor, which ends up after it."""
    if depth > 8:
        raise c.image.corrupt("datatypes nested without end", f"byte {c.address}")
    head, bits, size = c.u8(), c.uint(3), c.u32()
    kind, version = head & 15, head >> 4
    if not 1 <= version <= 5:
        raise c.image.corrupt(f"datatype of version {version}", f"byte {c.address}")
    what = f"{_CLASSES.get(kind, 'unknown')} of {size} bytes"
    if kind == _FIXED:
        return _fixed(c, bits, size)
    if kind == _FLOAT:
        return _float(c, bits, size)
    if kind == _OPAQUE:
        c.skip((bits & 255) + -(bits & 255) % 8 if version < 3 else bits & 255)
        return Type(kind, size, what)
    if kind == _COMPOUND:
        return _compound(c, version, bits & 0xFFFF, size, depth)
    if kind == _ENUM:
        return _enum(c, version, bits & 0xFFFF, size, depth)
    if kind == _VLEN:
        return Type(kind, size, what, None, False, datatype(c, depth + 1), bits & 15 == 1)
    return Type(kind, size, what)


def _fixed(c: Cursor, bits: int, size: int) -> Type:
    offset, precision = c.u16(), c.u16()
    name = f"{'int' if bits & 8 else 'uint'}{8 * size}"
    plain = offset == 0 and precision == 8 * size
    dtype = DTYPES.get(name) if plain and size in (1, 2, 4, 8) else None
    return Type(_FIXED, size, name, dtype, bool(bits & 1) and size > 1)


def _float(c: Cursor, bits: int, size: int) -> Type:
    offset, precision = c.u16(), c.u16()
    _, exponent, _, mantissa = c.take(4)
    bias = c.u32()
    name = _FLOATS.get((size, exponent, mantissa, bias))
    plain = offset == 0 and precision == 8 * size and not bits & 64
    what = name or f"float of {size} bytes, {exponent} exponent and {mantissa} mantissa bits"
    dtype = DTYPES[name] if name and plain else None
    return Type(_FLOAT, size, what, dtype, bool(bits & 1) and size > 1)


def _compound(c: Cursor, version: int, count: int, size: int, depth: int) -> Type:
    members = []
    for _ in range(count):
        start = c.at
        name = c.text()
        if version < 3:
            c.at = start + -(-(len(name) + 1) // 8) * 8
        offset = c.uint(4 if version < 3 else max(1, (size.bit_length() + 7) // 8))
        if version == 1:
            c.skip(28)
        members.append((name, offset, datatype(c, depth + 1)))
    what = f"compound of {count} members"
    if len(members) == 2 and [m[0] for m in members] == [b"r", b"i"]:  # h5py's complex numbers
        (_, first, real), (_, second, imaginary) = members
        half = real.size
        if real == imaginary and real.dtype and (first, second, size) == (0, half, 2 * half):
            whole = {"float32": "complex64", "float64": "complex128"}.get(real.dtype.name)
            if whole:
                return Type(_COMPOUND, size, whole, DTYPES[whole], real.swapped)
    return Type(_COMPOUND, size, what)


def _enum(c: Cursor, version: int, count: int, size: int, depth: int) -> Type:
    base = datatype(c, depth + 1)
    if base.size != size:
        raise c.image.corrupt(f"enumeration of {size} over {base.size} bytes", f"byte {c.address}")
    names = []
    for _ in range(count):
        start = c.at
        name = c.text()
        if version < 3:
            c.at = start + -(-(len(name) + 1) // 8) * 8
        names.append(name)
    values = c.take(count * size)
    if size == 1 and dict(zip(names, values, strict=True)) == {b"FALSE": 0, b"TRUE": 1}:
        return Type(_ENUM, size, "bool", DTYPES["bool"])
    return Type(_ENUM, size, "enumeration", base.dtype, base.swapped)


def dataspace(c: Cursor) -> tuple[int, ...] | None:
    """The current dimensions; None for a null dataspace, which has no elements."""
    version, rank, flags = c.u8(), c.u8(), c.u8()
    if version == 1:
        c.skip(5)
    elif version == 2:
        if c.u8() == 2:
            return None
    else:
        raise c.image.corrupt(f"dataspace of version {version}", f"byte {c.address}")
    if rank > MAX_RANK or flags > 3:
        raise c.image.corrupt(f"{rank} dimensions", f"byte {c.address}")
    shape = tuple(c.u64() for _ in range(rank))
    if any(n >= 1 << 63 for n in shape):
        raise c.image.corrupt(f"shape {shape}", f"byte {c.address}")
    return shape


def value(c: Cursor, type: Type, shape: tuple[int, ...] | None, heap: GlobalHeap) -> Any:
    """An attribute's value: str, a list of str, or a numpy array; None where it is neither.

    Strings are decoded as UTF-8, undecodable bytes kept as surrogates.
    """
    if shape is None:
        return None
    count = math.prod(shape)
    if type.vlen_string:
        texts = [heap.text(c.u32(), c.u64(), c.u32()) for _ in _counted(c, count, 16)]
        return texts if shape else texts[0]
    if type.kind == _STRING:
        if type.size == 0:
            return [""] * min(count, 1 << 16) if shape else ""
        raws = [c.take(type.size) for _ in _counted(c, count, type.size)]
        c.image.spend(len(raws) * 50)
        texts = [raw.partition(b"\0")[0].decode("utf-8", "surrogateescape") for raw in raws]
        return texts if shape else texts[0]
    if type.dtype is not None:
        raw = np.frombuffer(c.take(count * type.size), np.uint8)
        return elements(raw, count, type.dtype, type.swapped).reshape(shape)
    return None


def _counted(c: Cursor, count: int, width: int) -> range:
    if count * width > c.left:
        raise c.image.corrupt(f"{count} strings in {c.left} bytes", f"byte {c.address}")
    return range(count)


class GlobalHeap:
    """Variable-length values, by collection address and index (section III.E)."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._collections: dict[int, dict[int, bytes]] = {}

    def text(self, length: int, address: int, index: int) -> str:
        if length == 0:
            return ""
        if address not in self._collections:
            self._collections[address] = self._collection(address)
        found = self._collections[address].get(index)
        if found is None or len(found) < length:
            raise self._image.corrupt(f"no object {index} of {length} bytes", f"heap {address}")
        self._image.spend(length)
        return found[:length].partition(b"\0")[0].decode("utf-8", "surrogateescape")

    def _collection(self, address: int) -> dict[int, bytes]:
        head = self._image.cursor(address, 16)
        head.expect(b"GCOL\x01")
        head.skip(3)
        c = self._image.cursor(address + 16, head.u64() - 16)
        objects: dict[int, bytes] = {}
        while c.left >= 16:
            index, _, _, size = c.u16(), c.u16(), c.u32(), c.u64()
            if index == 0:  # the free space that ends the collection
                break
            objects[index] = c.take(size)
            c.at = min(len(c.data), c.at + -size % 8)
        return objects
