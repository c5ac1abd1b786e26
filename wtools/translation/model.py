"""The types of the canonical form, see `canonical`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..layouts import Layout, keras, onnx, sklearn, torch
from ..tree import Tensor
from .flattening import aligned
from .pieces import Piece, flat

LAYOUTS: dict[str, dict[str, Layout]] = {
    "keras": keras.LAYOUTS,
    "torch": torch.LAYOUTS,
    "onnx": onnx.LAYOUTS,
    "sklearn": sklearn.LAYOUTS,
}
OF_FORMAT = {
    "keras": "keras",
    "pytorch": "torch",
    "onnx": "onnx",
    "skops": "sklearn",
    "sklearn": "sklearn",
}
SEPARATORS = {"keras": "/", "torch": ".", "onnx": ".", "sklearn": "."}


@dataclass(frozen=True, eq=False)
class Part:
    """One role of a layer.

    axes: the canonical letters, "g i u". tensor: its elements with these axes, lazily; the
        inputs of a dense layer after a Flatten in the order of channels first.
    stored: the names of the source's tensors that it is made of.
    """

    role: str
    axes: str
    piece: Piece
    stored: tuple[str, ...] = ()

    @cached_property
    def tensor(self) -> Tensor:
        gates = " ".join(sorted(self.piece.gates.split()))
        piece, axes = aligned(self.piece, self.axes, "torch")
        return piece.moved(axes, gates)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.piece.sizes[letter] for letter in flat(self.axes))


@dataclass(frozen=True, eq=False)
class CanonicalLayer:
    """One layer, or one level of a stacked recurrent layer, with both of its directions.

    path: its name with "/" between the parts, whichever separator the source has.
    kind: a canonical kind, see `wtools.layouts`; a GRU that resets before the product is
        "gru_reset_before". convention: "keras", "torch", "onnx" or "sklearn".
    sizes: letter -> size.
    parts: role -> Part; those of the backward direction begin with "backward_".
    facts: `level` and `levels` of a stacked recurrent layer, `bidirectional`, `cell`, `heads`,
        `part` and `within` of a composite, `confidence`, `evidence`, `note`, `node` (ONNX),
        `flatten`: the image that is flattened before it, `rows`: "channels last" where an ONNX
        graph flattens it so; `record`: what a translated file says of the layer's origin.
    """

    path: str
    kind: str
    convention: str
    sizes: Mapping[str, int]
    parts: Mapping[str, Part]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors that the layer is made of, in the source's order."""
        return {t.name: t for part in self.parts.values() for t in (part.piece.tensor,)}


@dataclass(frozen=True, eq=False)
class Canonical:
    """A tree's layers in its order, and the tensors that belong to no layer of a known kind.

    convention: of most of the tree. notes: what had to be assumed, one line each.
    constants: names among the rest that are no role of any layer.
    """

    convention: str
    layers: list[CanonicalLayer]
    rest: list[Tensor]
    notes: list[str] = field(default_factory=list)
    constants: frozenset[str] = frozenset()


def layout_of(convention: str, kind: str) -> Layout:
    """The layout of a kind, with nothing in it where the convention has none."""
    table = LAYOUTS[convention]
    found = table.get(kind) or table.get(kind.removesuffix("_reset_before"))
    return found if found is not None else Layout((), {})
