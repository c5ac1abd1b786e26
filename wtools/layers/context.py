"""What the whole tree tells about one layer: who stands beside it, which way matrices lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..tree import Tensor
from .model import Group
from .words import natural

# Leaves that stand for one member and are not the last part of the name alone.
_COMPOUND = re.compile(
    r"(?P<leaf>(?:parametrizations\.\w+\.(?:original\d?|\d+\.\w+))"
    r"|lora_\w+(?:\.\w+)?\.weight|lora_\w+\.\w+"
    r"|weight\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+))$"
)
MAIN = (
    *("weight", "weight_v", "weight_orig", "parametrizations.weight.original1"),
    *("parametrizations.weight.original", "weight_packed", "kernel"),
)


def place(tensor: Tensor, separator: str) -> tuple[str, str]:
    """(layer's path, what its name leaves of the tensor's)."""
    if tensor.layer:
        rest = tensor.name.removeprefix(tensor.layer)
        if rest != tensor.name and rest[:1] in ("/", "."):
            return tensor.layer, rest[1:]
        return tensor.layer, tensor.name.rpartition(separator)[2]
    compound = _COMPOUND.search(tensor.name) if separator == "." else None
    if compound:
        return tensor.name[: compound.start()].rstrip("."), compound["leaf"]
    path, _, leaf = tensor.name.rpartition(separator)
    return path, leaf


def groups_of(tensors: Iterable[Tensor], separator: str, by_text: bool) -> list[Group]:
    """The layers' groups in the model's order, as far as the stored order tells it.

    by_text: the file has sorted its names by text; their numbers then count by value again.
    """
    members: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        path, leaf = place(tensor, separator)
        below = members.setdefault(path, {})
        below[leaf if leaf not in below else tensor.name] = tensor
    paths = list(members)
    if by_text:
        paths.sort(key=natural)
    return [Group(path, separator, members[path], at) for at, path in enumerate(paths)]


def main_leaf(group: Group) -> str | None:
    """The member that is the layer's matrix or kernel, or scale where it has none."""
    for leaf in MAIN:
        shape = group.shape(leaf)
        if shape is not None and (leaf != "weight_v" or len(shape) > 1):
            return leaf
    return None


@dataclass(frozen=True)
class Flow:
    """How many channels come in and go out, read as a plain layer (out, in, ...)."""

    norm: bool
    ins: int
    outs: int


@dataclass(frozen=True)
class Context:
    """All groups of one tree, in order."""

    groups: Sequence[Group]
    by_path: dict[str, Group] = field(default_factory=dict)
    in_order: bool = True

    def trusts_neighbours(self, group: Group) -> bool:
        """Is the layer before it in the file the one before it in the model?

        Not where names are sorted by text: `bn1` then comes before `conv1`. Lists stay in order.
        """
        return self.in_order or group.numbered

    @cached_property
    def flows(self) -> list[Flow | None]:
        return [_flow(group) for group in self.groups]

    @cached_property
    def _nearest(self) -> tuple[list[Flow | None], list[Flow | None]]:
        """For each group the nearest flow before it, and the nearest after it."""
        found: list[list[Flow | None]] = []
        for flows in (self.flows, self.flows[::-1]):
            last: Flow | None = None
            passed = []
            for flow in flows:
                passed.append(last)
                last = flow or last
            found.append(passed)
        return found[0], found[1][::-1]

    def before(self, group: Group) -> Flow | None:
        """The flow of the nearest layer before it."""
        return self._nearest[0][group.at]

    def after(self, group: Group) -> Flow | None:
        """The flow of the nearest layer after it."""
        return self._nearest[1][group.at]

    @cached_property
    def kernels(self) -> list[tuple[int, ...]]:
        """Shapes of all weights of three axes and more."""
        shapes = (group.shape(main_leaf(group) or "") for group in self.groups)
        return [shape for shape in shapes if shape and len(shape) > 2]

    @cached_property
    def convolutional(self) -> bool:
        """Are most of the large weights convolutions? Else it is built of matrices."""
        matrices = sum(f is not None and not f.norm for f in self.flows) - len(self.kernels)
        return len(self.kernels) > matrices

    @cached_property
    def batch_normed(self) -> bool:
        return any("running_mean" in group.members for group in self.groups)

    @cached_property
    def made(self) -> Counter[int]:
        """How many convolutions of more than one input channel make so many channels."""
        return Counter(shape[0] for shape in self.kernels if shape[1] > 1)

    @cached_property
    def normed(self) -> frozenset[int]:
        """The lengths of all norms."""
        return frozenset(flow.outs for flow in self.flows if flow and flow.norm)

    @cached_property
    def _votes(self) -> dict[tuple[str, ...], Counter[str]]:
        """Beginning of a path -> which way the matrices below it lie whose bias tells it."""
        votes: dict[tuple[str, ...], Counter[str]] = {}
        for group in self.groups:
            axes = decisive_axes(group)
            if axes:
                for end in range(min(len(group.parts), 32)):
                    votes.setdefault(group.parts[:end], Counter())[axes] += 1
        return votes

    def axes_near(self, group: Group) -> str | None:
        """Which way the decided matrices nearest in the tree lie; None where there are none."""
        for end in range(min(len(group.parts), 32), -1, -1):
            votes = self._votes.get(group.parts[:end])
            if votes:
                return votes.most_common(1)[0][0]
        return None

    @cached_property
    def families(self) -> Counter[tuple[str, tuple[int, ...]]]:
        """(path with its numbers as {}, shape) -> how many layers are alike."""
        return Counter(
            (pattern(group.path), group.shape(leaf) or ())
            for group in self.groups
            if (leaf := main_leaf(group))
        )


def context(tensors: Iterable[Tensor], separator: str) -> Context:
    members = list(tensors)
    names = [tensor.name for tensor in members]
    by_text = len(names) > 2 and names == sorted(names)
    groups = groups_of(members, separator, by_text)
    return Context(groups, {group.path: group for group in groups}, not by_text)


def pattern(path: str) -> str:
    """A path with each number that is a part of its own as {}."""
    return re.sub(r"(?<![^./])\d+(?![^./])", "{}", path)


def decisive_axes(group: Group) -> str | None:
    """Which way the group's matrix lies, if its bias tells."""
    leaf = main_leaf(group)
    shape, bias = group.shape(leaf or ""), group.length("bias", "b")
    if shape is None or len(shape) != 2 or bias is None or shape[0] == shape[1]:
        return None
    return {shape[0]: "o i", shape[1]: "i o"}.get(bias)


def _flow(group: Group) -> Flow | None:
    leaf = main_leaf(group) or next((m for m in group.members if m.startswith("weight_ih")), None)
    shape = group.shape(leaf) if leaf else None
    if "running_mean" in group.members:
        shape = group.shape("running_mean")
    if not shape:
        return None
    if leaf is not None and leaf.startswith("weight_ih"):
        recurrent = group.shape(leaf.replace("ih", "hh")) or shape
        return Flow(False, shape[-1], recurrent[-1])
    if len(shape) == 1:
        return Flow(True, shape[0], shape[0])
    bias = group.length("bias")
    outs, ins = shape[0], shape[1]
    if bias == ins != outs:
        outs, ins = ins, outs
    if len(shape) > 2 and ins == 1:  # depthwise: what goes out came in
        ins = outs
    return Flow(False, ins, outs)
