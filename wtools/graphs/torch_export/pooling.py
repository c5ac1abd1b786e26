"""Pooling: windows, and whole images or series."""

from __future__ import annotations

from ..options import pool_window
from .call import Call, layer
from .code import Value, many, tupled
from .convolutions import window


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D")
def max_pool(call: Call) -> Value:
    return _pool(call, "Max")


@layer(*(f"{kind}{n}D" for kind in ("AveragePooling", "AvgPool") for n in (1, 2, 3)))
def average_pool(call: Call) -> Value:
    """Keras leaves the padding out of an average; torch does with count_include_pad=False."""
    return _pool(call, "Avg")


def _pool(call: Call, kind: str) -> Value:
    x, shape = call.image()
    count = x.rank - 2
    extents, strides = pool_window(call, count)
    padding, sizes = window(call, shape[2:], extents, strides)
    uneven = bool(padding.pads) or padding.dynamic
    rest = f", stride={many(strides)}" if strides != extents else ""
    if kind == "Avg" and uneven:
        part = call.b.part("SamePadAveragePool")
        ref = call.module(f"{part}({tupled(extents)}, {tupled(strides)})")
        y = f"{ref}({x})"
    else:
        rest += padding.option
        if kind == "Avg" and padding.option:
            rest += ", count_include_pad=False"
        ref = call.module(f"nn.{kind}Pool{count}d({many(extents)}{rest})")
        lowest = "float('-inf')"
        y = f"{ref}({padding.around(call.b, x, extents, strides, lowest)})"
    return call.from_first(y, (*shape[:2], *sizes))


@layer(*(f"{kind}{n}D" for kind in ("GlobalMaxPooling", "GlobalMaxPool") for n in (1, 2, 3)))
def global_max_pool(call: Call) -> Value:
    return _whole(call, "amax")


@layer(*(f"{kind}{n}D" for kind in ("GlobalAveragePooling", "GlobalAvgPool") for n in (1, 2, 3)))
def global_average_pool(call: Call) -> Value:
    mask = call.raw.mask
    if mask is not None and call.layer.kind.endswith("1D"):
        return _masked_average(call, mask)
    return _whole(call, "mean")


def _whole(call: Call, method: str) -> Value:
    b, x = call.b, call.x
    keep = call.flag("keepdims", False)
    ones = [1] * (x.rank - 2) if keep else []
    if call.channels_first:
        x = b.last(x)
        axes, shape = range(2, x.rank), (*x.shape[:2], *ones)
    else:
        axes = range(2, x.rank) if x.first else range(1, x.rank - 1)
        shape = (x.shape[0], *ones, x.shape[-1])
    text = f"{x}.{method}(dim={tupled(list(axes))}{', keepdim=True' if keep else ''})"
    return b.value(text, shape, first=x.first and keep)


def _masked_average(call: Call, mask: Value) -> Value:
    """The mean of the steps that count (keras/src/layers/pooling/global_average_pooling1d.py)."""
    if call.channels_first:
        raise call.unsupported("a mask and data_format='channels_first'")
    b, x = call.b, call.b.last(call.x)
    keep = call.flag("keepdims", False)
    kept = ", keepdim=True" if keep else ""
    counted = b.value(f"{mask}.unsqueeze(2).float()", (*x.shape[:2], 1))
    text = f"({x} * {counted}).sum(1{kept}) / {counted}.sum(1{kept})"
    return b.value(text, (x.shape[0], 1, x.shape[2]) if keep else (x.shape[0], x.shape[2]))
