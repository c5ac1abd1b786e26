"""TimeDistributed: its layer or model stands between two nodes that fold time into the batch."""

from __future__ import annotations

from dataclasses import replace

from .builder import Value
from .call import Call, layer


@layer("TimeDistributed.fold")
def fold(call: Call) -> Value:
    """(batch, time, ...) -> (batch * time, ...)."""
    b, x = call.b, call.b.last(call.x)
    rest = x.shape[2:]
    if None in rest:
        raise call.unsupported(f"steps of unknown shape {rest}")
    name = b.node("Reshape", x.name, b.constant([-1, *(n for n in rest if n is not None)]))
    return Value(name, (None, *rest), x.dtype)


@layer("TimeDistributed.unfold")
def unfold(call: Call) -> Value:
    """(batch * time, ...) -> (batch, time, ...), as in the series that it is called with, too."""
    b, y = call.b, call.b.last(call.x)
    series = call.argument(1, "series")
    rest = y.shape[1:]
    if None in rest:
        raise call.unsupported(f"steps of unknown shape {rest}")
    sizes = [n for n in rest if n is not None]
    if series.shape[1] is not None:
        shape = b.constant([-1, series.shape[1], *sizes])
    else:
        shape = b.node("Shape", series.name, start=0, end=2)
        shape = b.node("Concat", shape, b.constant(sizes), axis=0) if sizes else shape
    made = replace(y, name=b.node("Reshape", y.name, shape), shape=(*series.shape[:2], *rest))
    return replace(made, mask=series.mask)
