"""Activations, as layers and as options of layers (keras/src/activations, keras/src/layers)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir import Layer
from .builder import Builder, Value
from .call import LAYERS, Call, layer


def _sigmoid_product(b: Builder, x: Value) -> Value:
    return replace(x, name=b.node("Mul", x.name, b.node("Sigmoid", x.name)))


def _hard_sigmoid(b: Builder, x: Value, version: int) -> Value:
    """Keras 3: relu6(x + 3) / 6; before: clip(0.2 x + 0.5, 0, 1)."""
    return b.unary("HardSigmoid", x, alpha=1 / 6 if version >= 3 else 0.2, beta=0.5)


def _softmax(b: Builder, x: Value, axis: int = -1) -> Value:
    return b.unary("Softmax", x, axis=b.axis(x, axis))


def _hard_swish(b: Builder, x: Value) -> Value:
    return b.unary("HardSwish", x)


def _tanh_shrink(b: Builder, x: Value) -> Value:
    return replace(x, name=b.node("Sub", x.name, b.node("Tanh", x.name)))


def _squareplus(b: Builder, x: Value) -> Value:
    root = b.unary("Sqrt", b.binary("Add", replace(x, name=b.node("Mul", x.name, x.name)), 4.0))
    return b.binary("Mul", replace(x, name=b.node("Add", x.name, root.name)), 0.5)


def _log_softmax(b: Builder, x: Value) -> Value:
    return b.unary("LogSoftmax", x, axis=b.axis(x, -1))


def _log_sigmoid(b: Builder, x: Value) -> Value:
    return b.unary("Neg", b.unary("Softplus", b.unary("Neg", x)))


def _sparse_sigmoid(b: Builder, x: Value) -> Value:
    return b.unary("HardSigmoid", x, alpha=0.5, beta=0.5)


def _glu(b: Builder, x: Value) -> Value:
    size = x.shape[-1]
    if size is None or size % 2:
        raise ValueError("glu of an odd or unknown number of channels")
    value, gate = b.nodes("Split", [x.name], 2, axis=b.axis(x, -1), num_outputs=2)
    name = b.node("Mul", value, b.node("Sigmoid", gate))
    return replace(x, name=name, shape=(*x.shape[:-1], size // 2))


_SIMPLE: dict[str, Callable[[Builder, Value], Value]] = {
    "linear": lambda b, x: x,
    "relu": lambda b, x: b.unary("Relu", x),
    "relu6": lambda b, x: clip(b, x, 0.0, 6.0),
    "sigmoid": lambda b, x: b.unary("Sigmoid", x),
    "tanh": lambda b, x: b.unary("Tanh", x),
    "exponential": lambda b, x: b.unary("Exp", x),
    "softplus": lambda b, x: b.unary("Softplus", x),
    "softsign": lambda b, x: b.unary("Softsign", x),
    "selu": lambda b, x: b.unary("Selu", x, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "elu": lambda b, x: b.unary("Elu", x, alpha=1.0),
    "celu": lambda b, x: b.unary("Celu", x, alpha=1.0),
    "silu": _sigmoid_product,
    "swish": _sigmoid_product,
    "gelu": lambda b, x: b.unary("Gelu", x),
    "mish": lambda b, x: b.unary("Mish", x),
    "hard_silu": _hard_swish,
    "hard_swish": _hard_swish,
    "hard_tanh": lambda b, x: clip(b, x, -1.0, 1.0),
    "hard_shrink": lambda b, x: b.unary("Shrink", x, lambd=0.5, bias=0.0),
    "soft_shrink": lambda b, x: b.unary("Shrink", x, lambd=0.5, bias=0.5),
    "tanh_shrink": _tanh_shrink,
    "squareplus": _squareplus,
    "leaky_relu": lambda b, x: b.unary("LeakyRelu", x, alpha=0.2),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "log_sigmoid": _log_sigmoid,
    "sparse_sigmoid": _sparse_sigmoid,
    "glu": _glu,
}


NAMES = tuple(sorted([*_SIMPLE, "hard_sigmoid"]))


def name_of(spec: Any) -> str | None:
    """The name of an activation in a config: "relu", or a serialized function of Keras."""
    if spec is None:
        return "linear"
    if isinstance(spec, str):
        return spec
    if isinstance(spec, Mapping) and spec.get("class_name") == "function":
        named = spec.get("config")
        named = named.get("name") if isinstance(named, Mapping) else named
        return named if isinstance(named, str) else None
    return None


def activate(call: Call, x: Value, spec: Any = None) -> Value:
    """The activation `spec` (by default the layer's option) on `x`."""
    spec = call.option("activation") if spec is None else spec
    name = name_of(spec)
    if name is None and isinstance(spec, Mapping) and spec.get("class_name") in LAYERS:
        config = spec.get("config")
        kind = str(spec["class_name"])
        if isinstance(config, Mapping) and kind != "PReLU":
            inner = Layer(call.layer.path, kind, config)
            made = LAYERS[kind](replace(call, layer=inner, args=(x,), kwargs={}))
            if isinstance(made, Value):
                return made
    if name == "hard_sigmoid":
        return _hard_sigmoid(call.b, x, call.version)
    if name not in _SIMPLE:
        raise call.unsupported(f"activation={spec!r}")
    return _SIMPLE[name](call.b, x)


@layer("Activation", masks=True)
def activation(call: Call) -> Value:
    return activate(call, call.x)


def clip(b: Builder, x: Value, low: float | None, high: float | None) -> Value:
    bounds = ["" if end is None else b.number(end, x.dtype) for end in (low, high)]
    while bounds and not bounds[-1]:
        bounds.pop()
    return replace(x, name=b.node("Clip", x.name, *bounds)) if bounds else x


@layer("ReLU", masks=True)
def relu(call: Call) -> Value:
    top = call.option("max_value")
    top = None if top is None else call.number("max_value")
    return bounded_relu(
        call.b,
        call.x,
        top,
        call.number("negative_slope", 0.0),
        call.number("threshold", 0.0),
    )


def bounded_relu(
    b: Builder, x: Value, top: float | None, slope: float = 0.0, threshold: float = 0.0
) -> Value:
    """x above the threshold, at most `top`; slope * (x - threshold) below it."""
    if threshold:
        above = b.binary("Greater", x, threshold)
        kept = replace(x, name=b.node("Where", above.name, x.name, b.number(0.0)))
    elif slope and top is None:
        return b.unary("LeakyRelu", x, alpha=slope)
    elif top is None:
        return b.unary("Relu", x)
    else:
        kept = x
    y = kept if top is None else clip(b, kept, 0.0, top)
    if slope:
        below = b.unary("Relu", b.binary("Add", b.unary("Neg", x), threshold))
        y = replace(y, name=b.node("Sub", y.name, b.binary("Mul", below, slope).name))
    return y


@layer("LeakyReLU", masks=True)
def leaky_relu(call: Call) -> Value:
    slope = call.number("negative_slope" if "negative_slope" in call.layer.config else "alpha", 0.3)
    return call.b.unary("LeakyRelu", call.x, alpha=slope)


@layer("ELU", masks=True)
def elu(call: Call) -> Value:
    return call.b.unary("Elu", call.x, alpha=call.number("alpha", 1.0))


@layer("ThresholdedReLU", masks=True)
def thresholded_relu(call: Call) -> Value:
    return call.b.unary("ThresholdedRelu", call.x, alpha=call.number("theta", 1.0))


@layer("PReLU", masks=True)
def prelu(call: Call) -> Value:
    """alpha has the input's shape without the batch, 1 where an axis is shared."""
    b, x, alpha = call.b, call.x, call.weight("alpha")
    shape = (1,) * (x.rank - 1 - alpha.ndim) + alpha.shape
    if x.first:
        target = (shape[-1], *shape[:-1])
        order = (len(shape) - 1, *range(len(shape) - 1))

        def first(array: Any) -> Any:
            return array.reshape(shape).transpose(order)

        slope = b.weight(alpha, target, first, "channels first")
    else:
        slope = b.weight(alpha, shape)
    return replace(x, name=b.node("PRelu", x.name, slope))


@layer("Softmax", masks=True)
def softmax(call: Call) -> Value:
    b, x = call.b, call.x
    mask = call.argument(1, "mask", x.mask)
    if isinstance(mask, Value):
        if mask.rank != x.rank:
            raise call.unsupported("a mask of another rank")
        x = masked_logits(b, b.last(x), mask)
    axes = call.option("axis", -1)
    if isinstance(axes, (list, tuple)):
        if len(axes) != 1:
            raise call.unsupported(f"axis={axes!r}")
        axes = axes[0]
    y = _softmax(b, x, int(axes))
    if isinstance(mask, Value):
        y = replace(y, name=b.node("Where", mask.name, y.name, b.number(0.0)))
    return y


LARGE = float(np.finfo(np.float32).min / 2)


def masked_logits(b: Builder, x: Value, mask: Value) -> Value:
    """`x` where the mask is true, elsewhere something that no softmax looks at."""
    name = b.node("Where", mask.name, x.name, b.number(LARGE))
    return replace(x, name=name)
