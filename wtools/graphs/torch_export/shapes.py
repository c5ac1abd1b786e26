"""Layers that move, cut, repeat and pad: Flatten, Reshape, Permute, padding, cropping, ..."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .. import shapes
from ..options import croppings, paddings, resized, target_shape, upsampled
from ..shapes import product
from ..values import Dim
from .call import Call, layer
from .code import Code, Value, listed, spelled


@layer("Flatten")
def flatten(call: Call) -> Value:
    """Channels last, as Keras has them (of channels-first images, too, since 2.2); but an image
    whose channels come first is left so for the dense layer after it, see `Code`."""
    b, x = call.b, call.x
    if x.rank == 2:
        return replace(x, mask=None)
    if x.rank == 1:
        return b.value(f"{x}.unsqueeze(1)", (*x.shape, 1), x.dtype)
    if call.channels_first:
        x = b.last(x)
        x = replace(x, shape=(x.shape[0], *x.shape[2:], x.shape[1]), first=True)
    size = product(x.shape[1:])
    image = [n for n in x.shape[1:] if n is not None]
    if x.first and size is not None and math.prod(image[:-1]) == 1:
        return b.value(f"{x}.flatten(1)", (x.shape[0], size), x.dtype)
    if x.first and size is not None:
        return b.value(f"{x}.flatten(1)", (x.shape[0], size), x.dtype, flat=tuple(image))
    return b.value(f"{b.last(x)}.flatten(1)", (x.shape[0], size), x.dtype)


@layer("Reshape")
def reshape(call: Call) -> Value:
    b, x = call.b, call.x
    sizes = target_shape(call, x)
    if x.rank == 2 and len(sizes) >= 2 and all(n == 1 for n in sizes[:-1]):
        # one pixel: it is laid out in both ways
        ones = ", None" * (len(sizes) - 1)
        return b.value(f"{x}[:, :{ones}]", (x.shape[0], *sizes), x.dtype, first=True)
    return reshaped(b, x, (x.shape[0], *sizes))


def reshaped(b: Code, x: Value, shape: Sequence[Dim]) -> Value:
    """To `shape` in Keras' order; at most one axis beside the batch may be unknown."""
    x = b.last(x)
    if sum(n is None for n in shape[1:]) > 1:
        raise ValueError(f"a shape of two unknown axes: {tuple(shape)}")
    batch = f"{x}.shape[0]" if None in shape[1:] else "-1"
    sizes = ", ".join([batch, *("-1" if n is None else str(n) for n in shape[1:])])
    return b.value(f"{x}.reshape({sizes})", shape, x.dtype)


@layer("Permute")
def permute(call: Call) -> Value:
    x = call.b.last(call.x)
    return permuted(call.b, x, [0, *call.integers("dims", x.rank - 1)])


def permuted(b: Code, x: Value, order: Sequence[int]) -> Value:
    shape = tuple(x.shape[i] for i in order)
    return b.value(f"{x}.permute({listed(order)})", shape, x.dtype)


@layer("RepeatVector")
def repeat_vector(call: Call) -> Value:
    x, count = call.x, call.integer("n")
    text = f"{x}.unsqueeze(1).repeat(1, {count}, 1)"
    return call.b.value(text, (x.shape[0], count, x.shape[1]), x.dtype)


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: Call) -> Value:
    x = call.b.last(call.x) if call.channels_first else call.b.first(call.x)
    return padded(call.b, x, paddings(call, x))


def padded(b: Code, x: Value, around: Mapping[int, tuple[int, int]]) -> Value:
    """Zeros before and after axes in Keras' order."""
    pads = [(0, 0)] * x.rank
    for axis, sides in around.items():
        pads[b.axis(x, axis)] = sides
    while pads and pads[0] == (0, 0):
        pads.pop(0)
    if not pads:
        return replace(x, mask=None)
    numbers = listed([n for pair in reversed(pads) for n in pair])
    return b.like(x, f"F.pad({x}, ({numbers}))", shape=shapes.padded(x.shape, around), mask=None)


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call: Call) -> Value:
    x = call.b.last(call.x) if call.channels_first else call.x
    return sliced(call.b, x, croppings(call, x))


def sliced(b: Code, x: Value, cuts: Mapping[int, slice]) -> Value:
    """x[start:stop:step] along axes in Keras' order; steps backwards through a flip."""
    texts = [":"] * x.rank
    shape = list(x.shape)
    flips = []
    for axis, cut in cuts.items():
        size = shape[axis]
        shape[axis] = None if size is None else len(range(*cut.indices(size)))
        at = b.axis(x, axis)
        if cut.step is not None and cut.step < 0:
            if cut.start is not None or cut.stop is not None or cut.step != -1:
                raise ValueError(f"steps backwards: {cut}")
            flips.append(at)
            continue
        ends = ["" if n is None else str(int(n)) for n in (cut.start, cut.stop)]
        texts[at] = ":".join(ends) + (f":{cut.step}" if cut.step not in (None, 1) else "")
    while texts and texts[-1] == ":":
        texts.pop()
    text = f"{x}[{', '.join(texts)}]" if texts else str(x)
    text += f".flip({listed(flips)})" if flips else ""
    return b.like(x, text, shape=tuple(shape), mask=None)


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(call: Call) -> Value:
    x = call.b.last(call.x) if call.channels_first else call.b.first(call.x)
    by_axis, shape = upsampled(call, x)
    factors = list(by_axis.values())
    mode = call.text("interpolation", "nearest")
    if mode not in ("nearest", "bilinear") or (mode == "bilinear" and len(factors) != 2):
        raise call.unsupported(f"interpolation={mode!r}")
    scales = f"({', '.join(spelled(float(f)) for f in factors)},)"
    rest = "" if mode == "nearest" else ", mode='bilinear', align_corners=False"
    text = f"F.interpolate({x}, scale_factor={scales}{rest})"
    return call.b.like(x, text, shape=shape, mask=None)


@layer("Resizing")
def resizing(call: Call) -> Value:
    b = call.b
    x = b.last(call.x) if call.channels_first else b.first(call.x)
    mode, size, shape = resized(call, x)
    rest = "mode='nearest-exact'" if mode == "nearest" else "mode='bilinear', align_corners=False"
    return b.like(x, f"F.interpolate({x}, {size}, {rest})", shape=shape, mask=None)


@layer("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", masks=True)
@layer("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", masks=True)
@layer("Identity", masks=True)
@layer("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomTranslation")
@layer("RandomBrightness", "RandomHeight", "RandomWidth", "RandomCrop")
def nothing(call: Call) -> Value:
    """What acts in training only."""
    if call.layer.kind == "RandomCrop":
        raise call.unsupported("a crop that is also made at inference")
    return call.raw


@layer("Masking")
def masking(call: Call) -> Value:
    """The steps in which any feature differs from the mask value; the others become 0."""
    b, x = call.b, call.b.last(call.x)
    value = spelled(call.number("mask_value", 0.0))
    mask = b.value(f"({x} != {value}).any(-1)", x.shape[:-1], "bool")
    return b.like(x, f"{x} * {mask}.unsqueeze(-1)", mask=mask)


@layer("TimeDistributed.fold")
def fold(call: Call) -> Value:
    """(batch, time, ...) -> (batch * time, ...)."""
    x = call.b.last(call.x)
    return call.b.value(f"{x}.flatten(0, 1)", (None, *x.shape[2:]), x.dtype)


@layer("TimeDistributed.unfold")
def unfold(call: Call) -> Value:
    """(batch * time, ...) -> (batch, time, ...), as in the series that it is called with, too."""
    y, series = call.b.last(call.x), call.argument(1, "series")
    steps = f"{series}.shape[1]" if series.shape[1] is None else str(series.shape[1])
    shape = (*series.shape[:2], *y.shape[1:])
    text = f"{y}.unflatten(0, (-1, {steps}))"
    return call.b.value(text, shape, y.dtype, mask=series.mask)
