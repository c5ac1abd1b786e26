"""Layers that move, cut, repeat and pad: Flatten, Reshape, Permute, padding, cropping, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .. import shapes
from ..options import croppings, paddings, resized, target_shape, upsampled
from ..shapes import product
from .builder import Builder, Value
from .call import Call, layer


@layer("Flatten")
def flatten(call: Call) -> Value:
    """The channels last, as Keras has them (of channels-first images, too, since 2.2)."""
    b, x = call.b, b_last(call)
    if call.channels_first and x.rank > 2:
        order = [0, *range(2, x.rank), 1]
        x = replace(
            x, name=b.node("Transpose", x.name, perm=order), shape=tuple(x.shape[i] for i in order)
        )
    size = product(x.shape[1:])
    if x.rank == 2:
        return replace(x, mask=None)
    if x.rank == 1:
        return Value(b.node("Unsqueeze", x.name, b.constant([1])), (*x.shape, 1), x.dtype)
    return Value(b.node("Flatten", x.name, axis=1), (x.shape[0], size), x.dtype)


def b_last(call: Call) -> Value:
    return call.b.last(call.x)


@layer("Reshape")
def reshape(call: Call) -> Value:
    b, x = call.b, call.x
    sizes = target_shape(call, x)
    if x.rank == 2 and len(sizes) >= 2 and all(n == 1 for n in sizes[:-1]):
        shape = [0, -1 if sizes[-1] is None else sizes[-1], *sizes[:-1]]  # of one pixel: both ways
        name = b.node("Reshape", x.name, b.constant(shape))
        return Value(name, (x.shape[0], *sizes), x.dtype, first=True)
    return b.reshape(x, (x.shape[0], *sizes))


@layer("Permute")
def permute(call: Call) -> Value:
    x = b_last(call)
    order = [0, *call.integers("dims", x.rank - 1)]
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@layer("RepeatVector")
def repeat_vector(call: Call) -> Value:
    b, x, count = call.b, call.x, call.integer("n")
    wide = b.node("Unsqueeze", x.name, b.constant([1]))
    name = b.node("Tile", wide, b.constant([1, count, 1]))
    return Value(name, (x.shape[0], count, x.shape[1]), x.dtype)


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: Call) -> Value:
    b, x = call.b, b_last(call) if call.channels_first else call.b.first(call.x)
    return padded(b, x, paddings(call, x))


def padded(b: Builder, x: Value, around: Mapping[int, tuple[int, int]]) -> Value:
    """Zeros before and after axes in Keras' order."""
    pads = [[0] * x.rank, [0] * x.rank]
    for axis, sides in around.items():
        for end, count in zip(pads, sides, strict=True):
            end[b.axis(x, axis)] = count
    name = b.node("Pad", x.name, b.constant(pads[0] + pads[1]))
    return replace(x, name=name, shape=shapes.padded(x.shape, around), mask=None)


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call: Call) -> Value:
    x = b_last(call) if call.channels_first else call.x
    return slices(call.b, x, croppings(call, x))


ENDLESS = 2**63 - 1


def slices(b: Builder, x: Value, cuts: Mapping[int, slice]) -> Value:
    """x[start:stop:step] along axes in Keras' order."""
    begins, ends, ats, steps = [], [], [], []
    shape = list(x.shape)
    for axis, cut in cuts.items():
        start, stop = cut.start, cut.stop
        stride = 1 if cut.step is None else cut.step
        size = shape[axis]
        begins.append((0 if stride > 0 else ENDLESS) if start is None else start)
        ends.append((ENDLESS if stride > 0 else -ENDLESS) if stop is None else stop)
        ats.append(b.axis(x, axis))
        steps.append(stride)
        shape[axis] = None if size is None else len(range(*cut.indices(size)))
    inputs = [b.constant(numbers) for numbers in (begins, ends, ats, steps)]
    return replace(x, name=b.node("Slice", x.name, *inputs), shape=tuple(shape), mask=None)


_MODES = {
    "nearest": {"mode": "nearest", "nearest_mode": "floor"},
    "bilinear": {"mode": "linear"},
}


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(call: Call) -> Value:
    x = b_last(call) if call.channels_first else call.b.first(call.x)
    factors, shape = upsampled(call, x)
    mode = call.text("interpolation", "nearest")
    if mode not in _MODES:
        raise call.unsupported(f"interpolation={mode!r}")
    scales = [1.0] * x.rank
    for axis, factor in factors.items():
        scales[call.b.axis(x, axis)] = float(factor)
    where = "asymmetric" if mode == "nearest" else "half_pixel"
    scale = call.b.array("scales", scales)
    name = call.b.node(
        "Resize", x.name, "", scale, coordinate_transformation_mode=where, **_MODES[mode]
    )
    return replace(x, name=name, shape=shape, mask=None)


@layer("Resizing")
def resizing(call: Call) -> Value:
    b = call.b
    x = b_last(call) if call.channels_first else b.first(call.x)
    mode, size, shape = resized(call, x)
    spatial = b.constant(size)
    ahead = b.node("Shape", x.name, start=0, end=2)
    sizes = b.node("Concat", ahead, spatial, axis=0)
    attributes = dict(_MODES[mode])
    if mode == "nearest":
        attributes["nearest_mode"] = "round_prefer_ceil"
    name = b.node("Resize", x.name, "", "", sizes, **attributes)
    return replace(x, name=name, shape=shape, mask=None)


@layer("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", masks=True)
@layer("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", masks=True)
@layer("Identity", masks=True)
def nothing(call: Call) -> Value:
    """What acts in training only."""
    return call.x


@layer("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomTranslation")
@layer("RandomBrightness", "RandomHeight", "RandomWidth")
def augmentation(call: Call) -> Value:
    """Augmentation acts in training only."""
    return call.x
