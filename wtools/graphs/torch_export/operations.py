"""Operations on tensors outside layers: keras.ops in Keras 3, TFOpLambda in Keras 2.

The tensors come as arguments, the rest as arguments (TensorFlow) or as the operation's config
(Keras 3); see onnx_export/operations.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..onnx_export.merging import broadcast
from . import activations
from .call import OPERATIONS, Call, layer, operation
from .code import Value, listed, spelled, tupled
from .merging import aligned, joined
from .shapes import padded, permuted, reshaped, sliced

_LEFT, _RIGHT = ("x1", "x", "a"), ("x2", "y", "b")
_FIRST = ("x", "input", "features", "logits", "inputs", "value", "input_tensor")


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
    value = given(call, at, *(names or _FIRST))
    if not isinstance(value, Value):
        raise call.unsupported(f"the operand {value!r}")
    return value


def operands(call: Call, *pairs: Sequence[str]) -> tuple[list[str], Value]:
    """The source of the operands, numbers and arrays among them, and a template of the result: of
    the broadcast shape, laid out as all of them."""
    found = [given(call, at, *names) for at, names in enumerate(pairs)]
    values = [value for value in found if isinstance(value, Value)]
    if not values:
        raise call.unsupported("no tensor among its operands")
    rank = max(value.rank for value in values)
    if any(value.rank < rank for value in values):
        values = [call.b.last(value) for value in values]
    else:
        values = aligned(call.b, values)
    like = next(value for value in values if value.rank == rank)
    texts: list[str] = []
    shapes: list[Any] = []
    left = iter(values)
    for one in found:
        if isinstance(one, Value):
            value = next(left)
            texts.append(str(value))
            shapes.append(value.shape)
            continue
        array = np.asarray(one)
        if array.dtype.kind not in "biuf":
            raise call.unsupported(f"the operand {one!r}")
        shapes.append(array.shape)
        if not array.ndim:
            texts.append(spelled(array.item()))
        else:
            laid = call.b.along(like, np.asarray(array, np.float32))
            texts.append(call.b.constant(f"operand_{len(texts)}", laid))
    return texts, replace(like, shape=broadcast(*shapes), mask=None)


_INFIX = {
    "Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "TrueDivide": "/", "Power": "**",
}  # fmt: skip
_COMPARISONS = {
    "Greater": ">", "GreaterEqual": ">=", "Less": "<", "LessEqual": "<=", "Equal": "==",
    "NotEqual": "!=", "LogicalAnd": "&", "LogicalOr": "|", "LogicalXor": "^",
}  # fmt: skip
_UNARY = {
    "Abs": "abs", "Absolute": "abs", "Negative": "neg", "Exp": "exp", "Log": "log",
    "Sqrt": "sqrt", "Rsqrt": "rsqrt", "Square": "square", "Sin": "sin", "Cos": "cos",
    "Floor": "floor", "Ceil": "ceil", "Erf": "erf", "Reciprocal": "reciprocal", "Sign": "sign",
    "Round": "round", "Tan": "tan", "LogicalNot": "logical_not",
}  # fmt: skip
_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Softplus": "softplus", "Softsign": "softsign", "Selu": "selu", "Silu": "silu",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid", "Mish": "mish", "TanhShrink": "tanh_shrink",
    "Squareplus": "squareplus", "SparseSigmoid": "sparse_sigmoid",
}  # fmt: skip
_REDUCTIONS = {"Mean": "mean", "Sum": "sum", "Max": "amax", "Min": "amin",
               "Logsumexp": "logsumexp", "Any": "any", "All": "all"}  # fmt: skip
_DTYPES = {"float16": "float32", "float32": "float32", "float64": "float32",
           "bfloat16": "float32", "int32": "int32", "int64": "int64", "bool": "bool"}  # fmt: skip


@operation(*_INFIX)
def infix(call: Call) -> Value:
    (one, other), like = operands(call, _LEFT, _RIGHT)
    return call.b.like(like, f"{one} {_INFIX[call.layer.kind]} {other}")


@operation("Maximum", "Minimum")
def extreme(call: Call) -> Value:
    (one, other), like = operands(call, _LEFT, _RIGHT)
    name, bound = ("maximum", "min") if call.layer.kind == "Maximum" else ("minimum", "max")
    pair = [given(call, 0, *_LEFT), given(call, 1, *_RIGHT)]
    for value, text, number in zip(pair[::-1], (one, other), (other, one), strict=True):
        if isinstance(value, (int, float)):
            return call.b.like(like, f"{text}.clamp({bound}={number})")
    return call.b.like(like, f"torch.{name}({one}, {other})")


@operation(*_COMPARISONS)
def comparison(call: Call) -> Value:
    (one, other), like = operands(call, _LEFT, _RIGHT)
    return call.b.like(like, f"{one} {_COMPARISONS[call.layer.kind]} {other}", dtype="bool")


@operation("Where")
def where(call: Call) -> Value:
    texts, like = operands(call, ("condition",), _LEFT, _RIGHT)
    pair = (given(call, 1, *_LEFT), given(call, 2, *_RIGHT))
    values = [value for value in pair if isinstance(value, Value)]
    dtype = values[0].dtype if values else "float32"
    return call.b.like(like, f"torch.where({', '.join(texts)})", dtype=dtype)


@operation(*_UNARY)
def unary(call: Call) -> Value:
    x = tensor(call)
    return call.b.like(x, f"torch.{_UNARY[call.layer.kind]}({x})")


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
    x = tensor(call)
    tanh = given(call, 1, "approximate", default=True)
    return call.b.like(x, f"F.gelu({x}, approximate='tanh')" if tanh else f"F.gelu({x})")


@operation("Elu", "Celu")
def elu(call: Call) -> Value:
    x = tensor(call)
    alpha = spelled(float(given(call, 1, "alpha") or 1.0))
    return call.b.like(x, f"F.{call.layer.kind.lower()}({x}, {alpha})")


@operation("LeakyRelu")
def leaky_relu(call: Call) -> Value:
    x = tensor(call)
    slope = given(call, 1, "negative_slope", "alpha", default=0.2)
    return call.b.like(x, f"F.leaky_relu({x}, {spelled(float(slope))})")


@operation("Softmax", "LogSoftmax")
def softmax(call: Call) -> Value:
    x = tensor(call)
    axis = call.b.axis(x, int(given(call, 1, "axis", default=-1)))
    name = "softmax" if call.layer.kind == "Softmax" else "log_softmax"
    return call.b.like(x, f"F.{name}({x}, dim={axis})")


@operation("Clip")
def clip(call: Call) -> Value:
    x = tensor(call)
    low, high = given(call, 1, "x_min", "clip_value_min"), given(call, 2, "x_max", "clip_value_max")
    if isinstance(low, Value) or isinstance(high, Value):
        raise call.unsupported("bounds that are tensors")
    return call.b.like(x, f"{x}.clamp({spelled(low)}, {spelled(high)})")


@operation("Cast")
def cast(call: Call) -> Value:
    x, dtype = tensor(call), given(call, 1, "dtype")
    if dtype not in _DTYPES:
        raise call.unsupported(f"dtype={dtype!r}")
    name = _DTYPES[dtype]
    return x if name == x.dtype else call.b.like(x, f"{x}.to(torch.{name})", dtype=name)


# --- shapes -------------------------------------------------------------------------------------


@operation(*_REDUCTIONS)
def reduction(call: Call) -> Value:
    b, x = call.b, tensor(call)
    axis = given(call, 1, "axis")
    if axis is None:
        axis = list(range(x.rank))
    axes = sorted(int(a) % x.rank for a in (axis if isinstance(axis, (list, tuple)) else [axis]))
    keep = bool(given(call, 2, "keepdims", default=False))
    first = x.first and (keep or axes == list(range(1, x.rank - 1)))
    x = x if first else b.last(x)
    at = listed([b.axis(x, axis) for axis in axes])
    text = f"{x}.{_REDUCTIONS[call.layer.kind]}(dim=({at},){', keepdim=True' if keep else ''})"
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes)
    return b.like(x, text, shape=shape, first=first and keep, mask=None)


@operation("Reshape")
def reshape(call: Call) -> Value:
    x, wanted = tensor(call), given(call, 1, "newshape", "shape")
    numbers = isinstance(wanted, (list, tuple)) and all(n is None or type(n) is int for n in wanted)
    if not numbers or not wanted or wanted[0] not in (-1, None, x.shape[0]) or x.rank < 2:
        raise call.unsupported(f"the shape {wanted!r}")
    return reshaped(call.b, x, (x.shape[0], *(None if n == -1 else n for n in wanted[1:])))


@operation("Transpose")
def transpose(call: Call) -> Value:
    x = call.b.last(tensor(call))
    order = given(call, 1, "axes", "perm")
    order = range(x.rank)[::-1] if order is None else [int(i) % x.rank for i in order]
    return permuted(call.b, x, list(order))


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
    return permuted(call.b, x, order)


@operation("ExpandDims")
def expand_dims(call: Call) -> Value:
    x, axis = call.b.last(tensor(call)), given(call, 1, "axis")
    listed_axes = axis if isinstance(axis, (list, tuple)) else [axis]
    rank = x.rank + len(listed_axes)
    axes = sorted(int(a) % rank for a in listed_axes)
    sizes = iter(x.shape)
    shape = tuple(1 if i in axes else next(sizes) for i in range(rank))
    text = str(x) + "".join(f".unsqueeze({a})" for a in axes)
    return call.b.value(text, shape, x.dtype)


@operation("Squeeze")
def squeeze(call: Call) -> Value:
    x, axis = call.b.last(tensor(call)), given(call, 1, "axis")
    if axis is None:
        axis = [i for i, n in enumerate(x.shape) if n == 1]
    axes = {int(a) % x.rank for a in (axis if isinstance(axis, (list, tuple)) else [axis])}
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return call.b.value(f"{x}.squeeze({tupled(sorted(axes))})", shape, x.dtype)


@operation("Concatenate", "Stack")
def concatenate(call: Call) -> Value:
    b = call.b
    values = given(call, 0, "xs", "x", "values")
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, Value) for v in values):
        raise call.unsupported("such operands")
    axis = int(given(call, 1, "axis", default=0))
    if call.layer.kind == "Concatenate":
        return joined(b, list(values), axis)
    values = [b.last(value) for value in values]
    shape = list(values[0].shape)
    shape.insert(axis % (len(shape) + 1), len(values))
    return b.value(f"torch.stack([{', '.join(map(str, values))}], dim={axis})", shape)


@operation("Split")
def split(call: Call) -> tuple[Value, ...]:
    b, x = call.b, tensor(call)
    parts = given(call, 1, "indices_or_sections", "num_or_size_splits")
    axis = int(given(call, 2, "axis", default=0)) % x.rank
    size = x.shape[axis]
    if type(parts) is not int or size is None or size % parts:
        raise call.unsupported(f"{parts!r} parts of an axis of {size}")
    shape = (*x.shape[:axis], size // parts, *x.shape[axis + 1 :])
    made = tuple(b.new(shape, x.dtype, first=x.first) for _ in range(parts))
    text = f"{x}.chunk({parts}, dim={b.axis(x, axis)})"
    b.assign(f"({', '.join(map(str, made))},)", text, *made)
    return made


@operation("Tile")
def tile(call: Call) -> Value:
    x = call.b.last(tensor(call))
    repeats = given(call, 1, "repeats", "multiples")
    repeats = [repeats] if type(repeats) is int else [int(n) for n in repeats]
    if len(repeats) > x.rank:
        raise call.unsupported(f"repeats={repeats!r}")
    repeats = [1] * (x.rank - len(repeats)) + repeats
    shape = tuple(None if n is None else n * r for n, r in zip(x.shape, repeats, strict=True))
    return call.b.value(f"{x}.repeat({listed(repeats)})", shape, x.dtype)


@operation("Pad")
def pad(call: Call) -> Value:
    x, around = tensor(call), given(call, 1, "pad_width", "paddings")
    mode = str(given(call, 2, "mode", default="constant")).lower()
    if mode != "constant" or given(call, 3, "constant_values", default=0) != 0:
        raise call.unsupported(f"mode={mode!r}")
    pairs = {axis: (int(before), int(after)) for axis, (before, after) in enumerate(around)}
    return padded(call.b, x, pairs)


@operation("GetItem")
def get_item(call: Call) -> Value:
    """x[...] with slices, numbers, an ellipsis and new axes."""
    b, x = call.b, tensor(call)
    key = given(call, 1, "key", "slice_spec")
    key = [_index(call, one) for one in (key if isinstance(key, (list, tuple)) else [key])]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        rest = sum(1 for k in key if k is not None and k is not Ellipsis)
        key[at : at + 1] = [slice(None)] * (x.rank - rest)
    cuts: dict[int, slice] = {}
    dropped: list[int] = []
    added: list[int] = []
    axis = 0
    for at, one in enumerate(key):
        if one is None:
            added.append(at - len(dropped))
            continue
        if not isinstance(one, slice):
            dropped.append(axis)
            cuts[axis] = slice(one, one + 1 if one != -1 else None)
        elif one != slice(None):
            cuts[axis] = one
        axis += 1
    y = sliced(b, x, cuts) if cuts else x
    if dropped or added:
        y = b.last(y)
        shape = [n for i, n in enumerate(y.shape) if i not in dropped]
        text = f"{y}.squeeze({tupled(dropped)})" if dropped else str(y)
        for axis in added:
            shape.insert(axis, 1)
            text += f".unsqueeze({axis})"
        y = b.value(text, shape, y.dtype)
    return replace(y, mask=None)


def _index(call: Call, one: Any) -> Any:
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
    return b.value(f"{left} @ {right}", (*outer, left.shape[-2], right.shape[-1]))


@operation("Identity", "StopGradient")
def identity(call: Call) -> Value:
    return tensor(call)


@layer("TFOpLambda", "SlicingOpLambda")
def tensorflow_operation(call: Call) -> Any:
    from ..tensorflow_functions import operation_of

    kind = operation_of(call.text("function"))
    if kind not in OPERATIONS:
        raise call.unsupported(f"the function {call.text('function')!r}")
    kwargs = {key: value for key, value in call.kwargs.items() if value is not None}
    if kind == "LeakyRelu":
        kwargs.setdefault("alpha", 0.2)
    if kind == "Gelu":
        kwargs.setdefault("approximate", False)
    inner = replace(call.layer, kind=kind, config={})
    return OPERATIONS[kind](replace(call, layer=inner, kwargs=kwargs))
