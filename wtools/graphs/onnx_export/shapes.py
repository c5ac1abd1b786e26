"""Layers that move, cut, repeat and pad: Flatten, Reshape, Permute, padding, cropping, ..."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .builder import Dim, Value
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
    size = _product(x.shape[1:])
    if x.rank == 2:
        return replace(x, mask=None)
    if x.rank == 1:
        return Value(b.node("Unsqueeze", x.name, b.constant([1])), (*x.shape, 1), x.dtype)
    return Value(b.node("Flatten", x.name, axis=1), (x.shape[0], size), x.dtype)


def b_last(call: Call) -> Value:
    return call.b.last(call.x)


def _product(sizes: tuple[Dim, ...]) -> Dim:
    known = [n for n in sizes if n is not None]
    return math.prod(known) if len(known) == len(sizes) else None


@layer("Reshape")
def reshape(call: Call) -> Value:
    b, x = call.b, call.x
    wanted = call.option("target_shape")
    if not isinstance(wanted, (list, tuple)) or not all(type(n) is int for n in wanted):
        raise call.unsupported(f"target_shape={wanted!r}")
    size = _product(x.shape[1:])
    rest = math.prod(n for n in wanted if n != -1)
    sizes: list[Dim] = [
        n if n != -1 else (None if size is None or not rest else size // rest) for n in wanted
    ]
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


def sides(call: Call, option: str, count: int) -> list[tuple[int, int]]:
    """(before, after) for each axis: one number for all, one an axis, or two an axis."""
    value = call.option(option)
    if isinstance(value, int):
        return [(value, value)] * count
    if count == 1 and isinstance(value, (list, tuple)) and len(value) == 2:
        value = [value]
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise call.unsupported(f"{option}={value!r}")
    found = []
    for one in value:
        before, after = one if isinstance(one, (list, tuple)) else (one, one)
        found.append((int(before), int(after)))
    return found


def _spatial(call: Call, x: Value) -> list[int]:
    """The image's axes in Keras' order."""
    return list(range(2, x.rank)) if call.channels_first else list(range(1, x.rank - 1))


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: Call) -> Value:
    b, x = call.b, b_last(call) if call.channels_first else call.b.first(call.x)
    axes = _spatial(call, x)
    around = dict(zip(axes, sides(call, "padding", len(axes)), strict=True))
    pads = [[0] * x.rank, [0] * x.rank]
    shape = list(x.shape)
    for axis, (before, after) in around.items():
        at = b.axis(x, axis)
        pads[0][at], pads[1][at] = before, after
        size = shape[axis]
        shape[axis] = None if size is None else size + before + after
    name = b.node("Pad", x.name, b.constant(pads[0] + pads[1]))
    return replace(x, name=name, shape=tuple(shape), mask=None)


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call: Call) -> Value:
    x = b_last(call) if call.channels_first else call.x
    axes = _spatial(call, x)
    around = sides(call, "cropping", len(axes))
    cuts = {axis: (a, -z if z else None, 1) for axis, (a, z) in zip(axes, around, strict=True)}
    return slices(call, x, cuts)


ENDLESS = 2**63 - 1


def slices(
    call: Call, x: Value, cuts: Mapping[int, tuple[int | None, int | None, int | None]]
) -> Value:
    """x[start:stop:step] along axes in Keras' order."""
    b = call.b
    begins, ends, ats, steps = [], [], [], []
    shape = list(x.shape)
    for axis, (start, stop, step) in cuts.items():
        stride = 1 if step is None else step
        size = shape[axis]
        begins.append((0 if stride > 0 else ENDLESS) if start is None else start)
        ends.append((ENDLESS if stride > 0 else -ENDLESS) if stop is None else stop)
        ats.append(b.axis(x, axis))
        steps.append(stride)
        cut = slice(start, stop, stride)
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
    axes = _spatial(call, x)
    factors = call.integers("size", len(axes), 2)
    mode = call.text("interpolation", "nearest")
    if mode not in _MODES:
        raise call.unsupported(f"interpolation={mode!r}")
    scales = [1.0] * x.rank
    shape = list(x.shape)
    for axis, factor in zip(axes, factors, strict=True):
        scales[call.b.axis(x, axis)] = float(factor)
        size = shape[axis]
        shape[axis] = None if size is None else size * factor
    where = "asymmetric" if mode == "nearest" else "half_pixel"
    scale = call.b.array("scales", scales)
    name = call.b.node(
        "Resize", x.name, "", scale, coordinate_transformation_mode=where, **_MODES[mode]
    )
    return replace(x, name=name, shape=tuple(shape), mask=None)


@layer("Resizing")
def resizing(call: Call) -> Value:
    b = call.b
    x = b_last(call) if call.channels_first else b.first(call.x)
    if call.flag("crop_to_aspect_ratio") or call.flag("pad_to_aspect_ratio"):
        raise call.unsupported("crop_to_aspect_ratio or pad_to_aspect_ratio")
    if call.flag("antialias"):
        raise call.unsupported("antialias=True")
    mode = call.text("interpolation", "bilinear")
    if mode not in _MODES or x.rank != 4:
        raise call.unsupported(f"interpolation={mode!r}")
    axes = _spatial(call, x)
    shape: list[Any] = list(x.shape)
    shape[axes[0]], shape[axes[1]] = call.integer("height"), call.integer("width")
    spatial = b.constant([shape[axes[0]], shape[axes[1]]])
    ahead = b.node("Shape", x.name, start=0, end=2)
    sizes = b.node("Concat", ahead, spatial, axis=0)
    attributes = dict(_MODES[mode])
    if mode == "nearest":
        attributes["nearest_mode"] = "round_prefer_ceil"
    name = b.node("Resize", x.name, "", "", sizes, **attributes)
    return replace(x, name=name, shape=tuple(shape), mask=None)


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
