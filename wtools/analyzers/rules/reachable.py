"""Which nodes and constants of an ONNX graph an output depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reach:
    """needed: names of values that reach an output of their graph, those of outer graphs too.
    idle: (label, node) that reach none, in order."""

    needed: set[str] = field(default_factory=set)
    idle: list[tuple[str, Any]] = field(default_factory=list)


def reach(graph: Any) -> Reach:
    """Of a graph as the reader parses it (nodes, outputs), and of those inside its nodes.

    Nodes of ONNX have no effect but their outputs, so one that no output depends on is idle.
    """
    found = Reach()
    _follow(graph, "", found)
    return found


def _follow(graph: Any, prefix: str, found: Reach) -> set[str]:
    """Add what a graph needs; returns the names that are not its own. (The reader bounds how deep
    graphs lie in each other.)"""
    makers = {name: k for k, node in enumerate(graph.nodes) for name in node.outputs if name}
    todo = [value.name for value in graph.outputs]
    needed: set[str] = set()
    live: set[int] = set()
    while todo:
        name = todo.pop()
        if name in needed:
            continue
        needed.add(name)
        k = makers.get(name)
        if k is None or k in live:
            continue
        live.add(k)
        node = graph.nodes[k]
        todo.extend(filter(None, node.inputs))
        for place, below in node.subgraphs():
            todo.extend(_follow(below, f"{prefix}{_label(node, k)}/{place}/", found))
    found.needed |= needed
    found.idle += [
        (prefix + _label(node, k), node)
        for k, node in enumerate(graph.nodes)
        if k not in live and node.outputs
    ]
    own = {*makers, *(value.name for value in graph.inputs)}
    return needed - own - {initializer.name for initializer in graph.stored()}


def _label(node: Any, k: int) -> str:
    return node.name or f"{node.op_type}_{k}"


def feeding(reached: Reach) -> Iterator[str]:
    """Names of values that only idle nodes take."""
    taken = {name for _, node in reached.idle for name in (*node.inputs, *node.outputs) if name}
    yield from taken - reached.needed
