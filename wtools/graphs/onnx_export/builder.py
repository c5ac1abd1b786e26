"""An ONNX graph being built: values with shapes and layouts, nodes, constants, weights.

Keras computes on channels-last images, ONNX on channels-first ones. A value therefore has the
shape that Keras gives it and a flag that says whether, in the ONNX graph, its channels come
first; operations that do not care pass the flag on, and a Transpose stands only where someone
does. A value that was transposed once is not transposed again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...tree import Array, LazyData, Tensor
from ..values import Dim, Laid, Layouts, Shape, as_float32

LITERAL = 64  # up to which the reader of ONNX takes integers for a shape, not for weights

Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


@dataclass(frozen=True)
class Value(Laid):
    """A tensor of the graph.

    name: in the ONNX graph. shape: as Keras has it, the batch included; None where it is not
    known before the graph runs. first: its channels, last in Keras, come second in the graph.
    mask: the value, booleans (batch, time), that says which steps count.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    first: bool = False
    mask: Value | None = None

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True)
class Operation:
    """A node of the ONNX graph."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute | Array] = field(default_factory=dict)


@dataclass
class Builder(Layouts[Value]):
    """Nodes in order, weights by name. `scope` is the layer at work, whose name things get."""

    scope: str = ""
    operations: list[Operation] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)  # weight -> the tensor it is made of
    changes: dict[str, str] = field(default_factory=dict)  # weight -> what was done to it
    notes: list[str] = field(default_factory=list)
    _taken: Counter[str] = field(default_factory=Counter)
    _constants: dict[object, str] = field(default_factory=dict)
    _turned: dict[tuple[str, bool], Value] = field(default_factory=dict)

    # --- nodes ----------------------------------------------------------------------------------

    def name(self, base: str) -> str:
        """`base`, or with `_1`, `_2`, ... the first that is free."""
        name = base
        while self._taken[name]:
            name = f"{base}_{self._taken[base]}"
            self._taken[base] += 1
        self._taken[name] += 1
        return name

    def nodes(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs; the names of these."""
        name = self.name(f"{self.scope}/{op}")
        made = [name if i == 0 else f"{name}:{i}" for i in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        for value in given.values():
            _check(value)
        self.operations.append(Operation(op, name, tuple(inputs), tuple(made), given))
        return made

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; the name of that."""
        return self.nodes(op, inputs, 1, **attributes)[0]

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A number or a list of integers: a Constant node, made once for each value; a list as
        long as a weight is an initializer."""
        array = np.asarray(value, dtype)
        if array.size > LITERAL:
            return self.array("constant", array, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.name(f"constants/{_spelled(array)}")
            self._constants[key] = name
            self.operations.append(Operation("Constant", name, (), (name,), {"value": array}))
        return self._constants[key]

    def number(self, value: float, dtype: str = "float32") -> str:
        return self.constant(value, np.dtype(dtype))

    # --- weights --------------------------------------------------------------------------------

    def weight(
        self,
        tensor: Tensor,
        shape: Sequence[int] | None = None,
        change: Any = None,
        what: str = "",
    ) -> str:
        """An initializer from a tensor, as float32; a shared one is written once.

        change: array -> array of `shape`, worked out when the tensor is written; what: says so,
        in a word. Different changes of one tensor are different initializers.
        """
        tensor = as_float32(tensor)
        key = ("weight", tensor.name, what, None if shape is None else tuple(shape))
        if key in self._constants:
            return self._constants[key]
        name = self._constants[key] = self.name(tensor.name)
        made = replace(tensor, name=name, stored=name, storage=tensor.storage)
        if change is not None:
            made = _changed(made, tuple(shape or tensor.shape), tensor, change)
            self.changes[name] = what
        elif shape is not None and tuple(shape) != tensor.shape:
            made = replace(made, shape=tuple(shape), storage=None)
            self.changes[name] = "reshaped"
        self.weights[name] = made
        self.origins[name] = tensor.name
        return name

    def array(self, role: str, values: Any, dtype: Any = np.float32) -> str:
        """An initializer that the file does not have: ones for a missing gamma, a factor."""
        array = np.ascontiguousarray(values, dtype)
        if not array.ndim:
            return self.constant(array, dtype)
        name = self.name(f"{self.scope}/{role}")
        self.weights[name] = Tensor.of(name, array)
        return name

    def combined(
        self, name: str, shape: Sequence[int], sources: Sequence[Tensor], make: Any
    ) -> str:
        """An initializer worked out of several tensors: make(*arrays) -> array of `shape`."""
        key = ("combined", name, tuple(shape), tuple(source.name for source in sources))
        if key in self._constants:
            return self._constants[key]
        sources = [as_float32(source) for source in sources]

        def compute() -> Array:
            made = make(*(source.read() for source in sources))
            return np.ascontiguousarray(made, np.float32).reshape(shape)

        name = self._constants[key] = self.name(name)
        self.weights[name] = Tensor(name, tuple(shape), "float32", LazyData(compute))
        self.origins[name] = ", ".join(source.name for source in sources)
        self.changes[name] = "combined"
        return name

    # --- layouts --------------------------------------------------------------------------------

    def first(self, value: Value) -> Value:
        """The value with its channels first in the graph."""
        if value.first or value.rank < 3:
            return value
        return self._turn(value, [0, value.rank - 1, *range(1, value.rank - 1)], True)

    def last(self, value: Value) -> Value:
        """The value as Keras lays it out."""
        if not value.first:
            return value
        return self._turn(value, [0, *range(2, value.rank), 1], False)

    def _turn(self, value: Value, order: Sequence[int], first: bool) -> Value:
        key = (value.name, first)
        if key not in self._turned:
            single = all(n == 1 for n in value.shape[1:-1])
            if single and None not in value.shape[1:]:  # nothing moves
                shape = [0, *(value.shape[1:] if not first else _moved(value.shape)[1:])]
                name = self.node("Reshape", value.name, self.constant(shape))
            else:
                name = self.node("Transpose", value.name, perm=list(order))
            self._turned[key] = replace(value, name=name, first=first)
            self._turned[name, not first] = value
        return replace(self._turned[key], mask=value.mask, shape=value.shape)

    def unary(self, op: str, value: Value, **attributes: Any) -> Value:
        """An elementwise operation."""
        return replace(value, name=self.node(op, value.name, **attributes))

    def binary(self, op: str, value: Value, number: float) -> Value:
        """An elementwise operation with a number."""
        name = self.node(op, value.name, self.number(number, value.dtype))
        return replace(value, name=name)

    def length(self, value: Value, axis: int) -> str:
        """The size of Keras' `axis`, as a 1-D tensor."""
        size = value.shape[axis]
        if size is not None:
            return self.constant([size])
        at = self.axis(value, axis)
        return self.node("Shape", value.name, start=at, end=at + 1)

    def reshape(self, value: Value, shape: Sequence[Dim]) -> Value:
        """To `shape` in Keras' order; at most one axis beside the batch may be unknown."""
        value = self.last(value)
        target = [0, *(-1 if n is None else n for n in shape[1:])]
        if target.count(-1) > 1:
            raise ValueError(f"a shape of two unknown axes: {tuple(shape)}")
        name = self.node("Reshape", value.name, self.constant(target))
        return Value(name, tuple(shape), value.dtype)


def _check(attribute: Any) -> None:
    """Raises ValueError for numbers that a file cannot hold."""
    for value in attribute if isinstance(attribute, (list, tuple)) else [attribute]:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} has more than 64 bits")
        if isinstance(value, float) and not abs(value) < 3.4e38:
            raise ValueError(f"{value} is no float32")


def _moved(shape: Sequence[Dim]) -> list[Dim]:
    return [shape[0], shape[-1], *shape[1:-1]]


def _spelled(array: Array) -> str:
    text = "_".join(str(x) for x in array.reshape(-1)[:6].tolist())
    return text.replace("-", "m").replace(".", "p").replace("+", "") or "empty"


def _changed(made: Tensor, shape: tuple[int, ...], source: Tensor, change: Any) -> Tensor:
    def compute() -> Array:
        return np.ascontiguousarray(change(source.read())).reshape(shape)

    return replace(made, shape=shape, data=LazyData(compute), storage=None)
