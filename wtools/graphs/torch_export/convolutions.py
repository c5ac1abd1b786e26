"""Convolutions of one to three dimensions: plain, depthwise, separable, transposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...tree import Tensor
from .. import options
from ..values import Dim
from .activations import activate
from .call import Call, layer
from .code import Code, Value, Weight, listed, many, moved, tupled


@dataclass(frozen=True)
class Padding:
    """What is added around an image: `even` by the layer itself, else `pads` (for F.pad) before
    it; dynamic: what `same` adds depends on a size that is not known.
    """

    even: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dynamic: bool = False

    @property
    def option(self) -> str:
        return f", padding={many(self.even)}" if any(self.even) else ""

    def around(
        self, b: Code, x: Value, kernel: Sequence[int], stride: Sequence[int], value: str = ""
    ) -> str:
        """`x`, padded where the layer cannot do it."""
        pads = f"({listed(self.pads)})"
        if self.dynamic:
            wide, far = f"{tupled(kernel)}", f"{tupled(stride)}"
            pads = f"{b.part('same_pads')}({x}, {wide}, {far})"
        elif not self.pads:
            return str(x)
        return f"F.pad({x}, {pads}{f', value={value}' if value else ''})"


def window(
    call: Call, sizes: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int]
) -> tuple[Padding, list[Dim]]:
    """(the padding, the output's sizes) of a window moved over axes of `sizes`.

    kernel: the extents, dilation included.
    """
    pads, out = options.window(call, sizes, kernel, strides)
    if pads is None:
        return Padding(dynamic=True), out
    if all(before == after for before, after in pads):
        return Padding(tuple(before for before, _ in pads)), out
    return Padding(pads=tuple(n for pair in reversed(pads) for n in pair)), out


def _bias(call: Call, size: int) -> dict[str, Weight]:
    if not call.flag("use_bias", True):
        return {}
    return {"bias": Weight((size,), (call.weight("bias", "b"),))}


def _options(strides: Sequence[int], dilations: Sequence[int], groups: int, bias: bool) -> str:
    text = f", stride={many(strides)}" if any(n != 1 for n in strides) else ""
    text += f", dilation={many(dilations)}" if any(n != 1 for n in dilations) else ""
    text += f", groups={groups}" if groups != 1 else ""
    return text + ("" if bias else ", bias=False")


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
def conv(call: Call) -> Value:
    kernel = call.weight("kernel", "W")
    x, shape = call.image()
    *extents, size, filters = kernel.shape
    count = len(extents)
    strides = call.integers("strides", count, 1)
    dilations = call.integers("dilation_rate", count, 1)
    wide = [(k - 1) * d + 1 for k, d in zip(extents, dilations, strict=True)]
    padding, sizes = window(call, shape[2:], wide, strides)
    channels = shape[1]
    groups = call.integer("groups", 1) if channels is None else channels // size
    bias = _bias(call, filters)
    weight = Weight(
        (filters, size, *extents), (kernel,), moved(f"conv{count}d", "kernel"), "transposed"
    )
    rest = padding.option + _options(strides, dilations, groups, bool(bias))
    ref = call.module(
        f"nn.Conv{count}d({size * groups}, {filters}, {many(extents)}{rest})", weight=weight, **bias
    )
    y = f"{ref}({padding.around(call.b, x, wide, strides)})"
    return activate(call, call.from_first(y, (shape[0], filters, *sizes)))


def _depthwise(call: Call, kernel: Tensor, bias: bool) -> tuple[str, Weight, str, list[Dim]]:
    """(constructor, weight, the padded input, the output's shape) of a depthwise convolution."""
    x, shape = call.image()
    *extents, channels, multiplier = kernel.shape
    count = len(extents)
    strides = call.integers("strides", count, 1)
    dilations = call.integers("dilation_rate", count, 1)
    wide = [(k - 1) * d + 1 for k, d in zip(extents, dilations, strict=True)]
    padding, sizes = window(call, shape[2:], wide, strides)
    out = channels * multiplier
    rest = padding.option + _options(strides, dilations, channels, bias)
    turn = moved(f"depthwise_conv{count}d", "kernel")
    weight = Weight((out, 1, *extents), (kernel,), turn, "transposed")
    made = f"nn.Conv{count}d({channels}, {out}, {many(extents)}{rest})"
    padded = padding.around(call.b, x, wide, strides)
    return made, weight, padded, [shape[0], out, *sizes]


@layer("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(call: Call) -> Value:
    kernel = call.weight("kernel", "depthwise_kernel")
    bias = _bias(call, kernel.shape[-1] * kernel.shape[-2])
    made, weight, padded, shape = _depthwise(call, kernel, bool(bias))
    ref = call.module(made, weight=weight, **bias)
    return activate(call, call.from_first(f"{ref}({padded})", shape))


@layer("SeparableConv1D", "SeparableConv2D", "SeparableConvolution2D")
def separable(call: Call) -> Value:
    """Two convolutions one after the other."""
    pointwise = call.weight("pointwise_kernel")
    bias = _bias(call, pointwise.shape[-1])
    made, weight, padded, shape = _depthwise(call, call.weight("depthwise_kernel"), False)
    *ones, size, filters = pointwise.shape
    count = len(ones)
    second = f"nn.Conv{count}d({size}, {filters}, 1{'' if bias else ', bias=False'})"
    turn = moved(f"conv{count}d", "kernel")
    weights = {
        "depthwise__weight": weight,
        "pointwise__weight": Weight((filters, size, *ones), (pointwise,), turn, "transposed"),
        **{f"pointwise__{key}": value for key, value in bias.items()},
    }
    ref = call.module(f"{call.b.part('separable')}({made}, {second})", **weights)
    return activate(call, call.from_first(f"{ref}({padded})", (shape[0], filters, *shape[2:])))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Deconvolution2D")
def transposed(call: Call) -> Value:
    """The whole result has (n - 1) * stride + extent elements an axis; `same` keeps n * stride of
    them, `valid` max(n * stride, whole), and what is cut or added lies at the end first
    (keras/src/backend/common/backend_utils.py, as TensorFlow has it).
    """
    kernel = call.weight("kernel")
    x, shape = call.image()
    *extents, filters, size = kernel.shape
    count = len(extents)
    strides = call.integers("strides", count, 1)
    dilations = call.integers("dilation_rate", count, 1)
    if call.integer("groups", 1) != 1:
        raise call.unsupported(f"groups={call.integer('groups')}")
    extra = call.option("output_padding")
    extras = [None] * count if extra is None else list(call.integers("output_padding", count))
    wide = [(k - 1) * d + 1 for k, d in zip(extents, dilations, strict=True)]
    around = [
        _transposed_padding(call, k, s, more)
        for k, s, more in zip(wide, strides, extras, strict=True)
    ]
    sizes = [
        None if n is None else (n - 1) * s + k - before - after + added
        for n, s, k, (before, after, added) in zip(shape[2:], strides, wide, around, strict=True)
    ]
    even = all(before == after for before, after, _ in around)
    bias = _bias(call, filters)
    rest = _options(strides, dilations, 1, bool(bias))
    if even and any(before for before, _, _ in around):
        rest += f", padding={many([before for before, _, _ in around])}"
    if any(added for _, _, added in around):
        rest += f", output_padding={many([added for _, _, added in around])}"
    turn = moved(f"conv{count}d_transpose", "kernel")
    ref = call.module(
        f"nn.ConvTranspose{count}d({size}, {filters}, {many(extents)}{rest})",
        weight=Weight((size, filters, *extents), (kernel,), turn, "transposed"),
        **bias,
    )
    y = f"{ref}({x})"
    if not even:
        y += f"[..., {', '.join(_cut(before, after) for before, after, _ in around)}]"
    return activate(call, call.from_first(y, (shape[0], filters, *sizes)))


def _cut(before: int, after: int) -> str:
    return f"{before or ''}:{-after if after else ''}"


def _transposed_padding(
    call: Call, extent: int, stride: int, extra: int | None
) -> tuple[int, int, int]:
    """(cut at the start, cut at the end, added at the end) of one axis."""
    padding = call.text("padding", "valid").lower()
    if padding == "valid":
        return 0, 0, max(0, stride - extent) if extra is None else extra
    if padding != "same":
        raise call.unsupported(f"padding={padding!r}")
    if extra is not None:
        return extent // 2, extent // 2, extra
    total = extent - stride
    return (0, 0, -total) if total < 0 else (total // 2, total - total // 2, 0)
