"""Operations on tensors outside layers: keras.ops in Keras 3, TFOpLambda in Keras 2.

Keras 3 writes an operation as a layer of its class ("Multiply"), Keras 2 as a TFOpLambda with the
name of TensorFlow's function ("math.multiply"). The tensors come as arguments, the rest as
arguments (TensorFlow) or as the operation's config (Keras 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import activations
from .builder import Value
from .call import OPERATIONS, Call, layer, operation
from .merging import aligned, broadcast, joined
from .shapes import slices

_NUMPY_TO_ONNX = {"float32": 1, "float16": 1, "float64": 1, "bfloat16": 1, "int32": 6, "int64": 7}


def given(call: Call, at: int, *names: str, default: Any = None) -> Any:
    """Argument number `at`, or the one of those names, or the option of the config."""
    for name in names:
        value = call.argument(at, name)
        if value is not None:
            return value
        if call.layer.config.get(name) is not None and name != "name":
            return call.layer.config[name]
    return call.argument(at, names[0] if names else "", default)


def tensor(call: Call, at: int = 0, *names: str) -> Value:
    """That argument, which must be a tensor."""
    value = given(call, at, *(names or ("x", "input", "features", "logits", "inputs", "value")))
    if not isinstance(value, Value):
        raise call.unsupported(f"the operand {value!r}")
    return value


def operands(call: Call, *pairs: Sequence[str]) -> tuple[list[str], Value]:
    """The graph's names of the operands, numbers and arrays among them, and a template of the
    result: of the broadcast shape, laid out as all of them."""
    found = [given(call, at, *names) for at, names in enumerate(pairs)]
    dtypes = [value.dtype for value in found if isinstance(value, Value)]
    if not dtypes:
        raise call.unsupported("no tensor among its operands")
    return mixed(call, found, dtypes[0])


def mixed(call: Call, found: Sequence[Any], dtype: str) -> tuple[list[str], Value]:
    """As `operands`; numbers become constants of the dtype."""
    values = [value for value in found if isinstance(value, Value)]
    rank = max(value.rank for value in values)
    if any(value.rank < rank for value in values):
        values = [call.b.last(value) for value in values]
    else:
        values = aligned(call.b, values)
    like = next(value for value in values if value.rank == rank)
    names, shapes = [], []
    left = iter(values)
    for value in found:
        if isinstance(value, Value):
            value = next(left)
            names.append(value.name)
            shapes.append(value.shape)
        else:
            array = np.asarray(value)
            names.append(_constant(call, like, array, dtype))
            shapes.append(array.shape)
    return names, replace(like, shape=broadcast(*shapes), mask=None)


def _constant(call: Call, like: Value, array: Any, dtype: str) -> str:
    if array.dtype.kind not in "biuf" or (array.ndim and dtype != "float32"):
        raise call.unsupported(f"the operand {array!r}")
    if array.ndim:
        return call.b.array("operand", call.b.along(like, array))
    return call.b.constant(array.astype(dtype), np.dtype(dtype))


_BINARY = {
    "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "TrueDivide": "Div",
    "Power": "Pow", "Maximum": "Max", "Minimum": "Min",
}  # fmt: skip
_COMPARISONS = {
    "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
    "LessEqual": "LessOrEqual", "Equal": "Equal",
}  # fmt: skip
_UNARY = {
    "Abs": "Abs", "Absolute": "Abs", "Negative": "Neg", "Exp": "Exp", "Log": "Log",
    "Sqrt": "Sqrt", "Sin": "Sin", "Cos": "Cos", "Floor": "Floor", "Ceil": "Ceil", "Erf": "Erf",
    "Reciprocal": "Reciprocal", "Sign": "Sign", "Round": "Round", "Tan": "Tan",
}  # fmt: skip
_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Softplus": "softplus", "Softsign": "softsign", "Selu": "selu", "Silu": "silu",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid", "Mish": "mish", "TanhShrink": "tanh_shrink",
    "Squareplus": "squareplus", "SparseSigmoid": "sparse_sigmoid",
}  # fmt: skip
_REDUCTIONS = {"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin",
               "Prod": "ReduceProd", "Logsumexp": "ReduceLogSumExp"}  # fmt: skip
_LEFT, _RIGHT = ("x1", "x", "a"), ("x2", "y", "b")


@operation(*_BINARY)
def binary(call: Call) -> Value:
    names, like = operands(call, _LEFT, _RIGHT)
    return replace(like, name=call.b.node(_BINARY[call.layer.kind], *names))


@operation(*_COMPARISONS)
def comparison(call: Call) -> Value:
    names, like = operands(call, _LEFT, _RIGHT)
    return replace(like, name=call.b.node(_COMPARISONS[call.layer.kind], *names), dtype="bool")


@operation("NotEqual")
def not_equal(call: Call) -> Value:
    names, like = operands(call, _LEFT, _RIGHT)
    return replace(like, name=call.b.node("Not", call.b.node("Equal", *names)), dtype="bool")


_LOGICAL = {"LogicalAnd": "And", "LogicalOr": "Or", "LogicalXor": "Xor"}


@operation(*_LOGICAL)
def logical(call: Call) -> Value:
    names, like = operands(call, _LEFT, _RIGHT)
    if any(v.dtype != "bool" for v in (call.argument(0, "x1"), call.argument(1, "x2"))):
        raise call.unsupported("operands that are not booleans")
    return replace(like, name=call.b.node(_LOGICAL[call.layer.kind], *names))


@operation("LogicalNot")
def logical_not(call: Call) -> Value:
    x = tensor(call)
    if x.dtype != "bool":
        raise call.unsupported("an operand that is not boolean")
    return call.b.unary("Not", x)


@operation("Any", "All")
def any_all(call: Call) -> Value:
    """The maximum, or the minimum, of zeros and ones."""
    b, x = call.b, call.b.last(tensor(call))
    if x.dtype != "bool":
        raise call.unsupported("an operand that is not boolean")
    axes = axes_of(call, x, given(call, 1, "axis"))
    keep = bool(given(call, 2, "keepdims", default=False))
    op = "ReduceMax" if call.layer.kind == "Any" else "ReduceMin"
    number = b.node(op, b.node("Cast", x.name, to=1), b.constant(axes), keepdims=int(keep))
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes)
    return Value(b.node("Cast", number, to=9), shape, "bool")


@operation("Where")
def where(call: Call) -> Value:
    condition = tensor(call, 0, "condition")
    chosen = [given(call, 1, *_LEFT), given(call, 2, *_RIGHT)]
    values = [value for value in chosen if isinstance(value, Value)]
    if not values or condition.dtype != "bool":
        raise call.unsupported("such operands")
    names, like = mixed(call, [condition, *chosen], values[0].dtype)
    return replace(like, name=call.b.node("Where", *names), dtype=values[0].dtype)


@operation(*_UNARY)
def unary(call: Call) -> Value:
    return call.b.unary(_UNARY[call.layer.kind], tensor(call))


@operation("Square")
def square(call: Call) -> Value:
    x = tensor(call)
    return replace(x, name=call.b.node("Mul", x.name, x.name))


@operation("Rsqrt")
def rsqrt(call: Call) -> Value:
    return call.b.unary("Reciprocal", call.b.unary("Sqrt", tensor(call)))


@operation(*_ACTIVATIONS)
def activation(call: Call) -> Value:
    return activations.activate(call, tensor(call), _ACTIVATIONS[call.layer.kind])


@operation("ReLU")
def relu(call: Call) -> Value:
    """keras.activations.relu with its options, and tf.keras.backend.relu."""
    top = given(call, 2, "max_value")
    slope = given(call, 1, "negative_slope", "alpha", default=0.0)
    threshold = given(call, 3, "threshold", default=0.0)
    top = None if top is None else float(top)
    return activations.bounded_relu(call.b, tensor(call), top, float(slope), float(threshold))


@operation("Gelu")
def gelu(call: Call) -> Value:
    approximate = given(call, 1, "approximate", default=True)
    kind = {"approximate": "tanh"} if approximate else {}
    return call.b.unary("Gelu", tensor(call), **kind)


@operation("Elu", "Celu")
def elu(call: Call) -> Value:
    return call.b.unary(call.layer.kind, tensor(call), alpha=float(given(call, 1, "alpha") or 1.0))


@operation("LeakyRelu")
def leaky_relu(call: Call) -> Value:
    slope = given(call, 1, "negative_slope", "alpha", default=0.2)
    return call.b.unary("LeakyRelu", tensor(call), alpha=float(slope))


@operation("Softmax", "LogSoftmax")
def softmax(call: Call) -> Value:
    x = tensor(call)
    axis = given(call, 1, "axis", default=-1)
    return call.b.unary(call.layer.kind, x, axis=call.b.axis(x, int(axis)))


@operation("Clip")
def clip(call: Call) -> Value:
    low = given(call, 1, "x_min", "clip_value_min")
    high = given(call, 2, "x_max", "clip_value_max")
    if isinstance(low, Value) or isinstance(high, Value):
        raise call.unsupported("bounds that are tensors")
    ends = [None if end is None else float(end) for end in (low, high)]
    return activations.clip(call.b, tensor(call), *ends)


@operation("Cast")
def cast(call: Call) -> Value:
    x, dtype = tensor(call), given(call, 1, "dtype")
    if dtype not in _NUMPY_TO_ONNX:
        raise call.unsupported(f"dtype={dtype!r}")
    to = _NUMPY_TO_ONNX[dtype]
    name = {1: "float32", 6: "int32", 7: "int64"}[to]
    return x if name == x.dtype else replace(x, name=call.b.node("Cast", x.name, to=to), dtype=name)


# --- shapes -------------------------------------------------------------------------------------


def axes_of(call: Call, x: Value, axis: Any) -> list[int]:
    """Axes in Keras' order, positive; all of them for None."""
    if axis is None:
        return list(range(x.rank))
    listed = axis if isinstance(axis, (list, tuple)) else [axis]
    return sorted(int(a) % x.rank for a in listed)


@operation(*_REDUCTIONS)
def reduction(call: Call) -> Value:
    b, x = call.b, tensor(call, 0, "x", "input_tensor")
    axes = axes_of(call, x, given(call, 1, "axis"))
    keep = bool(given(call, 2, "keepdims", default=False))
    first = x.first and (keep or axes == list(range(1, x.rank - 1)))
    x = x if first else b.last(x)
    at = b.constant([b.axis(x, axis) for axis in axes])
    name = b.node(_REDUCTIONS[call.layer.kind], x.name, at, keepdims=int(keep))
    sizes = enumerate(x.shape)
    shape = tuple(1 if i in axes else n for i, n in sizes if keep or i not in axes)
    return replace(x, name=name, shape=shape, first=first and keep, mask=None)


@operation("Reshape")
def reshape(call: Call) -> Value:
    x, wanted = tensor(call), given(call, 1, "newshape", "shape")
    if not isinstance(wanted, (list, tuple)) or not all(
        n is None or type(n) is int for n in wanted
    ):
        raise call.unsupported(f"the shape {wanted!r}")
    if not wanted or wanted[0] not in (-1, None, x.shape[0]) or x.rank < 2:
        raise call.unsupported(f"a shape that moves the batch: {wanted!r}")
    rest = [n if n not in (-1, None) else None for n in wanted[1:]]
    return call.b.reshape(x, (x.shape[0], *rest))


@operation("Transpose")
def transpose(call: Call) -> Value:
    x = call.b.last(tensor(call))
    order = given(call, 1, "axes", "perm")
    order = list(range(x.rank))[::-1] if order is None else [int(i) % x.rank for i in order]
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@operation("Swapaxes", "Moveaxis")
def swapaxes(call: Call) -> Value:
    x = call.b.last(tensor(call))
    one, other = given(call, 1, "axis1", "source"), given(call, 2, "axis2", "destination")
    if type(one) is not int or type(other) is not int:
        raise call.unsupported(f"the axes {one!r} and {other!r}")
    order = list(range(x.rank))
    if call.layer.kind == "Swapaxes":
        order[one], order[other] = order[other], order[one]
    else:
        order.insert(other % x.rank, order.pop(one % x.rank))
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@operation("ExpandDims")
def expand_dims(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    axis = given(call, 1, "axis")
    listed = axis if isinstance(axis, (list, tuple)) else [axis]
    rank = x.rank + len(listed)
    axes = sorted(int(a) % rank for a in listed)
    sizes = iter(x.shape)
    shape = tuple(1 if i in axes else next(sizes) for i in range(rank))
    return Value(b.node("Unsqueeze", x.name, b.constant(axes)), shape, x.dtype)


@operation("Squeeze")
def squeeze(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    axis = given(call, 1, "axis")
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else axes_of(call, x, axis)
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return Value(b.node("Squeeze", x.name, b.constant(axes)), shape, x.dtype)


@operation("Concatenate", "Stack")
def concatenate(call: Call) -> Value:
    b = call.b
    values = given(call, 0, "xs", "x", "values")
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, Value) for v in values):
        raise call.unsupported("such operands")
    axis = int(given(call, 1, "axis", default=0))
    if call.layer.kind == "Concatenate":
        return joined(b, list(values), axis)
    rank = values[0].rank + 1
    wide = []
    for value in map(b.last, values):
        shape = [*value.shape]
        shape.insert(axis % rank, 1)
        name = b.node("Unsqueeze", value.name, b.constant([axis % rank]))
        wide.append(Value(name, tuple(shape), value.dtype))
    return joined(b, wide, axis)


@operation("Split")
def split(call: Call) -> tuple[Value, ...]:
    b, x = call.b, tensor(call)
    parts = given(call, 1, "indices_or_sections", "num_or_size_splits")
    axis = int(given(call, 2, "axis", default=0)) % x.rank
    size = x.shape[axis]
    if type(parts) is not int or size is None or size % parts:
        raise call.unsupported(f"{parts!r} parts of an axis of {size}")
    names = b.nodes("Split", [x.name], parts, axis=b.axis(x, axis), num_outputs=parts)
    shape = (*x.shape[:axis], size // parts, *x.shape[axis + 1 :])
    return tuple(replace(x, name=name, shape=shape, mask=None) for name in names)


@operation("Tile")
def tile(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    repeats = given(call, 1, "repeats", "multiples")
    repeats = [repeats] if type(repeats) is int else list(repeats)
    if len(repeats) > x.rank:
        raise call.unsupported(f"repeats={repeats!r}")
    repeats = [1] * (x.rank - len(repeats)) + repeats
    shape = tuple(None if n is None else n * r for n, r in zip(x.shape, repeats, strict=True))
    return Value(b.node("Tile", x.name, b.constant(repeats)), shape, x.dtype)


@operation("Pad")
def pad(call: Call) -> Value:
    b, x = call.b, tensor(call)
    around = given(call, 1, "pad_width", "paddings")
    mode = str(given(call, 2, "mode", default="constant")).lower()
    if mode != "constant" or given(call, 3, "constant_values", default=0) != 0:
        raise call.unsupported(f"mode={mode!r}")
    pads = [[0] * x.rank, [0] * x.rank]
    shape = list(x.shape)
    for axis, (before, after) in enumerate(around):
        pads[0][b.axis(x, axis)], pads[1][b.axis(x, axis)] = int(before), int(after)
        size = shape[axis]
        shape[axis] = None if size is None else size + int(before) + int(after)
    name = b.node("Pad", x.name, b.constant(pads[0] + pads[1]))
    return replace(x, name=name, shape=tuple(shape), mask=None)


@operation("GetItem")
def get_item(call: Call) -> Value:
    """x[...] with slices, numbers, an ellipsis and new axes."""
    b, x = call.b, tensor(call)
    key = given(call, 1, "key", "slice_spec")
    key = list(key) if isinstance(key, (list, tuple)) else [key]
    key = [_slice(call, one) for one in key]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        rest = sum(1 for k in key if k is not None and k is not Ellipsis)
        key[at : at + 1] = [slice(None)] * (x.rank - rest)
    cuts: dict[int, tuple[int | None, int | None, int | None]] = {}
    dropped: list[int] = []
    added: list[int] = []
    axis = 0
    for at, one in enumerate(key):
        if one is None:
            added.append(at - len(dropped))
        elif isinstance(one, slice):
            if one != slice(None):
                cuts[axis] = (one.start, one.stop, one.step)
            axis += 1
        else:
            cuts[axis] = (one, one + 1 if one != -1 else None, 1)
            dropped.append(axis)
            axis += 1
    y = slices(call, x, cuts) if cuts else x
    if dropped or added:
        y = b.last(y)
        shape = [n for i, n in enumerate(y.shape) if i not in dropped]
        name = b.node("Squeeze", y.name, b.constant(dropped)) if dropped else y.name
        for axis in added:
            shape.insert(axis, 1)
        name = b.node("Unsqueeze", name, b.constant(added)) if added else name
        y = Value(name, tuple(shape), y.dtype)
    return replace(y, mask=None)


def _slice(call: Call, one: Any) -> Any:
    if isinstance(one, dict) and "start" in one:
        one = slice(one.get("start"), one.get("stop"), one.get("step"))
    ends = [one.start, one.stop, one.step] if isinstance(one, slice) else [one]
    if one is not Ellipsis and not all(end is None or type(end) is int for end in ends):
        raise call.unsupported(f"the index {one!r}")
    return one


@operation("Matmul")
def matmul(call: Call) -> Value:
    b = call.b
    left, right = b.last(tensor(call, 0, *_LEFT)), b.last(tensor(call, 1, *_RIGHT))
    if left.rank < 2 or right.rank < 2:
        raise call.unsupported("a vector")
    if any(given(call, 2, name, default=False) for name in ("transpose_a", "transpose_b")):
        raise call.unsupported("transpose_a or transpose_b")
    outer = broadcast(left.shape[:-2], right.shape[:-2]) if left.rank + right.rank > 4 else ()
    shape = (*outer, left.shape[-2], right.shape[-1])
    return Value(b.node("MatMul", left.name, right.name), shape)


@operation("Identity", "StopGradient")
def identity(call: Call) -> Value:
    return tensor(call)


# TensorFlow's functions -> the operation
_TENSORFLOW = {
    "math.add": "Add", "__operators__.add": "Add", "math.subtract": "Subtract",
    "math.multiply": "Multiply", "math.divide": "Divide", "math.truediv": "Divide",
    "math.pow": "Power", "math.maximum": "Maximum", "math.minimum": "Minimum",
    "math.abs": "Abs", "math.negative": "Negative", "math.exp": "Exp", "math.log": "Log",
    "math.sqrt": "Sqrt", "math.rsqrt": "Rsqrt", "math.square": "Square", "math.sin": "Sin",
    "math.cos": "Cos", "math.sigmoid": "Sigmoid", "nn.sigmoid": "Sigmoid", "math.tanh": "Tanh",
    "nn.tanh": "Tanh", "nn.relu": "Relu", "nn.relu6": "Relu6", "nn.elu": "Elu",
    "nn.selu": "Selu", "nn.silu": "Silu", "nn.swish": "Silu", "nn.softmax": "Softmax",
    "nn.log_softmax": "LogSoftmax", "nn.leaky_relu": "LeakyRelu", "nn.softplus": "Softplus",
    "math.softplus": "Softplus", "nn.gelu": "Gelu", "clip_by_value": "Clip", "cast": "Cast",
    "math.reduce_mean": "Mean", "math.reduce_sum": "Sum", "math.reduce_max": "Max",
    "math.reduce_min": "Min", "reshape": "Reshape", "transpose": "Transpose",
    "expand_dims": "ExpandDims", "squeeze": "Squeeze", "concat": "Concatenate", "stack": "Stack",
    "split": "Split", "tile": "Tile", "pad": "Pad", "identity": "Identity",
    "__operators__.getitem": "GetItem", "linalg.matmul": "Matmul", "keras.backend.relu": "ReLU",
    "stop_gradient": "StopGradient", "math.greater": "Greater", "where": "Where",
    "math.not_equal": "NotEqual", "math.equal": "Equal", "math.less": "Less",
    "math.logical_and": "LogicalAnd", "math.logical_or": "LogicalOr",
    "math.logical_not": "LogicalNot", "math.reduce_any": "Any", "math.reduce_all": "All",
}  # fmt: skip


@layer("TFOpLambda", "SlicingOpLambda")
def tensorflow_operation(call: Call) -> Any:
    name = call.text("function").removeprefix("compat.v1.")
    if name not in _TENSORFLOW:
        raise call.unsupported(f"the function {name!r}")
    kind = _TENSORFLOW[name]
    kwargs = {key: value for key, value in call.kwargs.items() if value is not None}
    if kind == "LeakyRelu":
        kwargs.setdefault("alpha", 0.2)
    if kind == "Gelu":
        kwargs.setdefault("approximate", False)
    return OPERATIONS[kind](
        replace(call, layer=replace(call.layer, kind=kind, config={}), kwargs=kwargs)
    )
