"""What an ONNX file says, without its data: models, graphs, nodes, attributes, stored tensors.

Plain frozen values that `parse.py` makes. The data of a tensor, and a long list of numbers, are
represented by where they lie in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .varints import Piece

# AttributeProto.AttributeType
FLOAT, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS = 1, 2, 3, 4, 5, 6, 7, 8
TENSORS, GRAPHS, SPARSE_TENSOR, SPARSE_TENSORS, TYPE_PROTO, TYPE_PROTOS = 9, 10, 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A TensorProto. `at` is its byte offset, for messages.

    raw: where raw_data lies. typed: (field number, pieces) of float_data, int32_data, ...
    external: the key-value pairs of external_data, where data_location says EXTERNAL.
    strings: how many string_data elements it has.
    """

    at: int
    name: str
    dims: tuple[int, ...]
    data_type: int
    raw: tuple[int, int] | None = None
    typed: tuple[tuple[int, tuple[Piece, ...]], ...] = ()
    external: tuple[tuple[str, str], ...] | None = None
    strings: int = 0
    segmented: bool = False


@dataclass(frozen=True, slots=True)
class StoredSparse:
    """A SparseTensorProto: `values` [nnz] at `indices` [nnz] or [nnz, rank] of a `dims` tensor."""

    at: int
    values: StoredTensor
    indices: StoredTensor
    dims: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.values.name


@dataclass(frozen=True, slots=True)
class LongList:
    """A list attribute too long to be kept: its numbers lie in `pieces`; `count` of them.

    Varint numbers that are packed, and strings, are not counted before they are read: -1.
    """

    pieces: tuple[Piece, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """An AttributeProto. `kind` is its AttributeType.

    value: a float, int, bytes (of a string), StoredTensor, Graph, StoredSparse, a tuple of
        these, a LongList of numbers, or None (types, long lists of strings).
    reference: the function attribute that it takes its value from, else "".
    """

    name: str
    kind: int
    value: Any
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A NodeProto. An input "" is an optional one left out.

    scopes: the modules around it, where the exporter says so (torch.onnx with dynamo).
    """

    op_type: str
    name: str = ""
    domain: str = ""
    overload: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    scopes: tuple[str, ...] = ()

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of the attribute of that name."""
        return next((a.value for a in self.attributes if a.name == name), default)

    def subgraphs(self) -> Iterator[tuple[str, Graph]]:
        """The graphs inside this node: (attribute name, graph); a list's get a number."""
        for attribute in self.attributes:
            if isinstance(attribute.value, Graph):
                yield attribute.name, attribute.value
            elif attribute.kind == GRAPHS:
                for i, graph in enumerate(attribute.value or ()):
                    yield f"{attribute.name}_{i}", graph


@dataclass(frozen=True, slots=True)
class Value:
    """A ValueInfoProto.

    dtype: an ONNX element type, 0 where the value is no tensor. shape: a number, a symbol or
        None for each dimension, or None where the file leaves it open.
    """

    name: str
    dtype: int = 0
    shape: tuple[int | str | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A GraphProto, or the body of a function (without initializers)."""

    name: str = ""
    nodes: tuple[Node, ...] = ()
    initializers: tuple[StoredTensor, ...] = ()
    sparse: tuple[StoredSparse, ...] = ()
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()

    def stored(self) -> Iterator[StoredTensor | StoredSparse]:
        """The initializers, dense ones first."""
        yield from self.initializers
        yield from self.sparse


@dataclass(frozen=True, slots=True)
class Function:
    """A FunctionProto; `defaults` are attributes with the values that callers may omit."""

    name: str
    domain: str = ""
    overload: str = ""
    attributes: tuple[str, ...] = ()
    defaults: tuple[Attribute, ...] = ()
    opsets: Mapping[str, int] = field(default_factory=dict)
    body: Graph = field(default_factory=lambda: Graph())


@dataclass(frozen=True, slots=True)
class Model:
    """A ModelProto. `opsets`: domain ("" is ai.onnx) -> version."""

    ir_version: int
    opsets: Mapping[str, int]
    graph: Graph
    functions: tuple[Function, ...] = ()
    training: tuple[tuple[str, Graph], ...] = ()
    producer_name: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: int = 0
    doc_string: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
