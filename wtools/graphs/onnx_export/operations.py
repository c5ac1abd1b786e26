"""Operations on tensors outside layers: keras.ops in Keras 3, TFOpLambda in Keras 2.

See graphs/operands.py for what they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..operands import ACTIVATIONS, LEFT, RIGHT, alike, given, tensor
from ..shapes import axes_of, broadcast, reduced
from . import activations
from .builder import Value
from .call import Call, operation

_NUMPY_TO_ONNX = {"float32": 1, "float16": 1, "float64": 1, "bfloat16": 1, "int32": 6, "int64": 7}


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
    values, like = alike(call.b, [value for value in found if isinstance(value, Value)])
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


@operation(*_BINARY)
def binary(call: Call) -> Value:
    names, like = operands(call, LEFT, RIGHT)
    return replace(like, name=call.b.node(_BINARY[call.layer.kind], *names))


@operation(*_COMPARISONS)
def comparison(call: Call) -> Value:
    names, like = operands(call, LEFT, RIGHT)
    return replace(like, name=call.b.node(_COMPARISONS[call.layer.kind], *names), dtype="bool")


@operation("NotEqual")
def not_equal(call: Call) -> Value:
    names, like = operands(call, LEFT, RIGHT)
    return replace(like, name=call.b.node("Not", call.b.node("Equal", *names)), dtype="bool")


_LOGICAL = {"LogicalAnd": "And", "LogicalOr": "Or", "LogicalXor": "Xor"}


@operation(*_LOGICAL)
def logical(call: Call) -> Value:
    names, like = operands(call, LEFT, RIGHT)
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
    axes = axes_of(given(call, 1, "axis"), x.rank)
    keep = bool(given(call, 2, "keepdims", default=False))
    op = "ReduceMax" if call.layer.kind == "Any" else "ReduceMin"
    number = b.node(op, b.node("Cast", x.name, to=1), b.constant(axes), keepdims=int(keep))
    return Value(b.node("Cast", number, to=9), reduced(x.shape, axes, keep), "bool")


@operation("Where")
def where(call: Call) -> Value:
    condition = tensor(call, 0, "condition")
    chosen = [given(call, 1, *LEFT), given(call, 2, *RIGHT)]
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


@operation(*ACTIVATIONS)
def activation(call: Call) -> Value:
    return activations.activate(call, tensor(call), ACTIVATIONS[call.layer.kind])


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
