"""Normalisations, learned and not, and Rescaling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...tree import Tensor
from .. import options
from ..options import option_axes
from .call import Call, layer
from .code import Code, Value, Weight, filled, listed, spelled, tupled

LARGEST = 1 << 24  # elements of a mean that is repeated along an axis


def _affine(call: Call, size: int) -> dict[str, Weight]:
    """gamma and beta; where the layer has one of them, what stands for the other."""
    scale, center = call.flag("scale", True), call.flag("center", True)
    if not scale and not center:
        return {}
    found = {}
    for name, role, there, neutral in (
        ("weight", "gamma", scale, 1.0),
        ("bias", "beta", center, 0.0),
    ):
        tensor = call.weight(role) if there else None
        if tensor is not None and tensor.size != size:
            raise ValueError(f"{tensor.name} has {tensor.size} elements, not {size}")
        found[name] = filled(size, neutral) if tensor is None else _vector(tensor)
    return found


def _vector(tensor: Tensor) -> Weight:
    if tensor.ndim == 1:
        return Weight(tensor.shape, (tensor,))
    return Weight((tensor.size,), (tensor,), lambda array: array.reshape(-1), "reshaped")


@layer("BatchNormalization", "SyncBatchNormalization", masks=True)
def batch_normalization(call: Call) -> Value:
    """torch normalises the axis 1; its momentum is that of the new value."""
    b, mean = call.b, call.weight("moving_mean", "running_mean")
    variance = call.weight("moving_variance", "running_std")
    x = call.x
    axes = option_axes(call, x)
    if len(axes) != 1:
        raise call.unsupported(f"axis={axes!r}")
    if mean.size != variance.size:
        raise ValueError(f"{mean.size} means and {variance.size} variances")
    swap = ""
    if axes[0] == x.rank - 1:
        x = b.first(x)
    else:
        x = b.last(x)
        swap = f".transpose(1, {axes[0]})" if axes[0] != 1 else ""
    affine = _affine(call, mean.size)
    weights = {
        **affine,
        "running_mean": _vector(mean),
        "running_var": _vector(variance),
        "num_batches_tracked": Weight((), (), lambda: np.zeros((), np.int64), "made"),
    }
    momentum = 1 - call.number("momentum", 0.99)
    rest = f"eps={spelled(call.number('epsilon', 1e-3))}, momentum={spelled(round(momentum, 12))}"
    rest += "" if affine else ", affine=False"
    count = {2: 1, 3: 1, 4: 2, 5: 3}[x.rank]
    ref = call.module(f"nn.BatchNorm{count}d({mean.size}, {rest})", **weights)
    return b.like(x, f"{ref}({x}{swap}){swap}")


@layer("LayerNormalization", masks=True)
def layer_normalization(call: Call) -> Value:
    """nn.LayerNorm over trailing axes; over others after a permute there and back."""
    b, x = call.b, call.b.last(call.x)
    axes = option_axes(call, x)
    if call.flag("rms_scaling"):
        raise call.unsupported("rms_scaling=True")
    scale, center = call.flag("scale", True), call.flag("center", True)
    known = [call.weight(role) for role, there in (("gamma", scale), ("beta", center)) if there]
    sizes = [x.shape[axis] for axis in axes]
    shape = known[0].shape if known else tuple(n for n in sizes if n is not None)
    if len(shape) != len(axes):
        raise call.unsupported(f"axis={axes!r} of unknown size")
    weights = {}
    if scale:
        weights["weight"] = Weight(shape, (call.weight("gamma"),))
    elif center:
        weights["weight"] = _ones(shape)
    if center:
        weights["bias"] = Weight(shape, (call.weight("beta"),))
    rest = f"eps={spelled(call.number('epsilon', 1e-3))}"
    rest += "" if weights else ", elementwise_affine=False"
    rest += ", bias=False" if scale and not center else ""
    size = str(shape[0]) if len(shape) == 1 else f"({listed(shape)})"
    ref = call.module(f"nn.LayerNorm({size}, {rest})", **weights)
    order = [i for i in range(x.rank) if i not in axes] + axes
    if order == list(range(x.rank)):
        return b.like(x, f"{ref}({x})")
    back = [order.index(i) for i in range(x.rank)]
    return b.like(x, f"{ref}({x}.permute({listed(order)})).permute({listed(back)})")


def _ones(shape: tuple[int, ...]) -> Weight:
    return Weight(shape, (), lambda: np.ones(shape, np.float32), "made")


@layer("GroupNormalization", masks=True)
def group_normalization(call: Call) -> Value:
    b = call.b
    axes = option_axes(call, call.x)
    last = axes == [call.x.rank - 1]
    if not last and axes != [1]:
        raise call.unsupported(f"axis={axes!r}")
    x = b.first(call.x) if last else b.last(call.x)
    channels = x.shape[axes[0]]
    if channels is None:
        raise call.unsupported("an unknown number of channels")
    groups = call.integer("groups", 32)
    groups = channels if groups == -1 else groups
    affine = _affine(call, channels)
    rest = f"eps={spelled(call.number('epsilon', 1e-3))}{'' if affine else ', affine=False'}"
    ref = call.module(f"nn.GroupNorm({groups}, {channels}, {rest})", **affine)
    return b.like(x, f"{ref}({x})")


@layer("RMSNormalization", masks=True)
def rms_normalization(call: Call) -> Value:
    b, x = call.b, call.b.last(call.x)
    axes = option_axes(call, x)
    if axes != list(range(x.rank - len(axes), x.rank)):
        raise call.unsupported(f"axis={axes!r}")
    scale = call.weight("scale", "gamma")
    size = str(scale.shape[0]) if scale.ndim == 1 else f"({listed(scale.shape)})"
    ref = call.module(
        f"nn.RMSNorm({size}, eps={spelled(call.number('epsilon', 1e-6))})",
        weight=Weight(scale.shape, (scale,)),
    )
    return b.like(x, f"{ref}({x})")


def unit_length(b: Code, x: Value, axes: Sequence[int]) -> str:
    """x / sqrt(max(sum(x^2), 1e-12))."""
    at = [b.axis(x, axis) for axis in axes]
    dim = str(at[0]) if len(at) == 1 else f"({listed(at)})"
    return f"F.normalize({x}, dim={dim}, eps=1e-06)"


@layer("UnitNormalization", masks=True)
def unit_normalization(call: Call) -> Value:
    x = call.x
    return call.b.like(x, unit_length(call.b, x, option_axes(call, x)))


@layer("Normalization")
def normalization(call: Call) -> Value:
    """(x - mean) / max(sqrt(variance), epsilon), or back with invert=True."""
    b, x = call.b, call.x
    stored, shape = options.normalization(call, x)
    if math.prod(shape) > LARGEST:
        raise call.unsupported(f"a mean of {math.prod(shape)} elements")
    laid = b.along(x, np.broadcast_to(np.float32(0), shape)).shape

    def spread(array: Any) -> Any:
        array = np.asarray(array, np.float32)
        wide = array if array.size == 1 else array.reshape(shape)
        return b.along(x, np.broadcast_to(wide, shape))

    def deviations(array: Any) -> Any:
        return np.maximum(np.sqrt(spread(array)), np.float32(1e-7))

    names = []
    for role, tensor, make in (("mean", stored[0], spread), ("std", stored[1], deviations)):
        from_file = bool(call.layer.weights)
        weight = Weight(laid, (tensor,), make, "broadcast")
        if not from_file:
            array = make(tensor.read())
            weight = Weight(laid, (), lambda array=array: array, "from the config")
        names.append(b.stored(f"{b.scope}/{role}", weight))
    if call.flag("invert"):
        return b.like(x, f"{x} * {names[1]} + {names[0]}", mask=None, dtype="float32")
    return b.like(x, f"({x} - {names[0]}) / {names[1]}", mask=None, dtype="float32")


@layer("Rescaling")
def rescaling(call: Call) -> Value:
    """x * scale + offset, numbers or one for each channel."""
    b, x = call.b, call.x
    text = str(x) if x.dtype == "float32" else f"{x}.float()"
    for option, op, neutral in (("scale", "*", 1.0), ("offset", "+", 0.0)):
        value = call.option(option, neutral)
        array = np.asarray(
            options.config_array(call, option) if isinstance(value, Mapping) else value
        )
        array = b.along(x, np.asarray(array, np.float32 if array.ndim else np.float64))
        if np.all(array == neutral):
            continue
        other = b.constant(option, array) if array.ndim else spelled(float(np.asarray(value)))
        text = f"{text} {op} {other}"
    return b.like(x, text, dtype="float32")


@layer("LayerScale")
def layer_scale(call: Call) -> Value:
    """The layer of keras.applications' ConvNeXt: x * gamma, a factor for each channel."""
    b, x = call.b, call.x
    gamma = options.only_weight(call)
    shape = (gamma.size, *[1] * (x.rank - 2)) if x.first else gamma.shape
    weight = Weight(gamma.shape, (gamma,))
    if shape != gamma.shape:
        weight = Weight(shape, (gamma,), lambda array: array.reshape(shape), "reshaped")
    ref = call.module(f"{b.part('Scale')}({tupled(shape)})", weight=weight)
    return b.like(x, f"{ref}({x})")
