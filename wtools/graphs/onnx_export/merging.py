"""Layers that merge several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from .. import shapes
from ..options import dot_axes
from ..values import Shape
from .builder import Builder, Value
from .call import Call, layer
from .normalization import l2_normalized


def _widened(b: Builder, value: Value, count: int, shape: Shape) -> Value:
    name = b.node("Unsqueeze", value.name, b.constant(list(range(1, 1 + count))))
    return replace(value, name=name, shape=shape)


def _merge(call: Call, op: str, *, chain: bool) -> Value:
    """`chain`: the operation takes two inputs at a time; else all of them at once."""
    b = call.b
    values = b.same_rank(call.inputs, partial(_widened, b))
    shape = shapes.broadcast(*(v.shape for v in values))
    mask = merged_mask(call, values)
    name = values[0].name
    if chain:
        for value in values[1:]:
            name = b.node(op, name, value.name)
    elif len(values) > 1:
        name = b.node(op, *(v.name for v in values))
    return replace(values[0], name=name, shape=shape, mask=mask)


def merged_mask(call: Call, values: Sequence[Value]) -> Value | None:
    """A step counts where it counts in all inputs that have a mask."""
    masks = [v.mask for v in values if v.mask is not None]
    if not masks:
        return None
    if call.layer.kind not in ("Add", "Subtract", "Average"):
        raise call.unsupported("masked inputs")
    mask = masks[0]
    for other in masks[1:]:
        if other.name != mask.name:
            mask = replace(mask, name=call.b.node("And", mask.name, other.name))
    return mask


@layer("Add")
def add(call: Call) -> Value:
    return _merge(call, "Add", chain=True)


@layer("Subtract")
def subtract(call: Call) -> Value:
    return _merge(call, "Sub", chain=True)


@layer("Multiply")
def multiply(call: Call) -> Value:
    return _merge(call, "Mul", chain=True)


@layer("Average")
def average(call: Call) -> Value:
    return _merge(call, "Mean", chain=False)


@layer("Maximum")
def maximum(call: Call) -> Value:
    return _merge(call, "Max", chain=False)


@layer("Minimum")
def minimum(call: Call) -> Value:
    return _merge(call, "Min", chain=False)


@layer("Concatenate")
def concatenate(call: Call) -> Value:
    if any(v.mask for v in call.inputs):
        raise call.unsupported("masked inputs")
    return joined(call.b, call.inputs, call.integer("axis", -1))


def joined(b: Builder, values: Sequence[Value], axis: int) -> Value:
    """The values one after the other along Keras' `axis`."""
    values = b.aligned(values)
    axis %= values[0].rank
    shape = shapes.joined([v.shape for v in values], axis)
    at = b.axis(values[0], axis)
    name = b.node("Concat", *(v.name for v in values), axis=at)
    return replace(values[0], name=name, shape=shape, mask=None)


@layer("Dot")
def dot(call: Call) -> Value:
    """The batches' products, summed over one axis of each (keras: `batch_dot`)."""
    b = call.b
    left, right = (b.last(v) for v in call.inputs)
    pair = dot_axes(call)
    if call.flag("normalize"):
        left = l2_normalized(b, left, [pair[0]], 1e-12)
        right = l2_normalized(b, right, [pair[1]], 1e-12)
    equation, shape = shapes.dot_equation(left, right, pair)
    y = Value(b.node("Einsum", left.name, right.name, equation=equation), shape)
    if y.rank == 1:
        y = Value(b.node("Unsqueeze", y.name, b.constant([1])), (*shape, 1))
    return y
