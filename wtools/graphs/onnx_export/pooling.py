"""Pooling: windows, and whole images or series."""

from __future__ import annotations

from dataclasses import replace

from ..options import pool_window
from .builder import Builder, Value
from .call import Call, layer
from .convolutions import window


def _pool(call: Call, op: str) -> Value:
    """ONNX, like Keras, leaves the padding out of an average (count_include_pad=0)."""
    x, shaped = call.image()
    extents, strides = pool_window(call, x.rank - 2)
    pads, sizes = window(call, shaped.shape[2:], extents, strides)
    name = call.b.node(op, x.name, kernel_shape=extents, strides=strides, **pads)
    return call.from_first(name, (*shaped.shape[:2], *sizes))


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D")
def max_pool(call: Call) -> Value:
    return _pool(call, "MaxPool")


@layer(*(f"{kind}{n}D" for kind in ("AveragePooling", "AvgPool") for n in (1, 2, 3)))
def average_pool(call: Call) -> Value:
    return _pool(call, "AveragePool")


def _global(call: Call, op: str) -> Value:
    b, x = call.b, call.x
    keep = call.flag("keepdims", False)
    if call.channels_first:
        x = b.last(x)
        axes = list(range(2, x.rank))
        shape = (*x.shape[:2], *([1] * (x.rank - 2) if keep else []))
    else:
        axes = list(range(2, x.rank)) if x.first else list(range(1, x.rank - 1))
        shape = (x.shape[0], *([1] * (x.rank - 2) if keep else []), x.shape[-1])
    name = b.node(op, x.name, b.constant(axes), keepdims=int(keep))
    return Value(name, shape, first=x.first and keep)


@layer(*(f"{kind}{n}D" for kind in ("GlobalMaxPooling", "GlobalMaxPool") for n in (1, 2, 3)))
def global_max_pool(call: Call) -> Value:
    return _global(call, "ReduceMax")


@layer(*(f"{kind}{n}D" for kind in ("GlobalAveragePooling", "GlobalAvgPool") for n in (1, 2, 3)))
def global_average_pool(call: Call) -> Value:
    if call.layer.kind.endswith("1D") and call.x.mask is not None:
        return _masked_average(call, call.x, call.x.mask)
    return _global(call, "ReduceMean")


def _masked_average(call: Call, x: Value, mask: Value) -> Value:
    """The mean of the steps that count (keras/src/layers/pooling/global_average_pooling1d.py)."""
    b: Builder = call.b
    if call.channels_first:
        raise call.unsupported("a mask and data_format='channels_first'")
    x = b.last(x)
    keep = call.flag("keepdims", False)
    wide = b.node("Unsqueeze", mask.name, b.constant([2]))
    kept = b.node("Where", wide, x.name, b.number(0.0))
    total = b.node("ReduceSum", kept, b.constant([1]), keepdims=int(keep))
    count = b.node("Cast", wide, to=1)
    count = b.node("ReduceSum", count, b.constant([1]), keepdims=int(keep))
    shape = (x.shape[0], 1, x.shape[2]) if keep else (x.shape[0], x.shape[2])
    return replace(x, name=b.node("Div", total, count), shape=shape, mask=None)
