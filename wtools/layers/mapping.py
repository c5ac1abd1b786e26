"""The map of a whole tree: what each of its tensors is, and on what evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ..tree import WeightTree
from .attention import attentions
from .context import Context, context
from .graph import Graph, fed, graph_of
from .inferred import infer
from .keras_config import inner_classes
from .model import Group, Meaning, TensorRole
from .stated import stated


@dataclass(frozen=True)
class LayerMap:
    """tensors: name -> what it is, in the tree's order. context: the layers' groups."""

    tensors: Mapping[str, TensorRole]
    context: Context
    tree_separator: str

    @cached_property
    def flat(self) -> bool:
        """Are most layers called by one name, without a path?"""
        deep = sum(len(group.parts) > 1 for group in self.context.groups)
        return deep < len(self.context.groups) / 2

    @cached_property
    def in_attentions(self) -> frozenset[str]:
        """The layers that are an attention or part of one."""
        return frozenset(
            role.layer
            for role in self.tensors.values()
            if "multi_head_attention" in (role.meaning.kind, role.meaning.within)
        )

    @cached_property
    def attentions(self) -> frozenset[str]:
        """One layer of each attention: that of the queries, or that which is all of it."""
        return frozenset(
            role.layer
            for role in self.tensors.values()
            if role.meaning.kind == "multi_head_attention"
            or (role.meaning.within and role.meaning.part in ("query", "qkv"))
        )

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Layer -> its kind, as its largest tensor says."""
        return {
            path: max(roles, key=lambda role: role.tensor.size).meaning.kind
            for path, roles in self.layers().items()
        }

    @cached_property
    def kernels(self) -> frozenset[str]:
        """The layers with a kernel."""
        return frozenset(
            role.layer for role in self.tensors.values() if "kernel" in role.meaning.role
        )

    def layers(self) -> dict[str, list[TensorRole]]:
        """Layer's path -> its tensors, in the model's order."""
        found: dict[str, list[TensorRole]] = {group.path: [] for group in self.context.groups}
        for role in self.tensors.values():
            found[role.layer].append(role)
        return {path: roles for path, roles in found.items() if roles}

    def only(self, names: Iterable[str]) -> LayerMap:
        """The map of some tensors, by what the whole tree tells of them."""
        return replace(self, tensors={name: self.tensors[name] for name in names})


def layer_map(tree: WeightTree) -> LayerMap:
    """What each tensor of a tree is. Reads no data.

    What the file says goes first (`config`, `graph`); names and shapes decide the rest, and what
    the file leaves open.
    """
    whole = context(tree.values(), tree.separator)
    parts = attentions(whole)
    graph = graph_of(tree)
    inner = inner_classes(tree.architecture)
    found: dict[str, TensorRole] = {}
    for group in whole.groups:
        meanings = _meanings(group, whole, graph, inner)
        for leaf, tensor in group.members.items():
            meaning = meanings[leaf]
            part = parts.get(group.path)
            if part and not meaning.within and meaning.kind != "multi_head_attention":
                meaning = replace(meaning, within="multi_head_attention", part=part)
            found[tensor.name] = TensorRole(tensor, group.path, meaning)
    return LayerMap({name: found[name] for name in tree}, whole, tree.separator)


def _meanings(
    group: Group, whole: Context, graph: Graph, inner: Mapping[str, str]
) -> dict[str, Meaning]:
    """What the file says of each member, then what the graph says, then what is inferred."""
    known = stated(group, whole, inner)
    for leaf, tensor in group.members.items():
        meaning = None if leaf in known else fed(tensor, graph)
        if meaning is not None:
            known[leaf] = meaning
    if len(known) == len(group.members):
        return known
    return infer(group, whole) | known
