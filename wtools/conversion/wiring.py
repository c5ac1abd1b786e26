"""Which layers with weights follow which, where a file says its graph: Keras configs and ONNX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import WtoolsError
from ..tree import WeightTree

_MOST = 20_000  # steps of a graph that are followed


@dataclass(frozen=True)
class Step:
    """A call of a layer or an operator. names: of the tensors that it uses; config: its options,
    as the file has them; linear: does nothing come between what it computes and its output?
    """

    kind: str
    names: frozenset[str]
    taken: Sequence[object]
    made: Sequence[object]
    config: Mapping[str, Any]
    linear: bool = True


@dataclass(frozen=True)
class Wiring:
    """place: where each layer stands in an order in which the graph can run. after: layer -> the
    layers that take its output, maybe through steps without weights. direct: (layer, the one
    right after it, with nothing between them and nobody else looking). configs: layer -> its
    options. steps: all of the graph. framework: "keras" or "onnx".
    """

    place: Mapping[int, int] = field(default_factory=dict)
    after: Mapping[int, set[int]] = field(default_factory=dict)
    direct: frozenset[tuple[int, int]] = frozenset()
    configs: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    framework: str = ""


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
    configs: dict[int, Mapping[str, Any]] = {}
    for number, step in enumerate(steps):
        before = frozenset[int]().union(*(reaching.get(v, frozenset()) for v in step.taken))
        own = {owner[name] for name in step.names if name in owner}
        for one in own:
            place.setdefault(one, number)
            configs.setdefault(one, step.config)
            for other in before - {one}:
                if place[other] < place[one]:  # not round the loop of a shared layer
                    after.setdefault(other, set()).add(one)
        for value in step.made:
            reaching[value] = frozenset(own) if own else before
    framework = "keras" if isinstance(tree.architecture, Mapping) else "onnx"
    return Wiring(place, after, _direct(steps, owner), configs, steps, framework)


def _direct(steps: Sequence[Step], owner: Mapping[str, int]) -> frozenset[tuple[int, int]]:
    """Pairs of layers of which the second alone takes what the first computes, as it is."""
    makers: dict[object, Step] = {value: step for step in steps for value in step.made}
    users = Counter(value for step in steps for value in step.taken)
    found = set()
    for step in steps:
        for value in step.taken:
            maker = makers.get(value)
            if maker is None or not maker.linear or users[value] > 1:
                continue
            one = {owner[name] for name in maker.names if name in owner}
            other = {owner[name] for name in step.names if name in owner}
            found |= {(a, b) for a in one for b in other if a != b}
    return frozenset(found)


def _steps(tree: WeightTree) -> Iterator[Step]:
    known = tree.architecture
    if isinstance(known, Mapping) and known.get("keras") is not None:
        yield from _keras(tree)
    elif getattr(known, "graph", None) is not None:
        stored = {tensor.stored: tensor.name for tensor in tree.values()}
        yield from _onnx(known.graph.nodes, stored)


def _keras(tree: WeightTree) -> Iterator[Step]:
    from ..graphs.keras_config import graph

    for number, node in enumerate(graph(tree).nodes):
        layer = node.layer
        names = frozenset(tensor.name for tensor in layer.weights.values())
        config = layer.config if isinstance(layer.config, Mapping) else {}
        linear = config.get("activation") in (None, "linear")
        taken = [ref.node for ref in node.refs()]
        yield Step(layer.kind, names, taken, [number], config, linear)


def _onnx(nodes: Iterable[Any], stored: Mapping[str, str]) -> Iterator[Step]:
    """The nodes of the main graph; what carries a weight to its use (a Transpose) is no step."""
    weights: dict[str, frozenset[str]] = {name: frozenset([own]) for name, own in stored.items()}
    for node in nodes:
        used = frozenset[str]().union(*(weights.get(name, frozenset()) for name in node.inputs))
        values = [name for name in node.inputs if name and name not in weights]
        if not values and used:
            weights |= dict.fromkeys(node.outputs, used)
            continue
        yield Step(node.op_type, used, values, list(node.outputs), _attributes(node))


def _attributes(node: Any) -> dict[str, Any]:
    wanted = ("epsilon", "strides", "pads", "dilations", "group", "count_include_pad", "auto_pad")
    return {name: value for name in wanted if (value := node.attribute(name, None)) is not None}
