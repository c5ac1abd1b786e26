"""Layers that merge several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .builder import Builder, Dim, Value
from .call import Call, layer
from .normalization import l2_normalized


def aligned(b: Builder, values: Sequence[Value]) -> list[Value]:
    """The values of one rank in one layout: channels first where any of them is."""
    if any(v.first for v in values):
        return [b.first(v) for v in values]
    return list(values)


def same_rank(b: Builder, values: Sequence[Value]) -> list[Value]:
    """The values with axes of one element after the batch, until all have the same rank, and in
    the same layout (keras/src/layers/merging/base_merge.py)."""
    rank = max(v.rank for v in values)
    if all(v.rank == rank for v in values):
        return aligned(b, values)
    found = []
    for value in values:
        value = b.last(value)
        missing = rank - value.rank
        if missing:
            axes = list(range(1, 1 + missing))
            shape = (value.shape[0], *[1] * missing, *value.shape[1:])
            value = replace(
                value, name=b.node("Unsqueeze", value.name, b.constant(axes)), shape=shape
            )
        found.append(value)
    return found


def broadcast(*shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """The shape of an elementwise result."""
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    found: list[Dim] = []
    for sizes in zip(*full, strict=True):
        others = [n for n in sizes if n != 1]
        known = [n for n in others if n is not None]
        found.append(known[0] if known else (None if others else 1))
    return tuple(found)


def _merge(call: Call, op: str, *, chain: bool) -> Value:
    """`chain`: the operation takes two inputs at a time; else all of them at once."""
    b = call.b
    values = same_rank(b, call.inputs)
    shape = broadcast(*(v.shape for v in values))
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
    values = aligned(b, values)
    axis %= values[0].rank
    sizes = [v.shape[axis] for v in values]
    shape = [*values[0].shape]
    for other in values[1:]:
        shape = [n if n is not None else m for n, m in zip(shape, other.shape, strict=True)]
    shape[axis] = None if None in sizes else sum(n for n in sizes if n is not None)
    at = b.axis(values[0], axis)
    name = b.node("Concat", *(v.name for v in values), axis=at)
    return replace(values[0], name=name, shape=tuple(shape), mask=None)


@layer("Dot")
def dot(call: Call) -> Value:
    """The batches' products, summed over one axis of each (keras: `batch_dot`)."""
    b = call.b
    left, right = (b.last(v) for v in call.inputs)
    axes = call.option("axes", -1)
    pair = [axes, axes] if isinstance(axes, int) else list(axes)
    if len(pair) != 2 or not all(type(axis) is int for axis in pair):
        raise call.unsupported(f"axes={axes!r}")
    if call.flag("normalize"):
        left = l2_normalized(b, left, [pair[0]], 1e-12)
        right = l2_normalized(b, right, [pair[1]], 1e-12)
    one, other = pair[0] % left.rank, pair[1] % right.rank
    letters = iter("abcdefghijklmnopq")
    mine = ["z", *(next(letters) for _ in range(left.rank - 1))]
    its = ["z", *(next(letters) for _ in range(right.rank - 1))]
    mine[one] = its[other] = "y"
    out = [x for x in mine if x != "y"] + [x for x in its[1:] if x != "y"]
    equation = f"{''.join(mine)},{''.join(its)}->{''.join(out)}"
    sizes = dict(zip(mine + its, [*left.shape, *right.shape], strict=True))
    shape = tuple(sizes[letter] for letter in out)
    y = Value(b.node("Einsum", left.name, right.name, equation=equation), shape)
    if y.rank == 1:
        y = Value(b.node("Unsqueeze", y.name, b.constant([1])), (*shape, 1))
    return y
