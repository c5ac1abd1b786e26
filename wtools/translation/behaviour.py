"""What the weights do not say and the other framework does otherwise, where the file tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..layers.graph import Graph, graph_of
from ..layers.kinds import kind_of_class
from ..tree import WeightTree
from .model import Canonical, CanonicalLayer, layout_of

_DEEPEST = 32
_NORMS = ("batch_norm", "layer_norm", "group_norm", "rms_norm")
_OPTIONS = {"epsilon": "eps", "momentum": "momentum"}  # Keras -> torch
_ACTIVATIONS = {"rnn": {"activation": ("tanh", "relu")}} | {
    kind: {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
    for kind in ("lstm", "gru")
}


def behaviour(tree: WeightTree, found: Canonical, to: str) -> list[str]:
    """Notes on layers that need other options than the other framework's defaults, or that it
    has no equal of: as a Keras config or an ONNX graph tells them; else as torch's defaults are."""
    said: dict[str, list[str]] = {}
    for path, note in _told(tree, found, to):
        said.setdefault(note, []).append(path or "the layer")
    return [f"{_some(layers)}: {note}" for note, layers in said.items()]


def _told(tree: WeightTree, found: Canonical, to: str) -> Iterator[tuple[str, str]]:
    known = tree.architecture if isinstance(tree.architecture, Mapping) else {}
    config = known.get("keras")
    if to == "torch" and isinstance(config, Mapping):
        paths = {tensor.layer for tensor in tree.values()}
        for path, name, options in _layers(config, (), 0):
            if path in paths:
                yield from ((path, note) for note in _notes(kind_of_class(name), options))
    graph = graph_of(tree)
    for layer in found.layers:
        if graph.nodes and "node" in layer.facts and to in ("torch", "keras"):
            yield from ((layer.path, note) for note in _in_graph(layer, graph, to))
        elif (found.convention, to) == ("torch", "keras") and layer.kind in _NORMS:
            needed = _needed(layer_defaults("torch", layer.kind), layer.kind, "torch", "keras")
            if needed and "record" not in layer.facts:
                yield layer.path, f"{needed}, if torch's defaults were kept"


def _in_graph(layer: CanonicalLayer, graph: Graph, to: str) -> Iterator[str]:
    """What the attributes of an ONNX node say that weights do not."""
    label = str(layer.facts["node"])
    node = next((n for (name, _), n in graph.nodes.items() if name == label), None)
    if node is None:
        return
    if layer.kind in _NORMS:
        options = {"epsilon": node.attribute("epsilon", 1e-5)}
        needed = _needed(options, layer.kind, "onnx", to)
        if needed:
            yield needed
    used = [
        a.decode() if isinstance(a, bytes) else str(a) for a in node.attribute("activations") or ()
    ]
    if layer.kind in _ACTIVATIONS and set(used) - {"Sigmoid", "Tanh"}:
        yield f"activations {', '.join(used)}: the outputs will differ from a plain layer's"
    if node.attribute("direction") in (b"reverse", "reverse") and layer.kind in _ACTIVATIONS:
        yield "runs over the sequence from its end: " + _FROM_THE_END[to]


_FROM_THE_END = {
    "torch": "flip time before torch's module, and its outputs after it",
    "keras": "Keras' layer needs go_backwards=True, and flips what return_sequences gives",
    "onnx": 'the node needs direction="reverse"',
}


def layer_defaults(convention: str, kind: str) -> Mapping[str, float]:
    return layout_of(convention, kind).defaults


def _needed(options: Mapping[str, Any], kind: str, source: str, to: str) -> str:
    """The options of a norm that are not the defaults of `to`, in its words; "" where all are.

    torch's momentum, and ONNX' on this scale, is of the new value: 1 - Keras'.
    """
    defaults, wanted = layer_defaults(to, kind), []
    for option, in_torch in _OPTIONS.items():
        value = options.get(option)
        if option not in defaults or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        turned = option == "momentum" and (source == "torch") != (to == "torch")
        there = round(1 - value, 12) if turned else float(f"{value:.7g}")
        if abs(there - defaults[option]) > 1e-6 * abs(defaults[option]):
            wanted.append(f"{in_torch if to == 'torch' else option}={there:g}")
    name = layout_of(to, kind).classes[0]
    whose = {"keras": "Keras'", "torch": "torch's"}[to]
    return f"{whose} {name} needs {', '.join(wanted)}" if wanted else ""


def _some(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _notes(kind: str, options: Mapping[str, Any]) -> Iterator[str]:
    if kind in _NORMS:
        own = {**layer_defaults("keras", kind), **options}
        if needed := _needed(own, kind, "keras", "torch"):
            yield needed
    for option, usual in _ACTIVATIONS.get(kind, {}).items():
        used = options.get(option, usual[0])
        if used not in usual:
            yield f"{option} {used!r}, which no layer of torch.nn has: the outputs will differ"


def _layers(
    layer: Mapping[str, Any], path: tuple[str, ...], depth: int
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(path, class, options) of all layers of a config, those inside a wrapper under its path."""
    config = layer.get("config")
    if depth > _DEEPEST or not isinstance(config, (Mapping, list)):
        return
    layers = config if isinstance(config, list) else config.get("layers", ())
    for one in layers if isinstance(layers, list) else ():
        own = one.get("config") if isinstance(one, Mapping) else None
        if not isinstance(own, (Mapping, list)):
            continue
        options = own if isinstance(own, Mapping) else {}
        where = (*path, str(one.get("name") or options.get("name") or ""))
        inner = options.get("layer")
        if isinstance(inner, Mapping) and isinstance(inner.get("config"), Mapping):
            yield "/".join(where), str(inner.get("class_name")), inner["config"]
        yield "/".join(where), str(one.get("class_name")), options
        yield from _layers(one, where, depth + 1)
