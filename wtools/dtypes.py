"""THE dtype table: one canonical name per element type, and how each format spells it.

Everything that asks "how many bits", "which numpy type" or "what does safetensors call it"
asks here, so that no dtype can be known to one format and fall between two others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

Kind = Literal["float", "int", "uint", "bool", "complex"]
Array = NDArray[Any]


@dataclass(frozen=True)
class DType:
    """One element type. `bits` is its width in a file; below 8 it is packed, low bits first."""

    name: str
    bits: int
    kind: Kind
    safetensors: str | None = None
    torch: str | None = None
    onnx: int | None = None

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type of arrays in memory (one element per item, native byte order).

        Types below 8 bits and the small floats come from ml_dtypes, one byte per element;
        complex32, for which numpy has no type, is widened to complex64, which is exact.
        """
        if self.name == "complex32":
            return np.dtype(np.complex64)
        try:
            return np.dtype(self.name)
        except TypeError:
            import ml_dtypes

            small: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self.name))
            return small

    @property
    def itemsize(self) -> int:
        """Bytes per element in a file; only for types of whole bytes."""
        return self.bits // 8

    @property
    def packed(self) -> bool:
        return self.bits < 8 and self.kind != "bool"

    def nbytes(self, count: int) -> int:
        """Bytes that `count` elements take in a file."""
        return count if self.kind == "bool" else (count * self.bits + 7) // 8

    def unpack(self, raw: Array, count: int) -> Array:
        """`count` elements from `raw`, a contiguous uint8 array of little-endian file bytes.

        A view of `raw` where the file's bytes are the array's bytes, else a new array.
        """
        if self.name == "complex32":
            halves = raw.view("<f2").astype(np.float32)
            return halves.view(np.complex64)[:count]
        if not self.packed:
            array = raw.view(self.numpy.newbyteorder("<") if _swappable(self.numpy) else self.numpy)
            return array[:count]
        return _unpack_bits(raw, self.bits, count, signed=self.kind == "int").view(self.numpy)

    def pack(self, array: Array) -> Array:
        """The inverse of `unpack`: a contiguous uint8 array of little-endian file bytes."""
        flat = np.ascontiguousarray(array, dtype=self.numpy).reshape(-1)
        if self.name == "complex32":
            return flat.view(np.float32).astype("<f2").view(np.uint8)
        if self.packed:
            return _pack_bits(flat.view(np.uint8), self.bits)
        return flat.view(np.uint8)

    def packed_blocks(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """`pack` of all blocks together, one after another: they may end inside a byte."""
        rest = np.empty(0, self.numpy)
        for block in blocks:
            flat = np.concatenate([rest, block.reshape(-1)]) if rest.size else block.reshape(-1)
            whole = flat.size // 8 * 8 if self.packed else flat.size
            rest = flat[whole:]
            if whole:
                yield self.pack(flat[:whole])
        if rest.size:
            yield self.pack(rest)


def _swappable(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iufc" and dtype.itemsize > 1


def _unpack_bits(raw: Array, bits: int, count: int, *, signed: bool) -> Array:
    """Fields of `bits` bits, least significant first, each into its own byte."""
    if bits == 4:
        out = np.empty(raw.size * 2, np.uint8)
        np.bitwise_and(raw, 0x0F, out=out[0::2])
        np.right_shift(raw, 4, out=out[1::2])
    else:
        planes: Array = np.unpackbits(raw, bitorder="little")
        planes = planes[: planes.size // bits * bits].reshape(-1, bits)
        out = planes @ (1 << np.arange(bits)).astype(np.uint8)
    out = out[:count]
    if signed:  # ml_dtypes reads the sign from bit 7 of the byte
        top = np.uint8(1 << (bits - 1))
        out = (out ^ top) - top
    return out


def _pack_bits(fields: Array, bits: int) -> Array:
    if bits == 4:
        even = np.zeros((fields.size + 1) // 2 * 2, np.uint8)
        even[: fields.size] = fields & 0x0F
        packed: Array = even[0::2] | (even[1::2] << 4)
        return packed
    planes = (fields[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(-1).astype(np.uint8), bitorder="little")


_TABLE = (
    DType("bool", 8, "bool", "BOOL", "bool", 9),
    DType("uint8", 8, "uint", "U8", "uint8", 2),
    DType("uint16", 16, "uint", "U16", "uint16", 4),
    DType("uint32", 32, "uint", "U32", "uint32", 12),
    DType("uint64", 64, "uint", "U64", "uint64", 13),
    DType("int8", 8, "int", "I8", "int8", 3),
    DType("int16", 16, "int", "I16", "int16", 5),
    DType("int32", 32, "int", "I32", "int32", 6),
    DType("int64", 64, "int", "I64", "int64", 7),
    DType("int2", 2, "int", None, None, 26),
    DType("uint2", 2, "uint", None, None, 25),
    DType("int4", 4, "int", None, None, 22),
    DType("uint4", 4, "uint", None, None, 21),
    DType("float16", 16, "float", "F16", "float16", 10),
    DType("bfloat16", 16, "float", "BF16", "bfloat16", 16),
    DType("float32", 32, "float", "F32", "float32", 1),
    DType("float64", 64, "float", "F64", "float64", 11),
    DType("float8_e4m3fn", 8, "float", "F8_E4M3", "float8_e4m3fn", 17),
    DType("float8_e4m3fnuz", 8, "float", "F8_E4M3FNUZ", "float8_e4m3fnuz", 18),
    DType("float8_e5m2", 8, "float", "F8_E5M2", "float8_e5m2", 19),
    DType("float8_e5m2fnuz", 8, "float", "F8_E5M2FNUZ", "float8_e5m2fnuz", 20),
    DType("float8_e8m0fnu", 8, "float", "F8_E8M0", "float8_e8m0fnu", 24),
    DType("float6_e2m3fn", 6, "float", "F6_E2M3", None, 27),
    DType("float6_e3m2fn", 6, "float", "F6_E3M2", None, 28),
    DType("float4_e2m1fn", 4, "float", "F4", "float4_e2m1fn_x2", 23),
    DType("complex32", 32, "complex", None, "complex32", None),
    DType("complex64", 64, "complex", "C64", "complex64", 14),
    DType("complex128", 128, "complex", None, "complex128", 15),
)

DTYPES: dict[str, DType] = {d.name: d for d in _TABLE}
BY_SAFETENSORS: dict[str, DType] = {d.safetensors: d for d in _TABLE if d.safetensors}
BY_TORCH: dict[str, DType] = {d.torch: d for d in _TABLE if d.torch}
BY_ONNX: dict[int, DType] = {d.onnx: d for d in _TABLE if d.onnx is not None}


def get(name: str) -> DType:
    """The dtype of that canonical name. Raises FormatError for a name not in the table."""
    try:
        return DTYPES[name]
    except KeyError:
        raise FormatError(f"unknown dtype {name!r}", advice=f"Known: {', '.join(DTYPES)}") from None


def of_numpy(dtype: np.dtype[Any]) -> DType:
    """The canonical dtype of a numpy (or ml_dtypes) type, whatever its byte order."""
    name = dtype.newbyteorder("=").name
    if name not in DTYPES:
        raise FormatError(f"numpy dtype {dtype!s} holds no numbers")
    return DTYPES[name]
