"""The activation after each layer, where a file says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...layers import LayerMap
from ...tree import WeightTree
from .signal import ACTIVATIONS

_SAME = {
    "swish": "silu",
    "hard_sigmoid": "sigmoid",
    "leakyrelu": "leaky_relu",
    "relu_6": "relu6",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "quick_gelu": "silu",
    "softmax": "linear",
    "elu": "elu",
    "clip": "relu6",
}
_DEEPEST = 16


def known(name: str) -> str:
    """Its name in `ACTIVATIONS`, "" if it has none there."""
    lower = name.lower()
    lower = _SAME.get(lower, lower)
    return lower if lower in ACTIVATIONS else ""


def activations(tree: WeightTree, found: LayerMap) -> dict[str, str]:
    """Layer's path -> activation, or "" -> the one of all layers; empty where nothing says it."""
    told = tree.architecture
    if isinstance(told, Mapping):
        if isinstance(told.get("keras"), Mapping):
            return _of_keras(told["keras"], found)
        config = told.get("transformers")
        if isinstance(config, Mapping):
            names = ("hidden_act", "activation_function", "hidden_activation")
            name = next((str(config[key]) for key in names if key in config), "")
            return {"": known(name)} if known(name) else {}
    return _of_graph(getattr(told, "graph", None))


def _of_keras(config: Mapping[str, Any], found: LayerMap) -> dict[str, str]:
    """Each layer's own, else the activation layer that comes after it."""
    answer: dict[str, str] = {}
    last = ""
    for name, layer, own in _layers(config, 0):
        if name in found.layers() or any(path.endswith("/" + name) for path in found.layers()):
            path = next(p for p in found.layers() if p == name or p.endswith("/" + name))
            stated = own.get("activation")
            answer[path] = known(stated) if isinstance(stated, str) else "linear"
            last = path if answer[path] == "linear" else ""
            continue
        shown = own.get("activation") if layer == "Activation" else layer
        if last and isinstance(shown, str) and known(shown):
            answer[last] = known(shown)
            last = ""
    return answer


def _layers(config: Mapping[str, Any], depth: int) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, Mapping) else inner
    if depth > _DEEPEST or not isinstance(layers, list):
        return
    for one in layers:
        own = one.get("config") if isinstance(one, Mapping) else None
        if isinstance(own, Mapping):
            yield str(own.get("name", "")), str(one.get("class_name", "")), own
            yield from _layers(one, depth + 1)


def _of_graph(graph: Any) -> dict[str, str]:
    """The activation that an ONNX graph has most of."""
    nodes = getattr(graph, "nodes", ())
    counts = Counter(known(node.op_type) for node in nodes if known(node.op_type))
    counts.pop("linear", None)
    if len(counts) > 1:
        counts.pop("sigmoid", None)  # gates and outputs
    return {"": counts.most_common(1)[0][0]} if counts else {}
