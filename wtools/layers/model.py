"""What is said of a tensor: the types that the rest of the package fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..tree import Tensor
from .words import words

_DEEPEST = 32
Evidence = Literal["config", "graph", "name+shape"]


@dataclass(frozen=True)
class Meaning:
    """What one tensor is.

    kind: the layer's canonical kind ("dense", "conv2d", ...; "unknown"). role: what the tensor is
        in it ("kernel", "bias", "gamma", ...). axes: see `wtools.layouts`.
    confidence: 0 to 1; 1 where the file says so. within: the composite that the layer is part of
        ("multi_head_attention", "bidirectional", "lora", ...), and which `part` of it ("query",
        "backward"). note: what else it might be, or what is peculiar.
    """

    kind: str
    role: str
    axes: str = ""
    confidence: float = 1.0
    evidence: Evidence = "name+shape"
    within: str = ""
    part: str = ""
    note: str = ""


@dataclass(frozen=True)
class TensorRole:
    """A tensor of the tree with its layer and what it is there."""

    tensor: Tensor
    layer: str
    meaning: Meaning


@dataclass(frozen=True)
class Group:
    """The tensors of one layer by what its name leaves of theirs, and its place in the order."""

    path: str
    separator: str
    members: Mapping[str, Tensor]
    at: int

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path: ("encoder", "layer", "0")."""
        return tuple(self.path.split(self.separator)) if self.path else ()

    @cached_property
    def called(self) -> tuple[str, ...]:
        """The words of the last part that is not a number: what the layer is called."""
        own = next((part for part in reversed(self.parts) if not part.isdigit()), "")
        return words(own)

    @cached_property
    def numbered(self) -> bool:
        """Is it an element of a list, without a name of its own?"""
        return not self.parts or self.parts[-1].isdigit()

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of the path, as far as it is not absurdly deep."""
        return frozenset(word for part in self.parts[-_DEEPEST:] for word in words(part))

    def shape(self, leaf: str) -> tuple[int, ...] | None:
        """The shape of a member, None where there is none."""
        tensor = self.members.get(leaf)
        return None if tensor is None else tensor.shape

    def length(self, *leaves: str) -> int | None:
        """The length of the first 1-D member of these names."""
        for leaf in leaves:
            shape = self.shape(leaf)
            if shape is not None and len(shape) == 1:
                return shape[0]
        return None
