"""Layers that merge several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .. import shapes
from ..options import dot_axes
from ..values import Shape
from .call import Call, layer
from .code import Code, Value
from .normalization import unit_length


def _widened(b: Code, value: Value, count: int, shape: Shape) -> Value:
    return b.value(f"{value}[:{', None' * count}]", shape, value.dtype, mask=value.mask)


_INFIX = {"Add": " + ", "Subtract": " - ", "Multiply": " * ", "Average": " + "}
_NESTED = {"Maximum": "torch.maximum", "Minimum": "torch.minimum"}


@layer(*_INFIX, *_NESTED)
def merge(call: Call) -> Value:
    """Elementwise, in order."""
    b, kind = call.b, call.layer.kind
    values = b.same_rank(call.inputs, partial(_widened, b))
    shape = shapes.broadcast(*(v.shape for v in values))
    mask = merged_mask(call, values)
    if kind in _INFIX:
        text = _INFIX[kind].join(map(str, values))
        text = f"({text}) / {len(values)}" if kind == "Average" else text
    else:
        text = str(values[0])
        for value in values[1:]:
            text = f"{_NESTED[kind]}({text}, {value})"
    return b.like(values[0], text, shape=shape, mask=mask)


def merged_mask(call: Call, values: Sequence[Value]) -> Value | None:
    """A step counts where it counts in all inputs that have a mask."""
    masks = [v.mask for v in values if v.mask is not None]
    if not masks:
        return None
    if call.layer.kind not in ("Add", "Subtract", "Average"):
        raise call.unsupported("masked inputs")
    distinct = list({mask.id: mask for mask in masks}.values())
    if len(distinct) == 1:
        return distinct[0]
    return call.b.value(" & ".join(map(str, distinct)), distinct[0].shape, "bool")


@layer("Concatenate")
def concatenate(call: Call) -> Value:
    if any(v.mask for v in call.inputs):
        raise call.unsupported("masked inputs")
    return joined(call.b, call.inputs, call.integer("axis", -1))


def joined(b: Code, values: Sequence[Value], axis: int) -> Value:
    """The values one after the other along Keras' `axis`."""
    values = b.aligned(values)
    axis %= values[0].rank
    shape = shapes.joined([v.shape for v in values], axis)
    text = f"torch.cat([{', '.join(map(str, values))}], dim={b.axis(values[0], axis)})"
    return b.like(values[0], text, shape=shape, mask=None)


@layer("Dot")
def dot(call: Call) -> Value:
    """The batches' products, summed over one axis of each (keras: `batch_dot`)."""
    b = call.b
    left, right = (b.last(v) for v in call.inputs)
    pair = dot_axes(call)
    names = [str(left), str(right)]
    if call.flag("normalize"):
        names = [unit_length(b, v, [a]) for v, a in zip((left, right), pair, strict=True)]
    equation, shape = shapes.dot_equation(left, right, pair)
    text = f"torch.einsum({equation!r}, {', '.join(names)})"
    if len(shape) == 1:
        return b.value(f"{text}.unsqueeze(1)", (*shape, 1))
    return b.value(text, shape)
