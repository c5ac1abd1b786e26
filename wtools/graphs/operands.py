"""What operations on tensors are given: keras.ops in Keras 3, TFOpLambda in Keras 2.

Keras 3 writes an operation as a layer of its class ("Multiply"), Keras 2 as a TFOpLambda with the
name of TensorFlow's function ("math.multiply"). The tensors come as arguments, the rest as
arguments (TensorFlow) or as the operation's config (Keras 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .calls import LayerCall, Table
from .shapes import broadcast, numbers
from .tensorflow_functions import operation_of
from .values import Laid, Layouts, Shape

V = TypeVar("V", bound=Laid)
C = TypeVar("C", bound=LayerCall[Any, Any])

MOST_PARTS = 1024  # of a split
LEFT, RIGHT = ("x1", "x", "a"), ("x2", "y", "b")
_FIRST = ("x", "input", "features", "logits", "inputs", "value", "input_tensor")
# class of the operation -> the activation's name
ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Softplus": "softplus", "Softsign": "softsign", "Selu": "selu", "Silu": "silu",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid", "TanhShrink": "tanh_shrink",
    "Squareplus": "squareplus", "SparseSigmoid": "sparse_sigmoid",
}  # fmt: skip


def given(call: LayerCall[Any, Any], at: int, *names: str, default: Any = None) -> Any:
    """Argument number `at`, or the one of those names, or the option of the config."""
    for name in names:
        value = call.argument(at, name)
        if value is not None:
            return value
        if call.layer.config.get(name) is not None and name != "name":
            return call.layer.config[name]
    return call.argument(at, names[0] if names else "", default)


def tensor(call: LayerCall[Any, V], at: int = 0, *names: str) -> V:
    """That argument, which must be a tensor."""
    value = given(call, at, *(names or _FIRST))
    if not isinstance(value, call.VALUE):
        raise call.unsupported(f"the operand {value!r}")
    return value  # type: ignore[return-value]


def alike(b: Layouts[V], values: Sequence[V]) -> tuple[list[V], V]:
    """(the values in one layout, one that has the rank of their broadcast result)."""
    rank = max(value.rank for value in values)
    if any(value.rank < rank for value in values):
        found = [b.last(value) for value in values]
    else:
        found = b.aligned(values)
    return found, next(value for value in found if value.rank == rank)


def several(call: LayerCall[Any, V]) -> list[V]:
    """The tensors that are joined."""
    values = given(call, 0, "xs", "x", "values")
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, call.VALUE) for v in values):
        raise call.unsupported("such operands")
    return list(values)


def new_shape(call: LayerCall[Any, Any], x: Laid) -> Shape:
    """The shape of a Reshape, which must leave the batch alone."""
    wanted = given(call, 1, "newshape", "shape")
    if not numbers(wanted, unknown=True):
        raise call.unsupported(f"the shape {wanted!r}")
    if not wanted or wanted[0] not in (-1, None, x.shape[0]) or x.rank < 2:
        raise call.unsupported(f"a shape that moves the batch: {wanted!r}")
    return (x.shape[0], *(None if n == -1 else n for n in wanted[1:]))


def transposed(call: LayerCall[Any, Any], x: Laid) -> list[int]:
    """The order of axes of a Transpose."""
    order = given(call, 1, "axes", "perm")
    return list(range(x.rank))[::-1] if order is None else [int(i) % x.rank for i in order]


def swapped(call: LayerCall[Any, Any], x: Laid) -> list[int]:
    """The order of axes of a Swapaxes or a Moveaxis."""
    one, other = given(call, 1, "axis1", "source"), given(call, 2, "axis2", "destination")
    if type(one) is not int or type(other) is not int:
        raise call.unsupported(f"the axes {one!r} and {other!r}")
    order = list(range(x.rank))
    if call.layer.kind == "Swapaxes":
        order[one], order[other] = order[other], order[one]
    else:
        order.insert(other % x.rank, order.pop(one % x.rank))
    return order


def split(call: LayerCall[Any, Any], x: Laid) -> tuple[int, int, Shape]:
    """(how many parts, along which axis, the shape of each)."""
    parts = given(call, 1, "indices_or_sections", "num_or_size_splits")
    axis = int(given(call, 2, "axis", default=0)) % x.rank
    size = x.shape[axis]
    if type(parts) is not int or size is None or not 0 < parts <= MOST_PARTS or size % parts:
        raise call.unsupported(f"{parts!r} parts of an axis of {size}")
    return parts, axis, (*x.shape[:axis], size // parts, *x.shape[axis + 1 :])


def tiled(call: LayerCall[Any, Any], x: Laid) -> tuple[list[int], Shape]:
    """(how often each axis is repeated, the shape)."""
    repeats = given(call, 1, "repeats", "multiples")
    repeats = [repeats] if type(repeats) is int else [int(n) for n in repeats]
    if len(repeats) > x.rank:
        raise call.unsupported(f"repeats={repeats!r}")
    repeats = [1] * (x.rank - len(repeats)) + repeats
    sizes = zip(x.shape, repeats, strict=True)
    return repeats, tuple(None if n is None else n * r for n, r in sizes)


def around(call: LayerCall[Any, Any]) -> dict[int, tuple[int, int]]:
    """How many zeros a Pad adds before and after each axis."""
    pairs = given(call, 1, "pad_width", "paddings")
    mode = str(given(call, 2, "mode", default="constant")).lower()
    if mode != "constant" or given(call, 3, "constant_values", default=0) != 0:
        raise call.unsupported(f"mode={mode!r}")
    return {axis: (int(before), int(after)) for axis, (before, after) in enumerate(pairs)}


def matrices(call: LayerCall[Any, V], b: Layouts[V]) -> tuple[V, V, Shape]:
    """(left, right, the shape of their product): matrices, or batches of them."""
    left, right = b.last(tensor(call, 0, *LEFT)), b.last(tensor(call, 1, *RIGHT))
    if left.rank < 2 or right.rank < 2:
        raise call.unsupported("a vector")
    if any(given(call, 2, name, default=False) for name in ("transpose_a", "transpose_b")):
        raise call.unsupported("transpose_a or transpose_b")
    outer = broadcast(left.shape[:-2], right.shape[:-2]) if left.rank + right.rank > 4 else ()
    return left, right, (*outer, left.shape[-2], right.shape[-1])


def contraction(call: LayerCall[Any, V], b: Layouts[V]) -> tuple[str, V, V, Shape]:
    """(equation, left, right, shape) of an einsum of two tensors, every axis by a letter."""
    equation = call.text("subscripts").replace(" ", "")
    sides, arrow, output = equation.partition("->")
    inputs = sides.split(",")
    letters = (*inputs, output)
    if not arrow or len(inputs) != 2 or any(len(set(s)) < len(s) or "." in s for s in letters):
        raise call.unsupported(f"subscripts={equation!r}")
    left, right = b.last(tensor(call, 0)), b.last(tensor(call, 1))
    sizes = dict(zip(inputs[1], right.shape, strict=True))
    sizes |= {a: n for a, n in zip(inputs[0], left.shape, strict=True) if n is not None}
    return equation, left, right, tuple(sizes.get(letter) for letter in output)


@dataclass(frozen=True)
class Index:
    """x[...]: slices by axis; then axes of one element that go, then others that come."""

    cuts: Mapping[int, slice]
    dropped: Sequence[int]
    added: Sequence[int]

    def reshaped(self, shape: Shape) -> Shape:
        """The shape without the axes that go and with those that come."""
        left = [n for i, n in enumerate(shape) if i not in self.dropped]
        for axis in self.added:
            left.insert(axis, 1)
        return tuple(left)


def index(call: LayerCall[Any, Any], x: Laid) -> Index:
    """The index of a GetItem: slices, numbers, an ellipsis and new axes."""
    key = given(call, 1, "key", "slice_spec")
    key = [_plain(call, one) for one in (key if isinstance(key, (list, tuple)) else [key])]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        rest = sum(1 for k in key if k is not None and k is not Ellipsis)
        key[at : at + 1] = [slice(None)] * (x.rank - rest)
    cuts: dict[int, slice] = {}
    dropped: list[int] = []
    added: list[int] = []
    axis = 0
    for at, one in enumerate(key):
        if one is None:
            added.append(at - len(dropped))
            continue
        if not isinstance(one, slice):
            dropped.append(axis)
            cuts[axis] = slice(one, one + 1 if one != -1 else None)
        elif one != slice(None):
            cuts[axis] = one
        axis += 1
    return Index(cuts, dropped, added)


def _plain(call: LayerCall[Any, Any], one: Any) -> Any:
    if isinstance(one, dict) and "start" in one:
        one = slice(one.get("start"), one.get("stop"), one.get("step"))
    ends = [one.start, one.stop, one.step] if isinstance(one, slice) else [one]
    if one is not Ellipsis and not all(end is None or type(end) is int for end in ends):
        raise call.unsupported(f"the index {one!r}")
    return one


def tensorflow_operation(call: C, table: Table[C, V]) -> V | tuple[V, ...]:
    """A TFOpLambda, by the function of the operation that does the same."""
    kind = operation_of(call.text("function"))
    if kind not in table.operations:
        raise call.unsupported(f"the function {call.text('function')!r}")
    kwargs = {key: value for key, value in call.kwargs.items() if value is not None}
    if kind == "LeakyRelu":
        kwargs.setdefault("alpha", 0.2)
    if kind == "Gelu":
        kwargs.setdefault("approximate", False)
    inner = replace(call.layer, kind=kind, config={})
    return table.operations[kind](replace(call, layer=inner, kwargs=kwargs))
