"""Layers that merge several tensors."""

from __future__ import annotations

from collections.abc import Sequence

from ..onnx_export.merging import broadcast
from .call import Call, layer
from .code import Code, Value
from .normalization import unit_length


def aligned(b: Code, values: Sequence[Value]) -> list[Value]:
    """The values of one rank in one layout: channels first where any of them is."""
    if any(v.first for v in values):
        return [b.first(v) for v in values]
    return [b.last(v) for v in values]


def same_rank(b: Code, values: Sequence[Value]) -> list[Value]:
    """The values with axes of one element after the batch, until all have the same rank, and in
    the same layout (keras/src/layers/merging/base_merge.py)."""
    rank = max(v.rank for v in values)
    if all(v.rank == rank for v in values):
        return aligned(b, values)
    found = []
    for value in map(b.last, values):
        missing = rank - value.rank
        if missing:
            shape = (value.shape[0], *[1] * missing, *value.shape[1:])
            text = f"{value}[:{', None' * missing}]"
            value = b.value(text, shape, value.dtype, mask=value.mask)
        found.append(value)
    return found


_INFIX = {"Add": " + ", "Subtract": " - ", "Multiply": " * ", "Average": " + "}
_NESTED = {"Maximum": "torch.maximum", "Minimum": "torch.minimum"}


@layer(*_INFIX, *_NESTED)
def merge(call: Call) -> Value:
    """Elementwise, in order."""
    b, kind = call.b, call.layer.kind
    values = same_rank(b, call.inputs)
    shape = broadcast(*(v.shape for v in values))
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
    values = aligned(b, values)
    axis %= values[0].rank
    sizes = [v.shape[axis] for v in values]
    shape = [*values[0].shape]
    for other in values[1:]:
        shape = [n if n is not None else m for n, m in zip(shape, other.shape, strict=True)]
    shape[axis] = None if None in sizes else sum(n for n in sizes if n is not None)
    text = f"torch.cat([{', '.join(map(str, values))}], dim={b.axis(values[0], axis)})"
    return b.like(values[0], text, shape=tuple(shape), mask=None)


@layer("Dot")
def dot(call: Call) -> Value:
    """The batches' products, summed over one axis of each (keras: `batch_dot`)."""
    b = call.b
    left, right = (b.last(v) for v in call.inputs)
    axes = call.option("axes", -1)
    pair = [axes, axes] if isinstance(axes, int) else list(axes)
    if len(pair) != 2 or not all(type(axis) is int for axis in pair):
        raise call.unsupported(f"axes={axes!r}")
    names = [str(left), str(right)]
    if call.flag("normalize"):
        names = [unit_length(b, v, [a]) for v, a in zip((left, right), pair, strict=True)]
    one, other = pair[0] % left.rank, pair[1] % right.rank
    letters = iter("abcdefghijklmnopq")
    mine = ["z", *(next(letters) for _ in range(left.rank - 1))]
    its = ["z", *(next(letters) for _ in range(right.rank - 1))]
    mine[one] = its[other] = "y"
    out = [x for x in mine if x != "y"] + [x for x in its[1:] if x != "y"]
    equation = f"{''.join(mine)},{''.join(its)}->{''.join(out)}"
    sizes = dict(zip(mine + its, [*left.shape, *right.shape], strict=True))
    shape = tuple(sizes[letter] for letter in out)
    text = f"torch.einsum({equation!r}, {', '.join(names)})"
    if len(shape) == 1:
        return b.value(f"{text}.unsqueeze(1)", (*shape, 1))
    return b.value(text, shape)
