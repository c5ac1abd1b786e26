"""Layers: the tensors of one tree grouped by the layer that owns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..tree import Tensor, WeightTree


@dataclass(frozen=True)
class Layer:
    """One layer's tensors by role (`kernel`, `bias`, `running_mean`, ...).

    path: the layer's name, "" for tensors that stand alone. kind: the layer's class as the file
    says it, else "".
    """

    path: str
    kind: str
    tensors: Mapping[str, Tensor]


def layer_path(tensor: Tensor, separator: str) -> str:
    """The layer a tensor belongs to: what its file says, else its name without the last part."""
    return tensor.layer or tensor.name.rpartition(separator)[0]


def layers(tree: WeightTree) -> dict[str, Layer]:
    """path -> Layer, in the order in which the tree first mentions each."""
    members: dict[str, dict[str, Tensor]] = {}
    kinds: dict[str, str] = {}
    for tensor in tree.values():
        path = layer_path(tensor, tree.separator)
        role = tensor.name
        if path and role.startswith(path + tree.separator):
            role = role[len(path) + len(tree.separator) :]
        members.setdefault(path, {})[role] = tensor
        kinds[path] = kinds.get(path) or tensor.kind
    return {path: Layer(path, kinds[path], tensors) for path, tensors in members.items()}
