"""Activations, as layers and as options of layers (keras/src/activations, keras/src/layers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..ir import Layer
from ..onnx_export.activations import name_of
from .call import LAYERS, Call, layer
from .code import Code, Value, Weight, spelled, tupled

# `{}` is the tensor, `{dim}` the axis of its channels
TEMPLATES = {
    "relu": "F.relu({})", "relu6": "F.relu6({})", "sigmoid": "torch.sigmoid({})",
    "tanh": "torch.tanh({})", "exponential": "torch.exp({})", "softplus": "F.softplus({})",
    "softsign": "F.softsign({})", "selu": "F.selu({})", "elu": "F.elu({})", "celu": "F.celu({})",
    "silu": "F.silu({})", "swish": "F.silu({})", "gelu": "F.gelu({})", "mish": "F.mish({})",
    "hard_silu": "F.hardswish({})", "hard_swish": "F.hardswish({})",
    "hard_tanh": "F.hardtanh({})", "hard_shrink": "F.hardshrink({})",
    "soft_shrink": "F.softshrink({})", "tanh_shrink": "F.tanhshrink({})",
    "leaky_relu": "F.leaky_relu({}, 0.2)", "log_sigmoid": "F.logsigmoid({})",
    "sparse_sigmoid": "(0.5 * {} + 0.5).clamp(0, 1)",
    "squareplus": "(({0} ** 2 + 4).sqrt() + {0}) / 2",
    "softmax": "F.softmax({}, dim={dim})", "log_softmax": "F.log_softmax({}, dim={dim})",
    "glu": "F.glu({}, dim={dim})",
}  # fmt: skip
# of Keras 3, and as it was before
HARD_SIGMOID = {True: "F.hardsigmoid({})", False: "(0.2 * {} + 0.5).clamp(0, 1)"}


def template(name: str | None, version: int) -> str | None:
    """The expression of the activation, None where there is none of the name."""
    if name == "hard_sigmoid":
        return HARD_SIGMOID[version >= 3]
    return TEMPLATES.get(name or "")


def activate(call: Call, x: Value, spec: Any = None) -> Value:
    """The activation `spec` (by default the layer's option) on `x`."""
    spec = call.option("activation") if spec is None else spec
    name = name_of(spec)
    if name == "linear":
        return x
    if name is None and isinstance(spec, Mapping) and spec.get("class_name") in LAYERS:
        config, kind = spec.get("config"), str(spec["class_name"])
        if isinstance(config, Mapping) and kind != "PReLU":
            inner = Layer(call.layer.path, kind, config)
            made = LAYERS[kind](replace(call, layer=inner, args=(x,), kwargs={}))
            if isinstance(made, Value):
                return made
    text = template(name, call.version)
    if text is None:
        raise call.unsupported(f"activation={spec!r}")
    if "{dim}" in text:
        x = call.b.plain(x)
    shape = x.shape
    if name == "glu":
        shape = (*shape[:-1], None if shape[-1] is None else shape[-1] // 2)
    return call.b.like(x, text.format(x, dim=call.b.axis(x, -1)), shape=shape)


def function(spec: Any, version: int) -> str | None:
    """The activation as a function in the source, None where there is no such."""
    name = name_of(spec)
    if name == "linear":
        return "lambda x: x"
    text = template(name, version)
    if text is None or name == "glu":
        return None
    head, rest = text.partition("(")[::2]
    if head and rest == "{})":
        return head
    return f"lambda x: {text.format('x', dim=-1)}"


@layer("Activation", masks=True)
def activation(call: Call) -> Value:
    return activate(call, call.raw)


@layer("ReLU", masks=True)
def relu(call: Call) -> Value:
    top = None if call.option("max_value") is None else call.number("max_value")
    slope, threshold = call.number("negative_slope", 0.0), call.number("threshold", 0.0)
    return bounded_relu(call.b, call.raw, top, slope, threshold)


def bounded_relu(
    b: Code, x: Value, top: float | None, slope: float = 0.0, threshold: float = 0.0
) -> Value:
    """x above the threshold, at most `top`; slope * (x - threshold) below it."""
    if not threshold and top is None:
        return b.like(x, f"F.leaky_relu({x}, {spelled(slope)})" if slope else f"F.relu({x})")
    if not threshold and not slope:
        return b.like(x, f"F.relu6({x})" if top == 6 else f"{x}.clamp(0, {spelled(top)})")
    above = f"{x}.clamp(max={spelled(top)})" if top is not None else str(x)
    low = f"{spelled(slope)} * ({x} - {spelled(threshold)})" if slope else "0.0"
    return b.like(x, f"torch.where({x} >= {spelled(threshold)}, {above}, {low})")


@layer("LeakyReLU", masks=True)
def leaky_relu(call: Call) -> Value:
    option = "alpha" if "alpha" in call.layer.config else "negative_slope"
    x = call.raw
    return call.b.like(x, f"F.leaky_relu({x}, {spelled(call.number(option, 0.3))})")


@layer("ELU", masks=True)
def elu(call: Call) -> Value:
    x = call.raw
    return call.b.like(x, f"F.elu({x}, {spelled(call.number('alpha', 1.0))})")


@layer("ThresholdedReLU", masks=True)
def thresholded_relu(call: Call) -> Value:
    x = call.raw
    return call.b.like(x, f"F.threshold({x}, {spelled(call.number('theta', 1.0))}, 0.0)")


@layer("PReLU", masks=True)
def prelu(call: Call) -> Value:
    """nn.PReLU where there is one slope for each channel, else slopes that are broadcast."""
    b, alpha = call.b, call.weight("alpha", "alphas")
    x = call.x
    if x.first and alpha.size == alpha.shape[-1]:
        ref = call.module(f"nn.PReLU({alpha.size})", weight=Weight((alpha.size,), (alpha,), _flat))
        return b.like(x, f"{ref}({x})")
    shape = b.along(x, _shaped(alpha.shape)).shape if x.first else alpha.shape

    def laid(array: Any) -> Any:
        return b.along(x, array).reshape(shape)

    ref = call.module(
        f"{b.part('BroadcastPReLU')}({tupled(shape)})",
        weight=Weight(tuple(shape), (alpha,), laid, "channels first" if x.first else ""),
    )
    return b.like(x, f"{ref}({x})")


def _flat(array: Any) -> Any:
    return array.reshape(-1)


def _shaped(shape: tuple[int, ...]) -> Any:
    """An array of that shape that takes no memory."""
    import numpy as np

    return np.broadcast_to(np.float32(0), shape)


@layer("Softmax", masks=True)
def softmax(call: Call) -> Value:
    b, x = call.b, call.x
    mask = call.argument(1, "mask", x.mask)
    axes = call.option("axis", -1)
    axes = axes if isinstance(axes, (list, tuple)) else [axes]
    if len(axes) != 1:
        raise call.unsupported(f"axis={axes!r}")
    if not isinstance(mask, Value):
        return b.like(x, f"F.softmax({x}, dim={b.axis(x, int(axes[0]))})")
    x, mask = b.last(x), b.last(mask)
    if mask.rank != x.rank:
        raise call.unsupported("a mask of another rank")
    kept = f"torch.where({mask}, {x}, -1e9)"
    return b.like(x, f"torch.where({mask}, F.softmax({kept}, dim={int(axes[0])}), 0.0)")
