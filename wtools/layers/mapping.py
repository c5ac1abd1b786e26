"""The map of a whole tree: what each of its tensors is, and on what evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..tree import WeightTree
from .attention import attentions
from .context import Context, context
from .inferred import infer
from .model import Group, Meaning, TensorRole
from .stated import stated


@dataclass(frozen=True)
class LayerMap:
    """tensors: name -> what it is, in the tree's order. context: the layers' groups."""

    tensors: Mapping[str, TensorRole]
    context: Context

    def layers(self) -> dict[str, list[TensorRole]]:
        """Layer's path -> its tensors, in the model's order."""
        found: dict[str, list[TensorRole]] = {group.path: [] for group in self.context.groups}
        for role in self.tensors.values():
            found[role.layer].append(role)
        return found


def layer_map(tree: WeightTree) -> LayerMap:
    """What each tensor of a tree is. Reads no data.

    What the file says goes first (`config`, `graph`); names and shapes decide the rest, and what
    the file leaves open.
    """
    whole = context(tree.values(), tree.separator)
    parts = attentions(whole)
    found: dict[str, TensorRole] = {}
    for group in whole.groups:
        meanings = _meanings(group, whole)
        for leaf, tensor in group.members.items():
            meaning = meanings[leaf]
            part = parts.get(group.path)
            if part and not meaning.within and meaning.kind != "multi_head_attention":
                meaning = replace(meaning, within="multi_head_attention", part=part)
            found[tensor.name] = TensorRole(tensor, group.path, meaning)
    return LayerMap({name: found[name] for name in tree}, whole)


def _meanings(group: Group, whole: Context) -> dict[str, Meaning]:
    known = stated(group, whole)
    if len(known) == len(group.members):
        return known
    return infer(group, whole) | known
