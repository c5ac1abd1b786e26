"""torch's element types in wtools' names.

The lists are those of torch/storage.py (`_dtype_to_storage_type_map`, `_new_dtypes`).
"""

from __future__ import annotations

from ... import dtypes
from ...dtypes import DType

# Typed storages of torch.save, by class name.
STORAGES: dict[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QInt32Storage": "qint32",
    "QUInt8Storage": "quint8",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "cfloat": "complex64",
    "cdouble": "complex128",
    "chalf": "complex32",
}
# Types that say how integers are meant, or that hold bits without a meaning.
_STORED_AS = {
    "qint8": "int8",
    "quint8": "uint8",
    "qint32": "int32",
    "quint4x2": "uint4",
    "quint2x4": "uint2",
    "bits8": "uint8",
    "bits16": "uint16",
    "bits1x8": "uint8",
    "bits2x4": "uint8",
    "bits4x2": "uint8",
}
NAMES = frozenset({*dtypes.BY_TORCH, *_STORED_AS, *ALIASES})


def canonical(name: str) -> DType | None:
    """wtools' dtype for torch's `name` ("qint8" is int8); None where there is none."""
    name = ALIASES.get(name, name)
    name = _STORED_AS.get(name, name)
    return dtypes.BY_TORCH.get(name) or dtypes.DTYPES.get(name)


def unit(name: str) -> int:
    """Bytes of what one step of a stride means: a byte holds several of the narrowest types."""
    dtype = canonical(name)
    return 1 if dtype is None else max(1, dtype.itemsize)
