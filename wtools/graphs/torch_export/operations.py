"""Operations on tensors outside layers: keras.ops in Keras 3, TFOpLambda in Keras 2.

The tensors come as arguments, the rest as arguments (TensorFlow) or as the operation's config
(Keras 3); see graphs/operands.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import operands
from ..operands import ACTIVATIONS, LEFT, RIGHT, alike, given, tensor
from ..shapes import axes_of, broadcast, expanded, reduced, squeezed
from . import activations
from .call import TABLE, Call, Result, layer, operation
from .code import Value, listed, spelled, tupled
from .merging import joined
from .shapes import padded, permuted, reshaped, sliced


def texts_of(call: Call, *pairs: Sequence[str]) -> tuple[list[str], Value]:
    """The source of the operands, numbers and arrays among them, and a template of the result: of
    the broadcast shape, laid out as all of them."""
    found = [given(call, at, *names) for at, names in enumerate(pairs)]
    values = [value for value in found if isinstance(value, Value)]
    if not values:
        raise call.unsupported("no tensor among its operands")
    values, like = alike(call.b, values)
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
_REDUCTIONS = {"Mean": "mean", "Sum": "sum", "Max": "amax", "Min": "amin",
               "Logsumexp": "logsumexp", "Any": "any", "All": "all"}  # fmt: skip
_DTYPES = {"float16": "float32", "float32": "float32", "float64": "float32",
           "bfloat16": "float32", "int32": "int32", "int64": "int64", "bool": "bool"}  # fmt: skip


@operation(*_INFIX)
def infix(call: Call) -> Value:
    (one, other), like = texts_of(call, LEFT, RIGHT)
    return call.b.like(like, f"{one} {_INFIX[call.layer.kind]} {other}")


@operation("Maximum", "Minimum")
def extreme(call: Call) -> Value:
    (one, other), like = texts_of(call, LEFT, RIGHT)
    name, bound = ("maximum", "min") if call.layer.kind == "Maximum" else ("minimum", "max")
    pair = [given(call, 0, *LEFT), given(call, 1, *RIGHT)]
    for value, text, number in zip(pair[::-1], (one, other), (other, one), strict=True):
        if isinstance(value, (int, float)):
            return call.b.like(like, f"{text}.clamp({bound}={number})")
    return call.b.like(like, f"torch.{name}({one}, {other})")


@operation(*_COMPARISONS)
def comparison(call: Call) -> Value:
    (one, other), like = texts_of(call, LEFT, RIGHT)
    return call.b.like(like, f"{one} {_COMPARISONS[call.layer.kind]} {other}", dtype="bool")


@operation("Where")
def where(call: Call) -> Value:
    texts, like = texts_of(call, ("condition",), LEFT, RIGHT)
    pair = (given(call, 1, *LEFT), given(call, 2, *RIGHT))
    values = [value for value in pair if isinstance(value, Value)]
    dtype = values[0].dtype if values else "float32"
    return call.b.like(like, f"torch.where({', '.join(texts)})", dtype=dtype)


@operation(*_UNARY)
def unary(call: Call) -> Value:
    x = tensor(call)
    return call.b.like(x, f"torch.{_UNARY[call.layer.kind]}({x})")


_OTHERS = {"Mish": "mish"}


@operation(*ACTIVATIONS, *_OTHERS)
def activation(call: Call) -> Value:
    return activations.activate(call, tensor(call), (ACTIVATIONS | _OTHERS)[call.layer.kind])


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
    axes = axes_of(given(call, 1, "axis"), x.rank)
    keep = bool(given(call, 2, "keepdims", default=False))
    first = x.first and (keep or axes == list(range(1, x.rank - 1)))
    x = x if first else b.last(x)
    at = listed([b.axis(x, axis) for axis in axes])
    text = f"{x}.{_REDUCTIONS[call.layer.kind]}(dim=({at},){', keepdim=True' if keep else ''})"
    shape = reduced(x.shape, axes, keep)
    return b.like(x, text, shape=shape, first=first and keep, mask=None)


@operation("Reshape")
def reshape(call: Call) -> Value:
    x = tensor(call)
    return reshaped(call.b, x, operands.new_shape(call, x))


@operation("Transpose")
def transpose(call: Call) -> Value:
    x = call.b.last(tensor(call))
    return permuted(call.b, x, operands.transposed(call, x))


@operation("Swapaxes", "Moveaxis")
def swapaxes(call: Call) -> Value:
    x = call.b.last(tensor(call))
    return permuted(call.b, x, operands.swapped(call, x))


@operation("ExpandDims")
def expand_dims(call: Call) -> Value:
    x = call.b.last(tensor(call))
    axes, shape = expanded(x.shape, given(call, 1, "axis"))
    text = str(x) + "".join(f".unsqueeze({a})" for a in axes)
    return call.b.value(text, shape, x.dtype)


@operation("Squeeze")
def squeeze(call: Call) -> Value:
    x = call.b.last(tensor(call))
    axes, shape = squeezed(x.shape, given(call, 1, "axis"))
    return call.b.value(f"{x}.squeeze({tupled(axes)})", shape, x.dtype)


@operation("Concatenate", "Stack")
def concatenate(call: Call) -> Value:
    b = call.b
    values = operands.several(call)
    axis = int(given(call, 1, "axis", default=0))
    if call.layer.kind == "Concatenate":
        return joined(b, values, axis)
    values = [b.last(value) for value in values]
    shape = list(values[0].shape)
    shape.insert(axis % (len(shape) + 1), len(values))
    return b.value(f"torch.stack([{', '.join(map(str, values))}], dim={axis})", shape)


@operation("Split")
def split(call: Call) -> tuple[Value, ...]:
    b, x = call.b, tensor(call)
    parts, axis, shape = operands.split(call, x)
    made = tuple(b.new(shape, x.dtype, first=x.first) for _ in range(parts))
    text = f"{x}.chunk({parts}, dim={b.axis(x, axis)})"
    b.assign(f"({', '.join(map(str, made))},)", text, *made)
    return made


@operation("Tile")
def tile(call: Call) -> Value:
    x = call.b.last(tensor(call))
    repeats, shape = operands.tiled(call, x)
    return call.b.value(f"{x}.repeat({listed(repeats)})", shape, x.dtype)


@operation("Pad")
def pad(call: Call) -> Value:
    return padded(call.b, tensor(call), operands.around(call))


@operation("GetItem")
def get_item(call: Call) -> Value:
    """x[...] with slices, numbers, an ellipsis and new axes."""
    b, x = call.b, tensor(call)
    index = operands.index(call, x)
    y = sliced(b, x, index.cuts) if index.cuts else x
    if index.dropped or index.added:
        y = b.last(y)
        text = f"{y}.squeeze({tupled(index.dropped)})" if index.dropped else str(y)
        text += "".join(f".unsqueeze({axis})" for axis in index.added)
        y = b.value(text, index.reshaped(y.shape), y.dtype)
    return replace(y, mask=None)


@operation("Matmul")
def matmul(call: Call) -> Value:
    left, right, shape = operands.matrices(call, call.b)
    return call.b.value(f"{left} @ {right}", shape)


@operation("Einsum")
def einsum(call: Call) -> Value:
    equation, left, right, shape = operands.contraction(call, call.b)
    return call.b.value(f"torch.einsum({equation!r}, {left}, {right})", shape)


@operation("Identity", "StopGradient")
def identity(call: Call) -> Value:
    return tensor(call)


@layer("TFOpLambda", "SlicingOpLambda")
def tensorflow_operation(call: Call) -> Result:
    return operands.tensorflow_operation(call, TABLE)
