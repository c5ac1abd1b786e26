"""Layers: what each tensor of a tree is, which layer owns it, and how the layers repeat.

    layers(tree)      path -> Layer: tensors grouped by the layer that owns them, nothing inferred
    layer_map(tree)   each tensor's kind, role, axes, and the evidence for them
    blocks(map)       the tree of stem, stages, encoder and decoder layers, head

Names are resolved on first use: grouping alone, which is all that a listing needs, loads none of
the rules of inference.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .grouping import Layer, layer_path, layers
    from .mapping import LayerMap, layer_map
    from .model import Meaning, TensorRole
    from .structure import Block, blocks

_HOME = {
    "Block": "structure",
    "blocks": "structure",
    "Layer": "grouping",
    "layer_path": "grouping",
    "layers": "grouping",
    "LayerMap": "mapping",
    "layer_map": "mapping",
    "Meaning": "model",
    "TensorRole": "model",
}

__all__ = [
    "Block",
    "Layer",
    "LayerMap",
    "Meaning",
    "TensorRole",
    "blocks",
    "layer_map",
    "layer_path",
    "layers",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
