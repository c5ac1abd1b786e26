"""What the weights do not say and the other framework does otherwise, where a config tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..layers.kinds import kind_of_class
from ..tree import WeightTree
from .model import layout_of

_DEEPEST = 32
_NORMS = ("batch_norm", "layer_norm", "group_norm", "rms_norm")
_OPTIONS = {"epsilon": "eps", "momentum": "momentum"}  # Keras -> torch
_ACTIVATIONS = {"rnn": {"activation": ("tanh", "relu")}} | {
    kind: {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
    for kind in ("lstm", "gru")
}


def behaviour(tree: WeightTree, to: str) -> list[str]:
    """Notes on the layers of a Keras model that need other options in torch than its defaults,
    or that torch has no equal of."""
    known = tree.architecture if isinstance(tree.architecture, Mapping) else {}
    config = known.get("keras")
    if to != "torch" or not isinstance(config, Mapping):
        return []
    paths = {tensor.layer for tensor in tree.values()}
    said: dict[str, list[str]] = {}
    for path, name, options in _layers(config, (), 0):
        if path in paths:
            for note in _notes(kind_of_class(name), options):
                said.setdefault(note, []).append(path)
    return [f"{_some(layers)}: {note}" for note, layers in said.items()]


def _some(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _notes(kind: str, options: Mapping[str, Any]) -> Iterator[str]:
    if kind in _NORMS:
        yield from _norm(kind, options)
    for option, usual in _ACTIVATIONS.get(kind, {}).items():
        used = options.get(option, usual[0])
        if used not in usual:
            yield f"{option} {used!r}, which no layer of torch.nn has: the outputs will differ"


def _norm(kind: str, options: Mapping[str, Any]) -> Iterator[str]:
    """The options that torch's norm has to be given: its momentum is 1 - Keras'."""
    defaults = layout_of("torch", kind).defaults
    own = layout_of("keras", kind).defaults
    wanted = []
    for option, other in _OPTIONS.items():
        value = options.get(option, own.get(option))
        if option not in defaults or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        there = round(1 - value, 12) if option == "momentum" else value
        if abs(there - defaults[option]) > 1e-9 * abs(defaults[option]):
            wanted.append(f"{other}={there:g}")
    if wanted:
        yield f"torch's {layout_of('torch', kind).classes[0]} needs {', '.join(wanted)}"


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
