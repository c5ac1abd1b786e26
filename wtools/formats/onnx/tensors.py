"""Stored tensors to lazy data: which field holds the elements, and whether they are all there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...dtypes import DType
from ...errors import CorruptError, FormatError, WtoolsError
from ...files import RawData, Source
from ...tree import BLOCK, Array, Data, Storage
from .external import ExternalFiles
from .graph import StoredTensor
from .tensor_proto import TYPED
from .varints import Piece, numbers

STRING = 8
_FIELD = {"float32": 4, "complex64": 4, "float64": 10, "complex128": 10, "int64": 7,
          "uint32": 11, "uint64": 11}  # fmt: skip
_INT32_DATA = 5  # every other type


@dataclass(frozen=True, slots=True)
class Elements:
    """What a tensor is made of: shape, dtype, lazy data, and where its bytes lie if plainly."""

    shape: tuple[int, ...]
    dtype: str
    data: Data
    storage: Storage | None


class Tensors:
    """Makes the data of one model's tensors; all errors name the tensor."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.files = ExternalFiles(source)

    def elements(self, stored: StoredTensor, name: str) -> Elements:
        """Shape, dtype and lazy data of a numeric TensorProto, every claim checked.

        Raises CorruptError, FormatError, UnsafeError or MissingError.
        """
        try:
            return self._elements(stored)
        except WtoolsError as error:
            if error.place is None:
                error.place = f"{name!r} (byte {stored.at})"
            error.path = error.path or self.source.path
            raise

    def _elements(self, stored: StoredTensor) -> Elements:
        dtype = dtypes.BY_ONNX.get(stored.data_type)
        if dtype is None:
            raise CorruptError(f"element type {stored.data_type} is none of ONNX's")
        if stored.segmented:
            raise FormatError("the tensor is stored in segments, which no writer does")
        shape = stored.dims
        count = element_count(shape)
        nbytes = dtype.nbytes(count)
        present = _value_fields(stored)
        if len(present) > 1:
            raise CorruptError(f"two value fields: {' and '.join(present)}")
        if stored.external is not None:
            source, offset = self.files.place(stored.external, nbytes)
            return _plain(source, offset, shape, dtype)
        if stored.raw is not None and (stored.raw[1] > stored.raw[0] or not present):
            if stored.raw[1] - stored.raw[0] != nbytes:
                raise CorruptError(
                    f"raw_data has {stored.raw[1] - stored.raw[0]} bytes, "
                    f"shape {list(shape)} of {dtype.name} needs {nbytes}"
                )
            return _plain(self.source, stored.raw[0], shape, dtype)
        if not present:
            if count:
                raise CorruptError(f"no data, shape {list(shape)} needs {nbytes} bytes")
            return _plain(self.source, stored.at, shape, dtype)
        return self._typed(stored, shape, dtype, count)

    def _typed(
        self, stored: StoredTensor, shape: tuple[int, ...], dtype: DType, count: int
    ) -> Elements:
        if stored.strings:
            raise CorruptError(f"string_data where numbers of type {dtype.name} are expected")
        number, pieces = next((n, p) for n, p in stored.typed if _nbytes(p))
        wanted = _FIELD.get(dtype.name, _INT32_DATA)
        if number != wanted:
            raise CorruptError(f"{TYPED[number]} where {dtype.name} is in {TYPED[wanted]}")
        need = entries(dtype, count)
        low = sum(piece.bounds()[0] for piece in pieces)
        high = sum(piece.bounds()[1] for piece in pieces)
        if not low <= need <= high:
            have = f"{low} numbers" if low == high else f"at most {high} numbers"
            if need < low != high:
                have = f"at least {low} numbers"
            raise CorruptError(
                f"{TYPED[number]} has {have}, shape {list(shape)} of {dtype.name} needs {need}"
            )
        if len(pieces) == 1 and pieces[0].width and not pieces[0].tagged:
            return _plain(self.source, pieces[0].start, shape, dtype)
        data = TypedData(self.source, pieces, shape, dtype, stored.name)
        return Elements(shape, dtype.name, data, None)

    def close(self) -> None:
        self.files.close()


def element_count(shape: tuple[int, ...]) -> int:
    """The number of elements. Raises CorruptError for a negative or absurd dimension."""
    if any(n < 0 for n in shape):
        raise CorruptError(f"shape {list(shape)} has a negative dimension")
    count = math.prod(shape)
    if math.prod(n or 1 for n in shape) > 1 << 60:
        raise CorruptError(f"shape {list(shape)} is more than any file can hold")
    return count


def entries(dtype: DType, count: int) -> int:
    """How many numbers of a typed field stand for `count` elements."""
    if dtype.kind == "complex":
        return 2 * count
    per = {4: 2, 2: 4}.get(dtype.bits, 1) if dtype.packed else 1  # of int4 two in a number
    return -(-count // per)


def _value_fields(stored: StoredTensor) -> list[str]:
    """The names of the fields that hold data."""
    present = [TYPED[n] for n, pieces in stored.typed if _nbytes(pieces)]
    if stored.raw is not None and stored.raw[1] > stored.raw[0]:
        present.append("raw_data")
    if stored.external is not None:
        present.append("external_data")
    if stored.strings:
        present.append("string_data")
    return present


def _nbytes(pieces: tuple[Piece, ...]) -> int:
    return sum(piece.nbytes for piece in pieces)


def _plain(source: Source, offset: int, shape: tuple[int, ...], dtype: DType) -> Elements:
    data = RawData(source, offset, shape, dtype)
    return Elements(shape, dtype.name, data, data.storage())


@dataclass(frozen=True, eq=False)
class TypedData:
    """Elements in a typed field, or a list attribute, that are not plain bytes of the file."""

    source: Source
    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    dtype: DType
    name: str

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def read(self) -> Array:
        out = np.empty(self.count, self.dtype.numpy)
        start = 0
        for block in self._converted():
            out[start : start + block.size] = block
            start += block.size
        return out.reshape(self.shape)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        step = max(1, nbytes // self.dtype.numpy.itemsize)
        for block in self._converted():
            for start in range(0, block.size, step):
                yield block[start : start + step]

    def _converted(self) -> Iterator[Array]:
        """The elements as they are decoded. Raises CorruptError for too many or too few."""
        left = self.count
        packed = self.dtype.packed and self.dtype.bits in (2, 4)
        per = 8 // self.dtype.bits if packed else 1
        odd: NDArray[Any] | None = None  # half of a complex number
        for block in numbers(self.source, self.pieces):
            if self.dtype.kind == "complex":
                values = block if odd is None else np.concatenate([odd, block])
                whole = values.size // 2 * 2
                odd = values[whole:]
                here = values[:whole].view(self.dtype.numpy)
            elif packed:
                raw = self._narrow(block, np.dtype(np.uint8)).view(np.uint8)
                here = self.dtype.unpack(raw, min(left, raw.size * per))
                if raw.size * per - here.size >= per:
                    raise self._wrong("more")
            else:
                here = self._narrow(block, self.dtype.numpy)
            if here.size > left:
                raise self._wrong("more")
            left -= here.size
            yield here
        if left or (odd is not None and odd.size):
            raise self._wrong("fewer")

    def _narrow(self, block: NDArray[Any], dtype: np.dtype[Any]) -> Array:
        """Numbers to elements: floats by their bit pattern. CorruptError if one does not fit."""
        bits = 6 if self.dtype.bits == 6 else dtype.itemsize * 8
        if block.dtype.itemsize < 8 or bits == 64:
            return block.view(dtype)
        values = block.view(np.int64)
        if self.dtype.name not in _FIELD:  # int32_data: protobuf keeps the low 32 bits
            values = values.astype(np.int32)
        low, high = self._range(bits)
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            raise CorruptError(
                f"a number that is no {self.dtype.name}",
                path=self.source.path,
                place=repr(self.name),
            )
        return values.astype(f"u{dtype.itemsize}").view(dtype)

    def _range(self, bits: int) -> tuple[int, int]:
        """The numbers that may stand for an element (or for a byte of packed ones)."""
        if self.dtype.kind == "bool":
            return 0, 1
        if self.dtype.kind == "int" and not self.dtype.packed:
            return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        unsigned = self.dtype.kind == "uint" and not self.dtype.packed
        return 0 if unsigned or bits == 6 else -(1 << (bits - 1)), (1 << bits) - 1

    def _wrong(self, what: str) -> CorruptError:
        return CorruptError(
            f"holds {what} numbers than its shape {list(self.shape)} needs",
            path=self.source.path,
            place=repr(self.name),
        )
