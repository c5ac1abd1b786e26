"""Which tensors of a model are weights: initializers, constants, learned attributes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ... import dtypes
from ...errors import CorruptError, WtoolsError
from ...tree import ArrayData, Data
from . import graph as g
from .graph import LongList, Node, StoredSparse, StoredTensor
from .operators import LEARNED, TABLES
from .scopes import Scope
from .sparse import sparse_elements
from .tensors import STRING, Elements, Tensors, TypedData
from .varints import count

LITERAL = 64  # integers or booleans in a Constant node up to which it is a shape, not a weight
_MANY = 16  # floats in any other attribute from which on they are shown
_DTYPES = {g.FLOAT: "float32", g.FLOATS: "float32", g.INT: "int64", g.INTS: "int64"}

Origin = Literal["initializer", "constant", "attribute"]


@dataclass(eq=False, slots=True)
class Weight:
    """One tensor of a model before it has its final name.

    value: the graph value that it is, "" for an attribute. label: what its own node or the file
    calls it. node: the node whose attribute it is. attribute: that attribute's name.
    part: what it is of another weight, filled by `quantized`.
    """

    scope: Scope
    value: str
    stored: str
    label: str
    origin: Origin
    elements: Elements
    node: Node | None = None
    attribute: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    part: tuple[Weight, str] | None = None

    @property
    def literal(self) -> bool:
        """A number, a shape, a list of axes: part of the program, not of what it learned."""
        if self.origin != "constant":
            return False
        shape, dtype = self.elements.shape, dtypes.get(self.elements.dtype)
        exact = dtype.kind in ("int", "uint", "bool")
        size = int(np.prod(shape, dtype=object))
        filling = self.node is not None  # the value of ConstantOfShape
        return filling or not shape or (exact and size <= LITERAL)


class Collector:
    """Collects the weights of scopes and registers them as values there."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.strings = 0
        self.tables: Counter[str] = Counter()

    def weights(self, scope: Scope) -> Iterator[Weight]:
        """Those of one graph, initializers first, then in the order of its nodes.

        Raises CorruptError for two initializers of one name or one without a name, and what
        `Tensors.elements` and `sparse_elements` raise.
        """
        names: set[str] = set()
        for stored in scope.graph.stored():
            if not stored.name or stored.name in names:
                what = f"two initializers named {stored.name!r}" if stored.name else (
                    "an initializer without a name")  # fmt: skip
                raise self._bad(what, stored.at)
            names.add(stored.name)
            weight = self._tensor(scope, stored, stored.name, "initializer", stored.name)
            if weight is not None:
                scope.values[stored.name] = weight
                yield weight
        for at, node in enumerate(scope.graph.nodes):
            if node.op_type == "Constant" and not node.domain:
                yield from self._constant(scope, node)
            else:
                yield from self._attributes(scope, node, scope.labels[at])

    def notes(self) -> list[str]:
        """What was left out."""
        notes = []
        if self.strings:
            plural = "s" if self.strings > 1 else ""
            notes.append(f"{self.strings} string tensor{plural} left out")
        for op_type, number in self.tables.items():
            nodes = f"{number} {op_type} node" + ("s" if number > 1 else "")
            notes.append(f"the tables of {nodes} (splits, votes, keys) are not weights: left out")
        return notes

    def _tensor(
        self,
        scope: Scope,
        stored: StoredTensor | StoredSparse,
        name: str,
        origin: Origin,
        value: str = "",
    ) -> Weight | None:
        facts: dict[str, Any] = {}
        if isinstance(stored, StoredSparse):
            if stored.values.data_type == STRING:
                self.strings += 1
                return None
            elements, facts = sparse_elements(self.tensors, stored, name)
        else:
            if stored.data_type == STRING:
                self.strings += 1
                return None
            elements = self.tensors.elements(stored, name)
        return Weight(scope, value, name, stored.name or name, origin, elements, facts=facts)

    def _constant(self, scope: Scope, node: Node) -> Iterator[Weight]:
        """A Constant node: value, sparse_value, value_float(s), value_int(s)."""
        name = node.outputs[0] if node.outputs else node.name
        for attribute in node.attributes:
            if isinstance(attribute.value, (StoredTensor, StoredSparse)):
                weight = self._tensor(scope, attribute.value, name, "constant", name)
            elif attribute.kind in _DTYPES and attribute.value is not None:
                if attribute.reference:
                    continue
                elements = self._numbers(attribute.kind, attribute.value, None, name)
                weight = Weight(scope, name, name, name, "constant", elements)
            else:
                self.strings += attribute.kind in (g.STRING, g.STRINGS)
                continue
            if weight is not None:
                scope.values[name] = weight
                yield weight

    def _attributes(self, scope: Scope, node: Node, label: str) -> Iterator[Weight]:
        """Weights that a node keeps in its own attributes."""
        if node.op_type in TABLES:
            self.tables[node.op_type] += 1
            return
        learned = LEARNED.get(node.op_type, ())
        for attribute in node.attributes:
            name = f"{label.strip('/')}.{attribute.name}"
            for part, value in _parts(attribute):
                if isinstance(value, (StoredTensor, StoredSparse)):
                    constant = node.op_type == "ConstantOfShape"
                    origin: Origin = "constant" if constant else "attribute"
                    weight = self._tensor(scope, value, name + part, origin)
                elif attribute.name in learned or _size(value) > _MANY:
                    shape = self._learned_shape(node, attribute.name, value)
                    elements = self._numbers(attribute.kind, value, shape, name)
                    weight = Weight(scope, "", name, name, "attribute", elements)
                else:
                    continue
                if weight is not None and weight.elements.shape != (0,):
                    weight.node, weight.attribute, weight.label = node, attribute.name, name + part
                    yield weight

    def _numbers(self, kind: int, value: Any, shape: tuple[int, ...] | None, name: str) -> Elements:
        """A float or integer attribute, or a list of them, as a tensor."""
        dtype = dtypes.get(_DTYPES[kind])
        data: Data
        if isinstance(value, LongList):
            shape = shape or (self._count(value),)
            data = TypedData(self.tensors.source, value.pieces, shape, dtype, name)
        else:
            array = np.array(value, dtype.numpy)
            data = ArrayData(array if shape is None else array.reshape(shape))
            shape = data.array.shape
        return Elements(shape, dtype.name, data, None)

    def _count(self, value: Any) -> int:
        if not isinstance(value, LongList):
            return len(value)
        return value.count if value.count >= 0 else count(self.tensors.source, value.pieces)

    def _learned_shape(self, node: Node, attribute: str, value: Any) -> tuple[int, ...] | None:
        """[targets, features] and the like, where the node says it; None: a plain list.

        Raises CorruptError where the numbers are no multiple of the rows.
        """
        rows = _rows(node, attribute)
        size = self._count(value)
        if not rows or not size:
            return None
        if size % rows:
            raise CorruptError(
                f"{attribute} of {node.op_type} has {size} numbers for {rows} rows",
                path=self.tensors.source.path,
                place=repr(node.name or node.op_type),
            )
        return rows, size // rows

    def _bad(self, reason: str, at: int) -> WtoolsError:
        return CorruptError(reason, path=self.tensors.source.path, place=f"byte {at}")


def _parts(attribute: g.Attribute) -> Iterator[tuple[str, Any]]:
    """The tensors or the float list of an attribute; a list's tensors get a number."""
    if attribute.kind == g.FLOATS or isinstance(attribute.value, (StoredTensor, StoredSparse)):
        yield "", attribute.value
    elif attribute.kind in (g.TENSORS, g.SPARSE_TENSORS):
        for i, tensor in enumerate(attribute.value):
            yield f"_{i}", tensor


def _size(value: Any) -> int:
    if isinstance(value, LongList):
        return _MANY + 1  # it is long
    return len(value)


def _rows(node: Node, attribute: str) -> int:
    """The rows of a learned matrix: targets, classes, support vectors; 0 where there is none."""
    if attribute == "coefficients" and node.op_type == "LinearRegressor":
        return max(1, _int(node.attribute("targets", 1)))
    if attribute == "coefficients" and node.op_type == "LinearClassifier":
        return _classes(node)
    if attribute == "coefficients" and node.op_type == "SVMClassifier":
        return max(0, _classes(node) - 1) if _supports(node) else _classes(node)
    if attribute == "support_vectors":
        return _supports(node)
    return 0


def _classes(node: Node) -> int:
    for name in ("classlabels_ints", "classlabels_int64s", "classlabels_strings"):
        labels = node.attribute(name)
        if isinstance(labels, tuple) and labels:
            return len(labels)
    intercepts = node.attribute("intercepts")
    return len(intercepts) if isinstance(intercepts, tuple) else 0


def _supports(node: Node) -> int:
    per_class = node.attribute("vectors_per_class")
    if isinstance(per_class, tuple) and all(isinstance(n, int) for n in per_class):
        return max(0, sum(per_class))
    return max(0, _int(node.attribute("n_supports", 0)))


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0
