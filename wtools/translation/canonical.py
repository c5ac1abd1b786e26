"""The canonical form: a tree's layers by kind, their roles with one letter for each axis.

    canonical(tree)          what a file holds, whichever framework's conventions it follows
    spelled(layer, "torch")  (see `spelling`) how a framework stores a layer

In the middle stand the roles and axes of `wtools.layouts`; a role's axes are its letters in
alphabetical order, "g i u" for the kernel of an LSTM, and so are its gates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import UsageError
from ..layers import LayerMap, TensorRole, layer_map
from ..layouts import Layout, Stored, keras, onnx, torch
from ..layouts.axes import sizes
from ..tree import Tensor, WeightTree
from . import axes as known_axes
from .pieces import Piece, flat
from .units import Unit, units

LAYOUTS: dict[str, dict[str, Layout]] = {
    "keras": keras.LAYOUTS,
    "torch": torch.LAYOUTS,
    "onnx": onnx.LAYOUTS,
}
OF_FORMAT = {"keras": "keras", "pytorch": "torch", "onnx": "onnx"}
SEPARATORS = {"keras": "/", "torch": ".", "onnx": "."}


@dataclass(frozen=True, eq=False)
class Part:
    """One role of a layer.

    axes: the canonical letters, "g i u". tensor: its elements with these axes, lazily.
    stored: the names of the source's tensors that it is made of.
    """

    role: str
    axes: str
    piece: Piece
    stored: tuple[str, ...] = ()

    @cached_property
    def tensor(self) -> Tensor:
        gates = " ".join(sorted(self.piece.gates.split()))
        return self.piece.moved(self.axes, gates)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.piece.sizes[letter] for letter in flat(self.axes))


@dataclass(frozen=True, eq=False)
class CanonicalLayer:
    """One layer, or one level of a stacked recurrent layer, with both of its directions.

    path: its name with "/" between the parts, whichever separator the source has.
    kind: a canonical kind, see `wtools.layouts`; a GRU that resets before the product is
        "gru_reset_before". convention: "keras", "torch" or "onnx". sizes: letter -> size.
    parts: role -> Part; those of the backward direction begin with "backward_".
    facts: `level` and `levels` of a stacked recurrent layer, `bidirectional`, `cell`, `heads`,
        `part` and `within` of a composite, `confidence`, `evidence`, `note`, `node` (ONNX),
        and `stored`: the source's tensors by role as `wtools.layers` names these.
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
    """

    convention: str
    layers: list[CanonicalLayer]
    rest: list[Tensor]
    notes: list[str] = field(default_factory=list)


def canonical(
    tree: WeightTree,
    layers: LayerMap | None = None,
    *,
    heads: Mapping[str, int] | None = None,
) -> Canonical:
    """What the tensors of a tree are, ready to be spelled in any convention. Reads no data.

    layers: its `layer_map`, if there is one already. heads: attention layer -> how many heads
    it has, which fused weights do not tell.
    """
    layers = layers if layers is not None else layer_map(tree)
    default = convention_of(tree, layers)
    found, rest, notes = [], [], []
    for unit in units(layers, default):
        layer, left = _layer(unit, layers, default, heads or {})
        if layer is not None:
            found.append(layer)
            if "assumed" in layer.facts:
                notes.append(f"{layer.path}: {layer.facts['assumed']}")
        rest.extend(left)
    return Canonical(default, found, rest, notes)


def convention_of(tree: WeightTree, layers: LayerMap | None = None) -> str:
    """The convention of a tree: what its file says, else what its format is for, else that of
    most of its tensors by their axes and names."""
    if tree.convention:
        return tree.convention
    if tree.format in OF_FORMAT and tree.variant != "plain HDF5":
        return OF_FORMAT[tree.format]
    said = {"pt": "torch", "tf": "keras"}.get(str(tree.metadata.get("format", "")))
    if said:
        return said
    layers = layers if layers is not None else layer_map(tree)
    votes = {"torch": 0, "keras": 0}
    for role in layers.tensors.values():
        told = by_axes(role)
        if told in votes:
            votes[told] += 1
    if votes["keras"] == votes["torch"]:
        return "keras" if tree.separator == "/" else "torch"
    return max(votes, key=lambda name: votes[name])


def by_axes(role: TensorRole) -> str:
    """The convention that a tensor's evidence or axes tell; "" where they fit several."""
    meaning = role.meaning
    if meaning.evidence == "graph":
        return "onnx"
    fits = []
    for name in ("keras", "torch"):
        stored = layout_of(name, meaning.kind).roles.get(meaning.role)
        if stored is not None and stored.axes in (meaning.axes, "*"):
            fits.append(name)
    return fits[0] if len(fits) == 1 else ""


def layout_of(convention: str, kind: str) -> Layout:
    """The layout of a kind, with nothing in it where the convention has none."""
    table = LAYOUTS[convention]
    found = table.get(kind) or table.get(kind.removesuffix("_reset_before"))
    return found if found is not None else Layout((), {})


def _layer(
    unit: Unit, layers: LayerMap, default: str, heads: Mapping[str, int]
) -> tuple[CanonicalLayer | None, list[Tensor]]:
    """A unit as a layer, and those of its tensors whose axes are not known."""
    told = [name for role in unit.roles if (name := by_axes(role.found))]
    convention = told[0] if told else default
    kind = unit.kind
    layout = layout_of(convention, kind)
    facts = dict(unit.facts)
    known = known_axes.known_sizes(unit, layout, layers, heads, facts)
    parts: dict[str, Part] = {}
    rest: list[Tensor] = []
    for one in sorted(unit.roles, key=lambda one: -one.found.tensor.ndim):
        axes = known_axes.axes_of(one.found, unit)
        entry = layout.roles.get(one.found.meaning.role)
        try:
            if axes is None or f"{one.prefix}{one.found.meaning.role}" in parts:
                raise UsageError("its axes are not known")
            own = {k: v for k, v in known.items() if k in flat(axes)}
            size = sizes(axes, one.found.tensor.shape, **own)
        except UsageError:
            rest.append(one.found.tensor)
            continue
        gates = layout.gates if "g" in flat(axes) else ""
        for role, at in held(one.found.meaning.role, entry, size):
            piece = Piece(one.found.tensor, axes, size, gates, at)
            letters = " ".join(sorted(piece.letters))
            name = f"{one.prefix}{role}"
            parts[name] = Part(name, letters, piece, (one.found.tensor.name,))
            known = {**size, **known}
    if not parts:
        return None, rest
    return CanonicalLayer(unit.path, kind, convention, known, parts, facts), rest


def held(
    role: str, entry: Stored | None, size: Mapping[str, int]
) -> Iterable[tuple[str, tuple[tuple[str, int], ...]]]:
    """The canonical roles that lie in a stored tensor, and where along its letters each does.

    An ONNX recurrent layer has its directions along n, and two biases in each.
    """
    inner: list[tuple[str, tuple[tuple[str, int], ...]]] = [(role, ())]
    if entry is not None and entry.holds:
        inner = [(name, ((entry.along, i),)) for i, name in enumerate(entry.holds)]
    for n in range(size.get("n", 0) or 1):
        at = (("n", n),) if "n" in size else ()
        for name, inside in inner:
            yield ("backward_" if n else "") + name, (*at, *inside)
