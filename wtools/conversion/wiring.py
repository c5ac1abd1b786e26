"""Which layers with weights follow which, where a file says its graph: Keras configs and ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import WtoolsError
from ..tree import WeightTree

# (names of the tensors that a step uses, values it takes, values it makes)
Step = tuple[frozenset[str], Sequence[object], Sequence[object]]
_MOST = 20_000  # steps of a graph that are followed


@dataclass(frozen=True)
class Wiring:
    """place: where each layer stands in an order in which the graph can run. after: layer -> the
    layers that take its output, maybe through steps without weights.
    """

    place: Mapping[int, int] = field(default_factory=dict)
    after: Mapping[int, set[int]] = field(default_factory=dict)


def wiring(tree: WeightTree, owner: Mapping[str, int]) -> Wiring | None:
    """The graph of the layers with weights. owner: name of a tensor -> number of its layer.

    None where the file says no graph, or one that cannot be followed.
    """
    try:
        steps = list(_steps(tree))
    except WtoolsError:
        return None
    if not steps or len(steps) > _MOST:
        return None
    reaching: dict[object, frozenset[int]] = {}
    place: dict[int, int] = {}
    after: dict[int, set[int]] = {}
    for number, (names, taken, made) in enumerate(steps):
        before = frozenset[int]().union(*(reaching.get(value, frozenset()) for value in taken))
        own = {owner[name] for name in names if name in owner}
        for one in own:
            place.setdefault(one, number)
            for other in before - {one}:
                if place[other] < place[one]:  # not round the loop of a shared layer
                    after.setdefault(other, set()).add(one)
        for value in made:
            reaching[value] = frozenset(own) if own else before
    return Wiring(place, after)


def _steps(tree: WeightTree) -> Iterator[Step]:
    known = tree.architecture
    if isinstance(known, Mapping) and known.get("keras") is not None:
        yield from _keras(tree)
    elif getattr(known, "graph", None) is not None:
        stored = {tensor.stored: tensor.name for tensor in tree.values()}
        yield from _onnx(known.graph.nodes, stored)  # type: ignore[union-attr]


def _keras(tree: WeightTree) -> Iterator[Step]:
    from ..graphs.keras_config import graph

    for number, node in enumerate(graph(tree).nodes):
        names = frozenset(tensor.name for tensor in node.layer.weights.values())
        yield names, [ref.node for ref in node.refs()], [number]


def _onnx(nodes: Iterable[Any], stored: Mapping[str, str]) -> Iterator[Step]:
    """The nodes of the main graph; what carries a weight to its use (a Transpose) is no step."""
    weights: dict[str, frozenset[str]] = {name: frozenset([own]) for name, own in stored.items()}
    for node in nodes:
        used = frozenset[str]().union(*(weights.get(name, frozenset()) for name in node.inputs))
        values = [name for name in node.inputs if name and name not in weights]
        if not values and used:
            weights |= dict.fromkeys(node.outputs, used)
            continue
        yield used, values, list(node.outputs)
