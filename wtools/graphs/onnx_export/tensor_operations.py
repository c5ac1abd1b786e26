"""Operations that change shapes: reductions, reshaping, slicing, joining. See operations.py."""

from __future__ import annotations

from dataclasses import replace

from .. import operands
from ..operands import given, tensor
from ..shapes import axes_of, expanded, reduced, squeezed
from .builder import Value
from .call import Call, operation
from .merging import joined
from .shapes import padded, slices

_REDUCTIONS = {"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin",
               "Prod": "ReduceProd", "Logsumexp": "ReduceLogSumExp"}  # fmt: skip


@operation(*_REDUCTIONS)
def reduction(call: Call) -> Value:
    b, x = call.b, tensor(call, 0, "x", "input_tensor")
    axes = axes_of(given(call, 1, "axis"), x.rank)
    keep = bool(given(call, 2, "keepdims", default=False))
    first = x.first and (keep or axes == list(range(1, x.rank - 1)))
    x = x if first else b.last(x)
    at = b.constant([b.axis(x, axis) for axis in axes])
    name = b.node(_REDUCTIONS[call.layer.kind], x.name, at, keepdims=int(keep))
    shape = reduced(x.shape, axes, keep)
    return replace(x, name=name, shape=shape, first=first and keep, mask=None)


@operation("Reshape")
def reshape(call: Call) -> Value:
    x = tensor(call)
    return call.b.reshape(x, operands.new_shape(call, x))


@operation("Transpose")
def transpose(call: Call) -> Value:
    x = call.b.last(tensor(call))
    order = operands.transposed(call, x)
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@operation("Swapaxes", "Moveaxis")
def swapaxes(call: Call) -> Value:
    x = call.b.last(tensor(call))
    order = operands.swapped(call, x)
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@operation("ExpandDims")
def expand_dims(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    axes, shape = expanded(x.shape, given(call, 1, "axis"))
    return Value(b.node("Unsqueeze", x.name, b.constant(axes)), shape, x.dtype)


@operation("Squeeze")
def squeeze(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    axes, shape = squeezed(x.shape, given(call, 1, "axis"))
    return Value(b.node("Squeeze", x.name, b.constant(axes)), shape, x.dtype)


@operation("Concatenate", "Stack")
def concatenate(call: Call) -> Value:
    b = call.b
    values = operands.several(call)
    axis = int(given(call, 1, "axis", default=0))
    if call.layer.kind == "Concatenate":
        return joined(b, values, axis)
    rank = values[0].rank + 1
    wide = []
    for value in map(b.last, values):
        shape = [*value.shape]
        shape.insert(axis % rank, 1)
        name = b.node("Unsqueeze", value.name, b.constant([axis % rank]))
        wide.append(Value(name, tuple(shape), value.dtype))
    return joined(b, wide, axis)


@operation("Split")
def split(call: Call) -> tuple[Value, ...]:
    b, x = call.b, tensor(call)
    parts, axis, shape = operands.split(call, x)
    names = b.nodes("Split", [x.name], parts, axis=b.axis(x, axis), num_outputs=parts)
    return tuple(replace(x, name=name, shape=shape, mask=None) for name in names)


@operation("Tile")
def tile(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    repeats, shape = operands.tiled(call, x)
    return Value(b.node("Tile", x.name, b.constant(repeats)), shape, x.dtype)


@operation("Pad")
def pad(call: Call) -> Value:
    return padded(call.b, tensor(call), operands.around(call))


@operation("GetItem")
def get_item(call: Call) -> Value:
    """x[...] with slices, numbers, an ellipsis and new axes."""
    b, x = call.b, tensor(call)
    index = operands.index(call, x)
    y = slices(b, x, index.cuts) if index.cuts else x
    if index.dropped or index.added:
        y = b.last(y)
        shape, name = index.reshaped(y.shape), y.name
        if index.dropped:
            name = b.node("Squeeze", name, b.constant(index.dropped))
        if index.added:
            name = b.node("Unsqueeze", name, b.constant(index.added))
        y = Value(name, shape, y.dtype)
    return replace(y, mask=None)


@operation("Matmul")
def matmul(call: Call) -> Value:
    left, right, shape = operands.matrices(call, call.b)
    return Value(call.b.node("MatMul", left.name, right.name), shape)


@operation("Einsum")
def einsum(call: Call) -> Value:
    equation, left, right, shape = operands.contraction(call, call.b)
    return Value(call.b.node("Einsum", left.name, right.name, equation=equation), shape)


@operation("Identity", "StopGradient")
def identity(call: Call) -> Value:
    return tensor(call)
