"""Operations that change shapes: reductions, reshaping, slicing, joining. See operations.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .builder import Value
from .call import Call, operation
from .merging import broadcast, joined
from .operations import LEFT, RIGHT, axes_of, given, tensor
from .shapes import slices

_REDUCTIONS = {"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin",
               "Prod": "ReduceProd", "Logsumexp": "ReduceLogSumExp"}  # fmt: skip


@operation(*_REDUCTIONS)
def reduction(call: Call) -> Value:
    b, x = call.b, tensor(call, 0, "x", "input_tensor")
    axes = axes_of(call, x, given(call, 1, "axis"))
    keep = bool(given(call, 2, "keepdims", default=False))
    first = x.first and (keep or axes == list(range(1, x.rank - 1)))
    x = x if first else b.last(x)
    at = b.constant([b.axis(x, axis) for axis in axes])
    name = b.node(_REDUCTIONS[call.layer.kind], x.name, at, keepdims=int(keep))
    sizes = enumerate(x.shape)
    shape = tuple(1 if i in axes else n for i, n in sizes if keep or i not in axes)
    return replace(x, name=name, shape=shape, first=first and keep, mask=None)


@operation("Reshape")
def reshape(call: Call) -> Value:
    x, wanted = tensor(call), given(call, 1, "newshape", "shape")
    if not isinstance(wanted, (list, tuple)) or not all(
        n is None or type(n) is int for n in wanted
    ):
        raise call.unsupported(f"the shape {wanted!r}")
    if not wanted or wanted[0] not in (-1, None, x.shape[0]) or x.rank < 2:
        raise call.unsupported(f"a shape that moves the batch: {wanted!r}")
    rest = [n if n not in (-1, None) else None for n in wanted[1:]]
    return call.b.reshape(x, (x.shape[0], *rest))


@operation("Transpose")
def transpose(call: Call) -> Value:
    x = call.b.last(tensor(call))
    order = given(call, 1, "axes", "perm")
    order = list(range(x.rank))[::-1] if order is None else [int(i) % x.rank for i in order]
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@operation("Swapaxes", "Moveaxis")
def swapaxes(call: Call) -> Value:
    x = call.b.last(tensor(call))
    one, other = given(call, 1, "axis1", "source"), given(call, 2, "axis2", "destination")
    if type(one) is not int or type(other) is not int:
        raise call.unsupported(f"the axes {one!r} and {other!r}")
    order = list(range(x.rank))
    if call.layer.kind == "Swapaxes":
        order[one], order[other] = order[other], order[one]
    else:
        order.insert(other % x.rank, order.pop(one % x.rank))
    name = call.b.node("Transpose", x.name, perm=order)
    return Value(name, tuple(x.shape[i] for i in order), x.dtype)


@operation("ExpandDims")
def expand_dims(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    axis = given(call, 1, "axis")
    listed = axis if isinstance(axis, (list, tuple)) else [axis]
    rank = x.rank + len(listed)
    axes = sorted(int(a) % rank for a in listed)
    sizes = iter(x.shape)
    shape = tuple(1 if i in axes else next(sizes) for i in range(rank))
    return Value(b.node("Unsqueeze", x.name, b.constant(axes)), shape, x.dtype)


@operation("Squeeze")
def squeeze(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    axis = given(call, 1, "axis")
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else axes_of(call, x, axis)
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return Value(b.node("Squeeze", x.name, b.constant(axes)), shape, x.dtype)


@operation("Concatenate", "Stack")
def concatenate(call: Call) -> Value:
    b = call.b
    values = given(call, 0, "xs", "x", "values")
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, Value) for v in values):
        raise call.unsupported("such operands")
    axis = int(given(call, 1, "axis", default=0))
    if call.layer.kind == "Concatenate":
        return joined(b, list(values), axis)
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
    parts = given(call, 1, "indices_or_sections", "num_or_size_splits")
    axis = int(given(call, 2, "axis", default=0)) % x.rank
    size = x.shape[axis]
    if type(parts) is not int or size is None or not 0 < parts <= 1024 or size % parts:
        raise call.unsupported(f"{parts!r} parts of an axis of {size}")
    names = b.nodes("Split", [x.name], parts, axis=b.axis(x, axis), num_outputs=parts)
    shape = (*x.shape[:axis], size // parts, *x.shape[axis + 1 :])
    return tuple(replace(x, name=name, shape=shape, mask=None) for name in names)


@operation("Tile")
def tile(call: Call) -> Value:
    b, x = call.b, call.b.last(tensor(call))
    repeats = given(call, 1, "repeats", "multiples")
    repeats = [repeats] if type(repeats) is int else list(repeats)
    if len(repeats) > x.rank:
        raise call.unsupported(f"repeats={repeats!r}")
    repeats = [1] * (x.rank - len(repeats)) + repeats
    shape = tuple(None if n is None else n * r for n, r in zip(x.shape, repeats, strict=True))
    return Value(b.node("Tile", x.name, b.constant(repeats)), shape, x.dtype)


@operation("Pad")
def pad(call: Call) -> Value:
    b, x = call.b, tensor(call)
    around = given(call, 1, "pad_width", "paddings")
    mode = str(given(call, 2, "mode", default="constant")).lower()
    if mode != "constant" or given(call, 3, "constant_values", default=0) != 0:
        raise call.unsupported(f"mode={mode!r}")
    pads = [[0] * x.rank, [0] * x.rank]
    shape = list(x.shape)
    for axis, (before, after) in enumerate(around):
        pads[0][b.axis(x, axis)], pads[1][b.axis(x, axis)] = int(before), int(after)
        size = shape[axis]
        shape[axis] = None if size is None else size + int(before) + int(after)
    name = b.node("Pad", x.name, b.constant(pads[0] + pads[1]))
    return replace(x, name=name, shape=tuple(shape), mask=None)


@operation("GetItem")
def get_item(call: Call) -> Value:
    """x[...] with slices, numbers, an ellipsis and new axes."""
    b, x = call.b, tensor(call)
    key = given(call, 1, "key", "slice_spec")
    key = list(key) if isinstance(key, (list, tuple)) else [key]
    key = [_slice(call, one) for one in key]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        rest = sum(1 for k in key if k is not None and k is not Ellipsis)
        key[at : at + 1] = [slice(None)] * (x.rank - rest)
    cuts: dict[int, tuple[int | None, int | None, int | None]] = {}
    dropped: list[int] = []
    added: list[int] = []
    axis = 0
    for at, one in enumerate(key):
        if one is None:
            added.append(at - len(dropped))
        elif isinstance(one, slice):
            if one != slice(None):
                cuts[axis] = (one.start, one.stop, one.step)
            axis += 1
        else:
            cuts[axis] = (one, one + 1 if one != -1 else None, 1)
            dropped.append(axis)
            axis += 1
    y = slices(call, x, cuts) if cuts else x
    if dropped or added:
        y = b.last(y)
        shape = [n for i, n in enumerate(y.shape) if i not in dropped]
        name = b.node("Squeeze", y.name, b.constant(dropped)) if dropped else y.name
        for axis in added:
            shape.insert(axis, 1)
        name = b.node("Unsqueeze", name, b.constant(added)) if added else name
        y = Value(name, tuple(shape), y.dtype)
    return replace(y, mask=None)


def _slice(call: Call, one: Any) -> Any:
    if isinstance(one, dict) and "start" in one:
        one = slice(one.get("start"), one.get("stop"), one.get("step"))
    ends = [one.start, one.stop, one.step] if isinstance(one, slice) else [one]
    if one is not Ellipsis and not all(end is None or type(end) is int for end in ends):
        raise call.unsupported(f"the index {one!r}")
    return one


@operation("Matmul")
def matmul(call: Call) -> Value:
    b = call.b
    left, right = b.last(tensor(call, 0, *LEFT)), b.last(tensor(call, 1, *RIGHT))
    if left.rank < 2 or right.rank < 2:
        raise call.unsupported("a vector")
    if any(given(call, 2, name, default=False) for name in ("transpose_a", "transpose_b")):
        raise call.unsupported("transpose_a or transpose_b")
    outer = broadcast(left.shape[:-2], right.shape[:-2]) if left.rank + right.rank > 4 else ()
    shape = (*outer, left.shape[-2], right.shape[-1])
    return Value(b.node("MatMul", left.name, right.name), shape)


@operation("Identity", "StopGradient")
def identity(call: Call) -> Value:
    return tensor(call)
