"""Layers: what each tensor of a tree is, which layer owns it, and how the layers repeat.

layers(tree)      path -> Layer: tensors grouped by the layer that owns them, nothing inferred
layer_map(tree)   each tensor's kind, role, axes, and the evidence for them
    blocks(map)       the tree of stem, stages, encoder and decoder layers, head
"""

from .blocks import Block, blocks
from .grouping import Layer, layer_path, layers
from .mapping import LayerMap, layer_map
from .model import Meaning, TensorRole

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
