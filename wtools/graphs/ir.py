"""A runnable model as data: the calls of its layers, in an order in which they can be made.

Neutral between frameworks' engines: nested models are already inlined, a shared layer appears in
several nodes, and what a layer is called with may be nested in lists and dictionaries as in its
file, tensors standing there as `Ref`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..tree import Tensor


@dataclass(frozen=True)
class Ref:
    """Output number `output` of node number `node` of the graph."""

    node: int
    output: int = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """What is called: a layer, or an operation of the framework on tensors.

    path: the names of the models around it and its own ("encoder/dense_1"). kind: its class.
    config: its options, as the file has them. weights: its tensors by role; those of a part of it
    have the part's path before the role ("forward_lstm/lstm_cell/kernel"). module: where the
    framework has the class, as far as the file says it.
    """

    path: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    weights: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    module: str = ""


@dataclass(frozen=True, eq=False)
class Node:
    """One call of a layer."""

    layer: Layer
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def refs(self) -> Iterator[Ref]:
        """The tensors it takes, in order."""
        yield from refs(self.args)
        yield from refs(self.kwargs)


@dataclass(frozen=True)
class Graph:
    """A model. Nodes stand after those whose outputs they take; inputs are nodes of their own.

    outputs: (name, what) of each output, named after the layer that makes it. version: the major
    version of the framework that wrote it, which decides what some names mean.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[str, Ref], ...]
    version: int = 3


def refs(value: Any) -> Iterator[Ref]:
    """The Refs in a nested structure."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from refs(inner)
