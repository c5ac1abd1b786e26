"""Who uses a value: the graph with its subgraphs and functions, indexed by value name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .graph import Graph, Model, Node
from .operators import ARITHMETIC, THROUGH

_MOST_FEEDS = 64
_MOST_STEPS = 512


@dataclass(eq=False, slots=True)
class Scope:
    """One graph, subgraph or function body.

    prefix: the path of a subgraph, "If_0/then_branch/". labels: a name for each node.
    uses: value name -> where it is an input, in this graph and, as an outer value, in those
        inside it. producers: value name -> the number of the node that makes it.
    defined: names of this graph's own values: inputs, initializers, outputs of nodes.
    values: value name -> the weight of that name (filled by `collect`).
    """

    graph: Graph
    prefix: str = ""
    parent: Scope | None = None
    labels: list[str] = field(default_factory=list)
    uses: dict[str, list[Use]] = field(default_factory=dict)
    producers: dict[str, int] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    children: list[Scope] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> Any:
        """The weight that `name` is here or in a graph around this one, or None."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            if name in scope.defined:
                return None
            scope = scope.parent
        return None

    def producer(self, name: str) -> tuple[Scope, Node] | None:
        """The node that makes `name`, here or around."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.producers:
                return scope, scope.graph.nodes[scope.producers[name]]
            if name in scope.defined:
                return None
            scope = scope.parent
        return None

    def all(self) -> Iterator[Scope]:
        yield self
        for child in self.children:
            yield from child.all()


@dataclass(frozen=True, slots=True)
class Use:
    """Input number `index` of node number `at` of a scope."""

    scope: Scope
    at: int
    index: int

    @property
    def node(self) -> Node:
        return self.scope.graph.nodes[self.at]

    @property
    def label(self) -> str:
        return self.scope.labels[self.at]


@dataclass(frozen=True, slots=True)
class Feed:
    """A use that a weight reaches: `via` the operators passed on the way; `prefix` is the path
    of the graph, or of the function call, that the using node is in.
    """

    use: Use
    via: tuple[str, ...]
    prefix: str


FunctionKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Scopes:
    """All graphs of a model: the main one, functions by (domain, name, overload), training."""

    main: Scope
    functions: Mapping[FunctionKey, Scope]
    training: tuple[Scope, ...]

    def model(self) -> Iterator[Scope]:
        """The graphs that inference runs, in the file's order."""
        yield from self.main.all()
        for scope in self.functions.values():
            yield from scope.all()

    def feeds(self, scope: Scope, name: str) -> list[Feed]:
        """What the constant `name` feeds at last; the first 64 of them.

        Casts, transposes, dequantization and calls of the model's own functions are passed.
        """
        found: list[Feed] = []
        todo: list[tuple[Scope, str, str, tuple[str, ...]]] = [(scope, name, "", ())]
        steps = 0
        while todo and len(found) < _MOST_FEEDS:
            scope, name, call, via = todo.pop(0)
            for use in scope.uses.get(name, ()):
                steps += 1
                onward = self._onward(use, call, via) if steps < _MOST_STEPS else None
                if onward:
                    todo.append(onward)
                elif len(found) < _MOST_FEEDS:
                    found.append(Feed(use, via, call or use.scope.prefix))
        return found

    def _onward(
        self, use: Use, call: str, via: tuple[str, ...]
    ) -> tuple[Scope, str, str, tuple[str, ...]] | None:
        node = use.node
        called = self.functions.get((node.domain, node.op_type, node.overload))
        if called is not None:
            if use.index >= len(called.graph.inputs):
                return None
            inner = called.graph.inputs[use.index].name
            call = f"{call or use.scope.prefix}{tidy(use.label)}/"
            return (called, inner, call, via) if inner in called.uses and len(call) < 999 else None
        passes = node.op_type in THROUGH and use.index == 0
        if node.op_type in ARITHMETIC and len(node.inputs) == 2:
            passes = bool(via) and use.scope.find(node.inputs[1 - use.index]) is not None
        if not passes or len(via) > 8 or not set(node.outputs[:1]) & use.scope.uses.keys():
            return None
        return use.scope, node.outputs[0], call, (*via, node.op_type)


def tidy(label: str) -> str:
    """A node's name without a slash before it or a path that inlining (spox) has put there."""
    return re.sub(r"^.*__Inline_\d+__", "", label).strip("/") or label.strip("/")


def scopes(model: Model) -> Scopes:
    """The index of a model's graphs."""
    functions: dict[FunctionKey, Scope] = {}
    for function in model.functions:
        key = (function.domain, function.name, function.overload)
        functions[key] = _scope(function.body, f"{function.name}/", None)
    training = tuple(_scope(graph, f"{name}/", None) for name, graph in model.training)
    return Scopes(_scope(model.graph, "", None), functions, training)


def _scope(graph: Graph, prefix: str, parent: Scope | None) -> Scope:
    scope = Scope(graph, prefix, parent)
    scope.defined.update(value.name for value in graph.inputs)
    scope.defined.update(tensor.name for tensor in graph.stored())
    counts: Counter[str] = Counter()
    for at, node in enumerate(graph.nodes):
        label = node.name or f"{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        scope.labels.append(label)
        for index, name in enumerate(node.inputs):
            if name:
                scope.uses.setdefault(name, []).append(Use(scope, at, index))
        for key, inner in node.subgraphs():
            child = _scope(inner, f"{prefix}{tidy(label)}/{key}/", scope)
            scope.children.append(child)
        for name in node.outputs:
            scope.producers.setdefault(name, at)
    scope.defined.update(scope.producers)
    for child in scope.children:
        for name in child.uses.keys() - child.defined:
            scope.uses.setdefault(name, []).extend(child.uses[name])
    return scope
