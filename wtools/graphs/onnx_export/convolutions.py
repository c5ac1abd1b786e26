"""Convolutions of one to three dimensions: plain, depthwise, separable, transposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...tree import Array, Tensor
from .. import options
from ..values import Dim
from .activations import activate
from .builder import Value
from .call import Call, layer


def window(
    call: Call, sizes: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int]
) -> tuple[dict[str, Any], list[Dim]]:
    """(ONNX attributes for the padding, output sizes) of a window moved over axes of `sizes`.

    kernel: the extents, dilation included.
    """
    pads, out = options.window(call, sizes, kernel, strides)
    if pads is None:
        return {"auto_pad": "SAME_UPPER"}, out
    if not any(before or after for before, after in pads):
        return {}, out
    return {"pads": [pad[0] for pad in pads] + [pad[1] for pad in pads]}, out


def to_first(kernel: Array) -> Array:
    """(*spatial, in, out) -> (out, in, *spatial)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _first_shape(tensor: Tensor) -> tuple[int, ...]:
    return (tensor.shape[-1], tensor.shape[-2], *tensor.shape[:-2])


def _unit(values: Sequence[int]) -> list[int] | None:
    """None where an attribute has its default."""
    return None if all(v == 1 for v in values) else list(values)


@layer("Conv1D", "Conv2D", "Conv3D")
def conv(call: Call) -> Value:
    b, kernel = call.b, call.weight("kernel", "W")
    x, shaped = call.image()
    count = kernel.ndim - 2
    strides, dilations = (
        call.integers("strides", count, 1),
        call.integers("dilation_rate", count, 1),
    )
    extent = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    pads, sizes = window(call, shaped.shape[2:], extent, strides)
    weight = b.weight(kernel, _first_shape(kernel), to_first, "transposed")
    groups = call.integer("groups", 1)
    if x.channels is not None and not call.channels_first:
        groups = x.channels // kernel.shape[-2]
    inputs = [x.name, weight, *_bias(call)]
    name = b.node(
        "Conv",
        *inputs,
        kernel_shape=list(kernel.shape[:-2]),
        strides=_unit(strides),
        dilations=_unit(dilations),
        group=groups if groups != 1 else None,
        **pads,
    )
    return activate(call, call.from_first(name, (shaped.shape[0], kernel.shape[-1], *sizes)))


def _bias(call: Call) -> list[str]:
    if not call.flag("use_bias", True):
        return []
    return [call.b.weight(call.weight("bias", "b"))]


def depthwise_first(kernel: Array) -> Array:
    """(*spatial, in, multiplier) -> (in * multiplier, 1, *spatial)."""
    spatial = kernel.shape[:-2]
    return np.moveaxis(kernel.reshape(*spatial, -1), -1, 0).reshape(-1, 1, *spatial)


def _depthwise(call: Call, kernel: Tensor, bias: list[str]) -> Value:
    """The depthwise convolution alone, as a channels-first value with `shape` in that order."""
    b = call.b
    x, shaped = call.image()
    *extents, channels, multiplier = kernel.shape
    strides = call.integers("strides", len(extents), 1)
    dilations = call.integers("dilation_rate", len(extents), 1)
    wide = [(k - 1) * d + 1 for k, d in zip(extents, dilations, strict=True)]
    pads, sizes = window(call, shaped.shape[2:], wide, strides)
    shape = (channels * multiplier, 1, *extents)
    name = b.node(
        "Conv",
        x.name,
        b.weight(kernel, shape, depthwise_first, "transposed"),
        *bias,
        kernel_shape=extents,
        strides=_unit(strides),
        dilations=_unit(dilations),
        group=channels,
        **pads,
    )
    return Value(name, (shaped.shape[0], channels * multiplier, *sizes))


@layer("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(call: Call) -> Value:
    made = _depthwise(call, call.weight("kernel", "depthwise_kernel"), _bias(call))
    return activate(call, call.from_first(made.name, made.shape))


@layer("SeparableConv1D", "SeparableConv2D")
def separable(call: Call) -> Value:
    b = call.b
    pointwise = call.weight("pointwise_kernel")
    made = _depthwise(call, call.weight("depthwise_kernel"), [])
    weight = b.weight(pointwise, _first_shape(pointwise), to_first, "transposed")
    kernel_shape = list(pointwise.shape[:-2])
    name = b.node("Conv", made.name, weight, *_bias(call), kernel_shape=kernel_shape)
    shape = (made.shape[0], pointwise.shape[-1], *made.shape[2:])
    return activate(call, call.from_first(name, shape))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(call: Call) -> Value:
    """Kernel (*spatial, out, in) -> (in, out, *spatial).

    The whole result has (n - 1) * stride + extent elements an axis. `same` keeps n * stride of
    them or, with output_padding, (n - 1) * stride + extent % 2 + output_padding; what is cut is
    half of the rest, more at the end (keras/src/backend/common/backend_utils.py).
    """
    b, kernel = call.b, call.weight("kernel")
    x, shaped = call.image()
    count = kernel.ndim - 2
    strides, dilations = (
        call.integers("strides", count, 1),
        call.integers("dilation_rate", count, 1),
    )
    if call.integer("groups", 1) != 1:
        raise call.unsupported(f"groups={call.integer('groups')}")
    extra = call.option("output_padding")
    extras = [None] * count if extra is None else list(call.integers("output_padding", count))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    padding = call.text("padding", "valid").lower()
    before, after, added = [], [], []
    for k, s, more in zip(extents, strides, extras, strict=True):
        start, stop, end = _transposed_padding(call, padding, k, s, more)
        before.append(start)
        after.append(stop)
        added.append(end)
    sizes: list[Dim] = [
        None if n is None else (n - 1) * s + k - p - q + e
        for n, s, k, p, q, e in zip(
            shaped.shape[2:], strides, extents, before, after, added, strict=True
        )
    ]
    name = b.node(
        "ConvTranspose",
        x.name,
        b.weight(kernel, _first_shape(kernel), to_first, "transposed"),
        *_bias(call),
        kernel_shape=list(kernel.shape[:-2]),
        strides=_unit(strides),
        dilations=_unit(dilations),
        pads=[*before, *after] if any([*before, *after]) else None,
        output_padding=added if any(added) else None,
    )
    return activate(call, call.from_first(name, (shaped.shape[0], kernel.shape[-2], *sizes)))


def _transposed_padding(
    call: Call, padding: str, extent: int, stride: int, extra: int | None
) -> tuple[int, int, int]:
    """(cut at the start, cut at the end, added at the end) of one axis."""
    if padding == "valid":
        added = max(0, stride - extent) if extra is None else extra
        return 0, 0, added
    if padding != "same":
        raise call.unsupported(f"padding={padding!r}")
    total = extent - stride if extra is None else extent - extent % 2 - extra
    if total < 0:
        return 0, 0, -total
    return total // 2, total - total // 2, 0
