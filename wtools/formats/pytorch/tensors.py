"""From the records of a pickle to Tensors, every claim checked against the bytes there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import dtypes as canonical
from ...dtypes import DType
from ...errors import CorruptError, FormatError, UnsafeError, WtoolsError
from ...files import Source
from ...tree import Array, MappedData, Quantization, Tensor
from . import dtypes, sparse
from .constructors import NUMBERS
from .places import InFile, InMemory, Place
from .strided import StridedData
from .values import ArrayValue, FileBytes, Global, StorageValue, TensorValue

_MOST = 1 << 63
# Overlapping elements (stride 0) may stand for this much, or for this many times their bytes.
OVERLAP_FLOOR, OVERLAP = 64 << 20, 16
Value = TensorValue | ArrayValue


@dataclass(frozen=True)
class Builder:
    """Makes the tensors of one file. `place` finds a storage's bytes or raises."""

    source: Source
    place: Callable[[StorageValue], Place]

    def make(self, name: str, value: Value, **fields: Any) -> Tensor | None:
        """The tensor, or None for an array that holds no numbers (or has no data at all).

        Raises CorruptError and UnsafeError that name the tensor.
        """
        try:
            if isinstance(value, ArrayValue):
                return self._array(name, value, fields)
            if value.layout in ("meta", "empty", "wrapper"):
                return None
            return self._tensor(name, value, fields)
        except WtoolsError as error:
            error.place = error.place or name
            error.path = error.path or self.source.path
            raise

    def _tensor(self, name: str, value: TensorValue, fields: dict[str, Any]) -> Tensor | None:
        if value.parameter or value.requires_grad:
            fields.setdefault("trainable", value.requires_grad)
        if value.layout == "cast":
            return self._cast(name, value, fields)
        if value.layout.startswith("sparse"):
            parts = [self._plain(name, part, {}) for part in value.parts]
            size = numbers("size", value.size)
            return sparse.tensor(
                name, self.source.path, value.layout, parts, size, _facts(value), fields
            )
        tensor = self._plain(name, value, fields)
        if value.layout == "nested":
            return replace(tensor, facts={**tensor.facts, "layout": "nested"})
        return tensor

    def _plain(self, name: str, value: Any, fields: dict[str, Any]) -> Tensor:
        """A strided tensor, its quantization and its conjugate or negative bit."""
        if not isinstance(value, TensorValue) or value.storage is None:
            raise CorruptError("a tensor without a storage", path=self.source.path)
        dtype = dtypes.canonical(value.dtype)
        if dtype is None:
            raise FormatError(f"elements of torch's type {value.dtype}", path=self.source.path)
        size, stride = numbers("size", value.size), numbers("stride", value.stride)
        (offset,) = numbers("offset", (value.offset,))
        if len(size) != len(stride):
            reason = f"{len(size)} sizes but {len(stride)} strides"
            raise CorruptError(reason, path=self.source.path)
        place, start = self._place(value.storage), offset + value.storage.start
        shape = size
        if dtype.name == "float4_e2m1fn":  # torch counts pairs
            shape = (*size[:-1], 2 * size[-1]) if size else (2,)
        facts = _facts(value)
        step = dtypes.unit(value.dtype)
        if value.dtype in ("quint4x2", "quint2x4"):
            tensor = self._sub_byte(name, value, place, size, dtype)
        else:
            span = self._extent(value, place, start, size, stride, step)
            if in_c_order(size, stride):
                data = place.data(start * step if span else 0, shape, dtype)
                storage = place.storage(start * step, span * step, None)
            else:
                data = StridedData(place, start * step, size, stride, dtype)
                storage = place.storage(start * step, span * step, stride)
                facts["strides"] = list(stride)
            tensor = Tensor(name, shape, dtype.name, data, storage=storage if span else None)
        if value.quantizer:
            quantization = self._quantization(name, value, shape)
            tensor = replace(tensor, quantization=quantization)
        if value.conj or value.neg:
            function = _conjugate_negative(value.conj, value.neg)
            tensor = replace(tensor, data=MappedData(tensor.data, function), storage=None)
        return replace(tensor, facts=facts, **fields)

    def _extent(
        self,
        value: TensorValue,
        place: Place,
        start: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        step: int,
    ) -> int:
        """Elements from the tensor's first to its last one, all of them inside the storage."""
        count = math.prod(size)
        if not count:
            return 0
        span = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if (start + span) * step > place.nbytes:
            raise CorruptError(
                f"reaches to byte {(start + span) * step} of a storage of {place.nbytes} bytes",
                path=self.source.path,
            )
        if count * step > max(OVERLAP_FLOOR, OVERLAP * span * step):
            raise UnsafeError(
                f"stretches {span * step} bytes to {count * step} by strides of 0",
                path=self.source.path,
            )
        return span

    def _place(self, storage: StorageValue) -> Place:
        """The storage's bytes. Raises CorruptError if there are fewer than it claims."""
        place = self.place(storage) if storage.place is None else storage.place
        claimed = storage.numel * dtypes.unit(storage.dtype or "uint8")
        if claimed > place.nbytes:
            raise CorruptError(
                f"its storage {storage.key!r} claims {claimed} bytes and has {place.nbytes}",
                path=self.source.path,
                advice="The file is probably cut short: copy or download it again.",
            )
        found: Place = place
        return found

    def _sub_byte(
        self, name: str, value: TensorValue, place: Place, size: tuple[int, ...], dtype: DType
    ) -> Tensor:
        """quint4x2, quint2x4: several elements in a byte, low bits first, rows not padded."""
        (offset,) = numbers("offset", (value.offset,))
        if offset or not in_c_order(size, numbers("stride", value.stride)):
            raise FormatError(f"a {value.dtype} tensor that is a view", path=self.source.path)
        nbytes = dtype.nbytes(math.prod(size))
        if nbytes > place.nbytes:
            reason = f"needs {nbytes} bytes of a storage of {place.nbytes}"
            raise CorruptError(reason, path=self.source.path)
        data, storage = place.data(0, size, dtype), place.storage(0, nbytes, None)
        return Tensor(name, size, dtype.name, data, storage=storage if nbytes else None)

    def _quantization(self, name: str, value: TensorValue, shape: tuple[int, ...]) -> Quantization:
        """What _rebuild_qtensor's quantizer_params say (torch/_utils.py)."""
        parts = value.quantizer if isinstance(value.quantizer, tuple) else ()
        scheme = parts[0] if len(parts) in (3, 4) else None
        kind = scheme.name if isinstance(scheme, Global) and scheme.module == "torch" else ""
        if kind.startswith("per_tensor") and len(parts) == 3:
            _, scale, zero = parts
            if not isinstance(scale, int | float) or not isinstance(zero, int):
                raise CorruptError("its scale is no number", path=self.source.path)
            scale = Tensor.of(f"{name}.scale", np.float32(scale))  # what torch multiplies by
            return Quantization(scale, Tensor.of(f"{name}.zero_point", np.int64(zero)))
        if not kind.startswith("per_channel") or len(parts) != 4:
            raise FormatError(f"quantised by {scheme}", path=self.source.path)
        _, scales, zeros, axis = parts
        if not isinstance(axis, int) or not 0 <= axis < len(shape):
            raise CorruptError(f"axis {axis} of {len(shape)}", path=self.source.path)
        scale = self._channel(f"{name}.scale", scales)
        zero_point = self._channel(f"{name}.zero_point", zeros)
        if scale.shape != (shape[axis],) or zero_point.shape != (shape[axis],):
            raise CorruptError(
                f"{scale.size} scales and {zero_point.size} zero points for {shape[axis]} channels",
                path=self.source.path,
            )
        return Quantization(scale, zero_point, axis)

    def _channel(self, name: str, values: Any) -> Tensor:
        if isinstance(values, list) and all(isinstance(v, int | float) for v in values):
            return Tensor.of(name, np.array(values, np.float64))
        return self._plain(name, values, {})

    def _cast(self, name: str, value: TensorValue, fields: dict[str, Any]) -> Tensor | None:
        """Data that left its device as another type (torch has no numpy bfloat16)."""
        inner = self.make(name, value.parts[0], **fields)
        dtype = dtypes.canonical(value.dtype)
        if inner is None or dtype is None:
            return None
        facts = {**inner.facts, **_facts(value)}
        if inner.dtype == dtype.name:
            return replace(inner, facts=facts)
        data = MappedData(inner.data, lambda block: block.astype(dtype.numpy))
        return replace(inner, dtype=dtype.name, data=data, storage=None, facts=facts)

    def _array(self, name: str, value: ArrayValue, fields: dict[str, Any]) -> Tensor | None:
        if value.buffer is None or not NUMBERS.fullmatch(value.dtype):
            return None
        dtype = canonical.of_numpy(np.dtype(value.dtype))
        shape = numbers("shape", value.shape)
        swapped = value.dtype.startswith(">")
        place: Place
        if isinstance(value.buffer, FileBytes):
            place = InFile(self.source, value.buffer.offset, value.buffer.nbytes, swapped)
        else:
            place = InMemory(value.buffer, swapped)
        nbytes = dtype.nbytes(math.prod(shape))
        if nbytes != place.nbytes:
            reason = f"an array of {nbytes} bytes with {place.nbytes} bytes of data"
            raise CorruptError(reason, path=self.source.path)
        storage = place.storage(0, nbytes, None) if nbytes else None
        if not value.fortran or len(shape) < 2 or not nbytes:
            data = place.data(0, shape, dtype)
            return Tensor(name, shape, dtype.name, data, storage=storage, **fields)
        strides = tuple(math.prod(shape[:axis]) for axis in range(len(shape)))
        strided = StridedData(place, 0, shape, strides, dtype)
        storage = place.storage(0, nbytes, strides)
        return Tensor(name, shape, dtype.name, strided, storage=storage, **fields)


def numbers(what: str, values: Any) -> tuple[int, ...]:
    """`values` as sizes, strides or offsets. Raises CorruptError for anything else."""
    if not isinstance(values, tuple | list) or len(values) > 64:
        raise CorruptError(f"its {what} is not a short tuple")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
            raise CorruptError(f"its {what} holds {str(value)[:40]}")
    return tuple(values)


def in_c_order(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Do the elements lie one after the other? Axes of length 1 may have any stride."""
    expected = 1
    for n, s in zip(reversed(size), reversed(stride), strict=True):
        if n != 1 and s != expected:
            return 0 in size
        expected *= n
    return True


def _conjugate_negative(conj: bool, neg: bool) -> Callable[[Array], Array]:
    def function(block: Array) -> Array:
        block = np.conj(block) if conj else block
        return np.negative(block) if neg else block

    return function


def _facts(value: TensorValue) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if value.device not in ("", "cpu"):
        facts["device"] = value.device
    dtype = dtypes.canonical(value.dtype)
    if dtype is not None and dtype.name != value.dtype:
        facts["torch_dtype"] = value.dtype
    if value.subclass:
        facts["class"] = value.subclass
    if value.whole and value.whole != value.size:
        facts["whole_shape"] = list(numbers("size", value.whole))
    return facts
