"""The exact table of calls that a pickle may make, and the inert values they return.

Argument orders are those of torch/_utils.py, torch/_tensor.py, torch/nn/parameter.py,
torch/jit/_pickle.py and numpy/_core/multiarray.py. Arguments are only recorded here; `tensors`
checks them once the tensor has a name to put into an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import dtypes
from .keys import Keys
from .values import (
    ArrayValue,
    Buffer,
    Dict,
    FileBytes,
    Global,
    NumpyDType,
    Object,
    StorageValue,
    TensorValue,
    Text,
)

NUMBERS = re.compile(r"[<>](\?|b1|[iu][1248]|f[248]|c8|c16)")  # numpy's plain dtypes
Table = dict[tuple[str, str], Callable[..., Any]]


def table(load_from_bytes: Callable[[Buffer], Any]) -> Callable[[Keys], Mapping[Any, Any]]:
    """The constructors; `load_from_bytes` reads the torch.save file inside a pickled storage."""

    def of(keys: Keys) -> Table:
        return {
            **_TABLE,
            ("torch.storage", "_load_from_bytes"): load_from_bytes,
            ("builtins", "set"): lambda items=(): set(map(keys.of, _sized(items))),
            ("builtins", "frozenset"): lambda items=(): frozenset(map(keys.of, _sized(items))),
            ("builtins", "dict"): lambda items=(): _dict(keys, items),
            ("collections", "OrderedDict"): lambda items=(): _dict(keys, items),
            ("collections", "Counter"): lambda items=(): _dict(keys, items),
            ("collections", "defaultdict"): lambda _=None, items=(): _dict(keys, items),
        }

    return of


def build(target: Any, state: Any) -> None:
    """What BUILD does to a record: torch's and numpy's `__setstate__`, without their effects."""
    if isinstance(target, TensorValue):
        _build_tensor(target, state)
    elif isinstance(target, ArrayValue):  # (version, shape, dtype, is Fortran, bytes)
        _, target.shape, dtype, target.fortran, buffer = state
        target.dtype = _numpy_dtype(dtype)
        target.buffer = _buffer(buffer)
    elif isinstance(target, NumpyDType):  # (version, byte order, ...)
        if state[1] in ("<", ">", "|", "="):
            target.order = state[1]
        if state[3] is not None or state[2] is not None:  # fields or a subarray: no plain numbers
            target.code = "V"


def _sized(items: Any) -> Any:
    if not isinstance(items, list | tuple | set | frozenset | dict):
        raise TypeError("not a plain collection")
    return items


def _dict(keys: Keys, items: Any) -> Dict:
    pairs = items.items() if isinstance(items, dict) else _sized(items)
    return Dict({keys.of(key): value for key, value in pairs})


# --- plain Python --------------------------------------------------------------------------------


def _bytes(value: Any = b"", encoding: str | None = None) -> bytes:
    if isinstance(value, str) and encoding is not None:
        return _encode(value, encoding)
    if not isinstance(value, bytes | bytearray):
        raise TypeError("bytes of a number could be any size")
    return bytes(value)


def _bytearray(value: Any = b"", encoding: str | None = None) -> Any:
    return value if isinstance(value, FileBytes) else bytearray(_bytes(value, encoding))


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    if encoding.lower().replace("-", "").replace("_", "") not in ("latin1", "utf8", "ascii"):
        raise ValueError("an encoding that pickle does not use")
    return text.encode(encoding)


def _complex(real: float = 0.0, imaginary: float = 0.0) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise TypeError("not two numbers")
    return complex(real, imaginary)


def _reconstructor(kind: Any, base: Any, state: Any) -> Any:
    """copyreg._reconstructor: how protocols 0 and 1 make a plain object."""
    if str(base) == "builtins.object":
        return Object(kind)
    return Dict() if str(base) in ("builtins.dict", "collections.OrderedDict") else Object(kind)


# --- torch: tensors ------------------------------------------------------------------------------


def dtype_name(dtype: Any) -> str:
    """ "float32" for torch.float32. Raises ValueError for what is no dtype of torch."""
    if isinstance(dtype, Global) and dtype.module == "torch" and dtype.name in dtypes.NAMES:
        return dtypes.ALIASES.get(dtype.name, dtype.name)
    raise ValueError(f"{dtype} is no dtype of torch")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> TensorValue:
    if not isinstance(storage, StorageValue):
        raise TypeError("a tensor without a storage")
    return TensorValue(
        storage=storage,
        offset=offset,
        size=size,
        stride=stride,
        dtype=storage.dtype or "uint8",
        device=storage.location,
    )


def _tensor_v2(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> TensorValue:
    tensor = _tensor(storage, offset, size, stride)
    tensor.requires_grad = requires_grad is True
    if isinstance(metadata, dict):
        tensor.conj = bool(metadata.get("conj"))
        tensor.neg = bool(metadata.get("neg"))
    return tensor


def _tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> TensorValue:
    tensor = _tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)
    tensor.dtype = dtype_name(dtype)
    return tensor


def _qtensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    quantizer: Any,
    requires_grad: Any = False,
    hooks: Any = None,
) -> TensorValue:
    tensor = _tensor_v2(storage, offset, size, stride, requires_grad)
    tensor.quantizer = quantizer
    return tensor


def _parameter(data: Any = None, requires_grad: Any = True, *_: Any) -> Any:
    """nn.Parameter, also as a class called without data and given it by BUILD."""
    if data is None:
        return TensorValue(layout="empty", parameter=True, requires_grad=requires_grad is True)
    if not isinstance(data, TensorValue):
        return Object(Global("torch.nn.parameter", "Parameter"), (data,))
    tensor = TensorValue()
    tensor.fill(data)
    tensor.parameter, tensor.requires_grad = True, requires_grad is True
    return tensor


def _buffer_parameter(data: Any = None, *_: Any) -> Any:
    return data if isinstance(data, TensorValue) else TensorValue(layout="empty")


def _build_tensor(tensor: TensorValue, state: Any) -> None:
    """Tensor.__setstate__: four values are a view of a storage, five an old Variable."""
    if isinstance(state, tuple) and len(state) == 4 and isinstance(state[0], StorageValue):
        tensor.fill(_tensor(*state))
    elif isinstance(state, tuple) and len(state) in (3, 5):
        if isinstance(state[0], TensorValue):
            tensor.fill(state[0])
        tensor.requires_grad = state[3 if len(state) == 5 else 0] is True


def _sparse(layout: Any, data: Any) -> TensorValue:
    if not isinstance(data, tuple) or not str(layout).startswith("torch.sparse_"):
        raise TypeError("not a sparse tensor")
    parts = data[:2] if str(layout) == "torch.sparse_coo" else data[:3]
    values = parts[-1]
    if not all(isinstance(part, TensorValue) for part in parts):
        raise TypeError("its parts are no tensors")
    return TensorValue(
        layout=str(layout)[len("torch.") :],
        size=data[len(parts)],
        dtype=values.dtype,
        device=values.device,
        parts=parts,
    )


def _nested(buffer: Any, sizes: Any, strides: Any, offsets: Any) -> TensorValue:
    tensor = TensorValue()
    tensor.fill(buffer)
    tensor.layout, tensor.parts = "nested", (sizes,)
    return tensor


def _meta(dtype: Any, size: Any, stride: Any, requires_grad: Any) -> TensorValue:
    name = dtype_name(dtype)
    return TensorValue(layout="meta", size=size, stride=stride, dtype=name, device="meta")


def _from_device(data: Any, dtype: Any, device: Any, requires_grad: Any) -> Any:
    """A tensor of a device that was copied out through the CPU or through numpy."""
    name = dtype_name(dtype)
    if not isinstance(data, TensorValue | ArrayValue):
        raise TypeError("no data")
    return TensorValue(
        layout="cast",
        dtype=name,
        device=str(device),
        requires_grad=requires_grad is True,
        parts=(data,),
    )


def _wrapper(
    kind: Any,
    dtype: Any,
    size: Any,
    stride: Any,
    offset: Any,
    layout: Any,
    device: Any,
    requires_grad: Any,
) -> TensorValue:
    return TensorValue(
        layout="wrapper",
        size=size,
        dtype=dtype_name(dtype),
        requires_grad=requires_grad is True,
        subclass=str(kind),
    )


def _from_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """torch._tensor._rebuild_from_type(_v2): a subclass, or a tensor with attributes."""
    known = _TABLE.get((function.module, function.name)) if isinstance(function, Global) else None
    if known is None or not isinstance(args, tuple):
        return Object(kind, args if isinstance(args, tuple) else (), state)
    tensor = known(*args)
    if not isinstance(tensor, TensorValue):
        return Object(kind, args, state)
    if str(kind) == "torch.nn.parameter.Parameter":
        tensor.parameter = True
    elif str(kind) not in ("torch.Tensor", "torch._tensor.Tensor"):
        tensor.subclass = str(kind)
    attributes = Object(kind, (), state).attributes
    local = attributes.get("_local_tensor")
    if isinstance(local, TensorValue) and tensor.layout == "wrapper":  # DTensor: one rank's part
        part = TensorValue()
        part.fill(local)
        part.whole, part.subclass, part.requires_grad = tensor.size, str(kind), tensor.requires_grad
        return part
    tensor.wrapper = attributes or ({"state": state} if isinstance(state, tuple) else {})
    return tensor


def _parameter_with_state(data: Any, requires_grad: Any, hooks: Any, state: Any) -> Any:
    return _parameter(data, requires_grad)


def _device(kind: str = "cpu", index: int | None = None) -> Text:
    return Text(kind if index is None else f"{kind}:{index:d}")


# --- numpy ---------------------------------------------------------------------------------------


def _new_dtype(code: Any, *_: Any) -> NumpyDType:
    if isinstance(code, bytes):
        code = code.decode("ascii")
    if not isinstance(code, str):
        return NumpyDType("V")
    order = code[0] if code[:1] in "<>" else "="
    return NumpyDType(code.lstrip("<>|="), order)


def _numpy_dtype(dtype: Any) -> str:
    if not isinstance(dtype, NumpyDType):
        raise TypeError("not a numpy dtype")
    return dtype.spelling


def _buffer(value: Any) -> Buffer | None:
    if isinstance(value, str):  # Python 2 bytes that happened to be UTF-8
        return value.encode("utf-8")
    return value if isinstance(value, bytes | bytearray | FileBytes) else None


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any = "C") -> ArrayValue:
    return ArrayValue(_numpy_dtype(dtype), shape, order == "F", _buffer(buffer))


def _scalar(dtype: Any, buffer: Any = None) -> Any:
    """A numpy number as Python's; anything else as an inert object."""
    raw = _buffer(buffer)
    spelling = _numpy_dtype(dtype)
    if not isinstance(raw, bytes) or not NUMBERS.fullmatch(spelling):
        return Object(Global("numpy", "scalar"), (spelling,))
    return np.frombuffer(raw, np.dtype(spelling), 1)[0].item()


def _graph_module(body: Any, *_: Any) -> Object:
    return Object(Global("torch.fx.graph_module", "GraphModule"), (), body)


def _same(value: Any = None, *_: Any) -> Any:
    return value


def _list(items: Any = (), *_: Any) -> list[Any]:
    return list(_sized(items))


_TABLE: Table = {
    ("builtins", "list"): _list,
    ("builtins", "tuple"): lambda items=(): tuple(_sized(items)),
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "complex"): _complex,
    ("builtins", "object"): lambda: Object(Global("builtins", "object")),
    ("collections", "deque"): _list,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copyreg", "__newobj__"): lambda kind, *args: Object(kind, args),
    ("torch", "Size"): lambda items=(): tuple(_sized(items)),
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): lambda name: Text(name),
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch.nn.parameter", "Buffer"): _buffer_parameter,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_qtensor"): _qtensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_nested_tensor"): _nested,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_device,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _from_device,
    ("torch._utils", "_rebuild_xla_tensor"): _from_device,
    ("torch._utils", "_rebuild_wrapper_subclass"): _wrapper,
    ("torch._tensor", "_rebuild_from_type"): _from_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.tensor", "_rebuild_from_type"): _from_type,  # the module's name until torch 1.8
    ("torch.jit._pickle", "build_intlist"): _same,
    ("torch.jit._pickle", "build_doublelist"): _same,
    ("torch.jit._pickle", "build_boollist"): _same,
    ("torch.jit._pickle", "build_tensorlist"): _same,
    ("torch.jit._pickle", "restore_type_tag"): _same,
    ("torch.fx.graph_module", "reduce_graph_module"): _graph_module,
    ("torch.fx.graph_module", "reduce_package_graph_module"): lambda _, *args: _graph_module(*args),
    ("numpy", "dtype"): _new_dtype,
    ("numpy", "ndarray"): lambda *_: ArrayValue(),
}
for _core in ("numpy.core", "numpy._core"):
    _TABLE[f"{_core}.multiarray", "_reconstruct"] = lambda *_: ArrayValue()
    _TABLE[f"{_core}.multiarray", "scalar"] = _scalar
    _TABLE[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte"):
    _TABLE["torch", f"{_kind}Tensor"] = lambda *_: TensorValue(layout="empty")
_TABLE["torch", "Tensor"] = lambda *_: TensorValue(layout="empty")
