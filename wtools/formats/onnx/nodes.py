"""The messages of a graph: nodes with their attributes, inputs and outputs (onnx/onnx.proto)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from .encode import Message, integer, put_length, text, varint
from .wire import FIXED32, LEN

_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 6, 7, 8
_TEXT = 8  # among the types of elements (TensorProto.DataType)


def node(
    op: str,
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Mapping[str, Any],
) -> Message:
    """A NodeProto, as the field of a GraphProto."""
    body = b"".join(text(1, value) for value in inputs)
    body += b"".join(text(2, value) for value in outputs)
    body += text(3, name) + text(4, op)
    body += b"".join(put_length(5, attribute(key, value)) for key, value in attributes.items())
    return Message(1, [body])


def attribute(name: str, value: Any) -> bytes:
    """The payload of an AttributeProto; the type of `value` says which kind."""
    head = text(1, name)
    if isinstance(value, np.ndarray):
        return head + put_length(5, _tensor(value)) + integer(20, _TENSOR)
    if isinstance(value, str):
        return head + text(4, value) + integer(20, _STRING)
    if isinstance(value, float):
        return head + _float(2, value) + integer(20, _FLOAT)
    if isinstance(value, int):
        return head + integer(3, int(value)) + integer(20, _INT)
    if all(isinstance(one, str) for one in value) and len(value):
        return head + b"".join(text(9, one) for one in value) + integer(20, _STRINGS)
    if any(isinstance(one, float) for one in value):
        return head + b"".join(_float(7, one) for one in value) + integer(20, _FLOATS)
    return head + b"".join(integer(8, one) for one in value) + integer(20, _INTS)


def _float(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED32) + struct.pack("<f", value)


def _tensor(array: Any) -> bytes:
    """A TensorProto without a name."""
    dtype = dtypes.of_numpy(array.dtype)
    head = b"".join(integer(1, n) for n in array.shape) + integer(2, dtype.onnx or 0)
    data = dtype.pack(array.reshape(-1)).tobytes()
    return head + varint(9 << 3 | LEN) + varint(len(data)) + data


def port(field: int, name: str, dtype: str, shape: Sequence[int | str | None]) -> Message:
    """A ValueInfoProto: an input (field 11) or output (12) of a graph. A str names a size.

    dtype: a canonical one, or "string".
    """
    sizes = b"".join(put_length(1, _size(n)) for n in shape)
    number = _TEXT if dtype == "string" else dtypes.get(dtype).onnx or 0
    kind = integer(1, number) + put_length(2, sizes)
    return Message(field, [text(1, name) + put_length(2, put_length(1, kind))])


def _size(size: int | str | None) -> bytes:
    if size is None:
        return b""
    return text(2, size) if isinstance(size, str) else integer(1, size)
