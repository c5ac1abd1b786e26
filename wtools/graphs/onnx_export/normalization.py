"""Normalisations, learned and not, and Rescaling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...tree import Tensor
from .. import options
from ..options import option_axes
from .builder import Builder, Value
from .call import Call, layer

MOST = 1 << 22  # elements of ones that stand for a gamma which the file does not have


def _optional(call: Call, option: str, role: str, fill: float, like: Tensor) -> str:
    """A weight, or a constant where the layer does without it."""
    if call.flag(option, True):
        return call.b.weight(call.weight(role), (like.size,))
    return call.b.array(role, np.full(like.size, fill))


@layer("BatchNormalization", "SyncBatchNormalization", masks=True)
def batch_normalization(call: Call) -> Value:
    """ONNX normalises the axis 1; the mean and the variance are the moving ones."""
    b, mean = call.b, call.weight("moving_mean", "running_mean")
    variance = call.weight("moving_variance", "running_std")
    x = call.x
    axes = option_axes(call, x)
    if len(axes) != 1:
        raise call.unsupported(f"axis={axes!r}")
    if axes[0] == x.rank - 1:
        x, back = b.first(x), None
    elif axes[0] == 1:
        x, back = b.last(x), None
    else:
        x = b.last(x)
        back = list(range(x.rank))
        back[1], back[axes[0]] = back[axes[0]], back[1]
        x = replace(x, name=b.node("Transpose", x.name, perm=back))
    name = b.node(
        "BatchNormalization",
        x.name,
        _optional(call, "scale", "gamma", 1.0, mean),
        _optional(call, "center", "beta", 0.0, mean),
        b.weight(mean, (mean.size,)),
        b.weight(variance, (mean.size,)),
        epsilon=call.number("epsilon", 1e-3),
    )
    if back is not None:
        name = b.node("Transpose", name, perm=back)
    return replace(x, name=name)


@layer("LayerNormalization", masks=True)
def layer_normalization(call: Call) -> Value:
    """LayerNormalization over trailing axes; over others after a transposition there and back."""
    b, x = call.b, call.b.last(call.x)
    axes = option_axes(call, x)
    order = [i for i in range(x.rank) if i not in axes] + axes
    moved = order != list(range(x.rank))
    name = b.node("Transpose", x.name, perm=order) if moved else x.name
    shape = [x.shape[axis] for axis in axes]
    if call.flag("rms_scaling"):
        raise call.unsupported("rms_scaling=True")
    if math.prod(n for n in shape if n is not None) > MOST:
        raise call.unsupported(f"axis={axes!r} of {shape} elements")
    scale = call.weight("gamma") if call.flag("scale", True) else None
    shift = call.weight("beta") if call.flag("center", True) else None
    if scale is None and None in shape:
        raise call.unsupported(f"axis={axes!r} of unknown size")
    one = b.weight(scale) if scale is not None else b.array("gamma", np.ones(shape))
    inputs = [name, one] + ([b.weight(shift)] if shift is not None else [])
    name = b.node(
        "LayerNormalization", *inputs, axis=-len(axes), epsilon=call.number("epsilon", 1e-3)
    )
    if moved:
        name = b.node("Transpose", name, perm=[order.index(i) for i in range(x.rank)])
    return replace(x, name=name)


@layer("GroupNormalization", masks=True)
def group_normalization(call: Call) -> Value:
    """The groups become the channels of an InstanceNormalization, then scale and shift."""
    b = call.b
    axes = option_axes(call, call.x)
    last = axes == [call.x.rank - 1]
    if not last and axes != [1]:
        raise call.unsupported(f"axis={axes!r}")
    x = b.first(call.x) if last else b.last(call.x)
    channels = x.shape[axes[0]]
    groups = call.integer("groups", 32)
    groups = channels if groups == -1 and channels else groups
    if channels is None or not 0 < groups <= min(channels, MOST):
        raise call.unsupported(f"{groups} groups of {channels} channels")
    flat = b.node("Reshape", x.name, b.constant([0, groups, -1]))
    ones, zeros = b.array("ones", np.ones(groups)), b.array("zeros", np.zeros(groups))
    epsilon = call.number("epsilon", 1e-3)
    made = b.node("InstanceNormalization", flat, ones, zeros, epsilon=epsilon)
    y = replace(x, name=b.node("Reshape", made, b.node("Shape", x.name)))
    wide = [channels, *[1] * (x.rank - 2)]
    for option, role, op in (("scale", "gamma", "Mul"), ("center", "beta", "Add")):
        if call.flag(option, True):
            y = replace(y, name=b.node(op, y.name, b.weight(call.weight(role), wide)))
    return y


@layer("RMSNormalization", masks=True)
def rms_normalization(call: Call) -> Value:
    """x / sqrt(mean(x^2) + epsilon) * scale."""
    b, x = call.b, call.b.last(call.x)
    axes = option_axes(call, x)
    if axes != list(range(x.rank - len(axes), x.rank)):
        raise call.unsupported(f"axis={axes!r}")
    square = b.node("Mul", x.name, x.name)
    mean = b.node("ReduceMean", square, b.constant(axes), keepdims=1)
    root = b.node("Sqrt", b.node("Add", mean, b.number(call.number("epsilon", 1e-6))))
    normal = b.node("Div", x.name, root)
    return replace(x, name=b.node("Mul", normal, b.weight(call.weight("scale"))))


def l2_normalized(b: Builder, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """x / sqrt(max(sum(x^2), epsilon))."""
    at = [b.axis(x, axis) for axis in axes]
    total = b.node("ReduceSum", b.node("Mul", x.name, x.name), b.constant(at), keepdims=1)
    norm = b.node("Sqrt", b.node("Max", total, b.number(epsilon)))
    return replace(x, name=b.node("Div", x.name, norm))


@layer("UnitNormalization", masks=True)
def unit_normalization(call: Call) -> Value:
    return l2_normalized(call.b, call.x, option_axes(call, call.x), 1e-12)


@layer("Normalization")
def normalization(call: Call) -> Value:
    """(x - mean) / max(sqrt(variance), epsilon), or back with invert=True."""
    b, x = call.b, call.x
    stored, shape = options.normalization(call, x)
    epsilon = np.float32(1e-7)
    offset = _laid(b, x, "mean", stored[0], shape, lambda mean: mean)
    factor = _laid(b, x, "deviation", stored[1], shape, lambda v: np.maximum(np.sqrt(v), epsilon))
    if x.dtype != "float32":
        x = replace(x, name=b.node("Cast", x.name, to=1), dtype="float32")
    if call.flag("invert"):
        return replace(x, name=b.node("Add", b.node("Mul", x.name, factor), offset), mask=None)
    return replace(x, name=b.node("Div", b.node("Sub", x.name, offset), factor), mask=None)


def _laid(
    b: Builder, x: Value, role: str, tensor: Tensor, shape: Sequence[int], change: Any
) -> str:
    """change(tensor) as an initializer that broadcasts against x; one number stays one."""
    if tensor.size != math.prod(shape):
        shape = [1] * len(shape)
    target = [shape[0], shape[-1], *shape[1:-1]] if x.first else shape

    def compute(array: Any) -> Any:
        return b.along(x, change(np.asarray(array, np.float32)).reshape(shape))

    return b.combined(f"{b.scope}/{role}", target, [tensor], compute)


@layer("Rescaling")
def rescaling(call: Call) -> Value:
    """x * scale + offset, numbers or one for each channel."""
    b, x = call.b, call.x
    if x.dtype != "float32":
        x = replace(x, name=b.node("Cast", x.name, to=1), dtype="float32")
    for option, op, neutral in (("scale", "Mul", 1.0), ("offset", "Add", 0.0)):
        value = call.option(option, neutral)
        array = (
            options.config_array(call, option) if isinstance(value, Mapping) else np.asarray(value)
        )
        array = b.along(x, np.asarray(array, np.float32))
        if np.all(array == neutral):
            continue
        name = b.number(float(array)) if not array.ndim else b.array(option, array)
        x = replace(x, name=b.node(op, x.name, name))
    return x


@layer("LayerScale")
def layer_scale(call: Call) -> Value:
    """The layer of keras.applications' ConvNeXt: x * gamma, a factor for each channel."""
    b, x = call.b, call.x
    gamma = options.only_weight(call)
    wide = (gamma.size, *[1] * (x.rank - 2)) if x.first else None
    return replace(x, name=b.node("Mul", x.name, b.weight(gamma, wide)))
