"""Embedding and Masking: where masks begin."""

from __future__ import annotations

from dataclasses import replace

from .builder import Value
from .call import Call, layer


@layer("Embedding")
def embedding(call: Call) -> Value:
    b, x, table = call.b, call.b.last(call.x), call.weight("embeddings", "W")
    ids = x
    if x.dtype not in ("int32", "int64"):
        ids = replace(x, name=b.node("Cast", x.name, to=6), dtype="int32")
    name = b.node("Gather", b.weight(table), ids.name, axis=0)
    mask = None
    if call.flag("mask_zero"):
        kept = b.node("Not", b.node("Equal", ids.name, b.constant(0, ids.dtype)))
        mask = Value(kept, x.shape, "bool")
    return Value(name, (*x.shape, table.shape[1]), mask=mask)


@layer("Masking")
def masking(call: Call) -> Value:
    """Steps whose features all have the value `mask_value` do not count, and become zeros."""
    b, x = call.b, call.b.last(call.x)
    other = b.node("Not", b.node("Equal", x.name, b.number(call.number("mask_value", 0.0))))
    any_ = b.node("ReduceMax", b.node("Cast", other, to=1), b.constant([x.rank - 1]), keepdims=1)
    name = b.node("Mul", x.name, any_)
    flat = b.node("Squeeze", any_, b.constant([x.rank - 1]))
    mask = Value(b.node("Cast", flat, to=9), x.shape[:-1], "bool")
    return replace(x, name=name, mask=mask if x.rank == 3 else None)
