"""The canonical form: a tree's layers by kind, their roles with one letter for each axis.

    canonical(tree)          what a file holds, whichever framework's conventions it follows
    spelled(layer, "torch")  (see `spelling`) how a framework stores a layer

In the middle stand the roles and axes of `wtools.layouts`; a role's axes are its letters in
alphabetical order, "g i u" for the kernel of an LSTM, and so are its gates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import NameNotFoundError, UsageError
from ..layers import LayerMap, TensorRole, layer_map
from ..layouts import Stored
from ..layouts.axes import sizes
from ..tree import Tensor, WeightTree
from . import axes as known_axes
from .axes import with_kinds
from .flattening import flattened
from .model import (
    OF_FORMAT,
    Canonical,
    CanonicalLayer,
    Part,
    layout_of,
)
from .onnx_paths import placed
from .onnx_rows import channels_last
from .pieces import Piece, flat
from .records import remembered
from .units import NOT_KNOWN, Unit, units


def canonical(
    tree: WeightTree,
    layers: LayerMap | None = None,
    *,
    heads: Mapping[str, int] | None = None,
    flatten: Mapping[str, Sequence[int]] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Canonical:
    """What the tensors of a tree are, ready to be spelled in any convention. Reads no data.

    layers: its `layer_map`, if there is one already. heads: attention layer -> how many heads
    it has, which fused weights do not tell. flatten: dense layer -> the shape, channels last, of
    the image that is flattened before it. kinds: layer -> its kind ("depthwise_conv2d"), where
    names and shapes tell another. Raises NameNotFoundError for a layer that there is not,
    UsageError for what a layer cannot be.
    """
    known, left = remembered(tree.values())
    found = [layer for layer, _ in known]
    layers = layers if layers is not None else layer_map(tree)
    default = convention_of(tree, layers)
    told = _Told(
        dict(heads or {}), {k: tuple(v) for k, v in (flatten or {}).items()}, dict(kinds or {})
    )
    layers = with_kinds(layers, told.kinds, default)
    told.last = channels_last(tree) if default == "onnx" else set()
    rest: list[Tensor] = []
    constants: set[str] = set()
    some = layers.only(t.name for t in left)
    for unit in units(some, placed(tree, some, default)):
        layer, unknown = _layer(unit, layers, default, told)
        found += [layer] if layer is not None else []
        rest += unknown
        roles = {one.found.tensor.name: one.found.meaning.role for one in unit.roles}
        known_roles = layout_of(default, unit.kind).roles
        constants |= {t.name for t in unknown if roles[t.name] not in known_roles}
    at = {name: place for place, name in enumerate(tree)}
    found.sort(key=lambda layer: min(at[name] for name in layer.tensors))
    told.check(found)
    notes = [f"{one.path}: {one.facts['assumed']}" for one in found if "assumed" in one.facts]
    return Canonical(default, [*levels_apart(found)], rest, notes, frozenset(constants))


@dataclass
class _Told:
    """What the caller says of layers, by path; a path may be written with dots."""

    heads: dict[str, int]
    flatten: dict[str, tuple[int, ...]]
    kinds: dict[str, str]
    last: set[str] = field(default_factory=set)  # tensors after an image flattened channels last

    def of(self, table: Mapping[str, Any], path: str) -> Any:
        return table.get(path, table.get(path.replace("/", ".")))

    def check(self, layers: Iterable[CanonicalLayer]) -> None:
        """Raise NameNotFoundError for the path of no layer."""
        paths = [layer.path for layer in layers]
        known = {*paths, *(path.replace("/", ".") for path in paths)}
        for path in (*self.heads, *self.flatten, *self.kinds):
            if path not in known:
                raise NameNotFoundError(path, paths, what="layer")


def levels_apart(layers: Iterable[CanonicalLayer]) -> Iterator[CanonicalLayer]:
    """The layers; `separate` among the facts of those recurrent levels that are no levels.

    torch's are all of one size, each fed by the one before it; Keras' stacked cells need not be.
    """
    layers = list(layers)
    stacks: dict[str, list[CanonicalLayer]] = {}
    for layer in layers:
        if layer.facts.get("levels", 1) > 1:
            stacks.setdefault(layer.path, []).append(layer)
    for layer in layers:
        stack = stacks.get(layer.path, [])
        if layer.facts.get("levels", 1) > 1 and not _uniform(stack):
            layer = replace(layer, facts={**layer.facts, "separate": True})
        yield layer


def _uniform(stack: list[CanonicalLayer]) -> bool:
    first = stack[0]
    width = first.sizes.get("v", 0) * (2 if "backward_kernel" in first.parts else 1)
    return all(
        (one.kind, one.sizes.get("u"), len(one.parts))
        == (
            first.kind,
            first.sizes.get("u"),
            len(first.parts),
        )
        and (one is first or one.sizes.get("i") == width)
        for one in stack
    )


def convention_of(tree: WeightTree, layers: LayerMap | None = None) -> str:
    """The convention of a tree: what its file says, else what its format is for, else that of
    most of its tensors by their axes and names."""
    if said := stated(tree):
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


def stated(tree: WeightTree) -> str:
    """The convention that a file is known to follow; "" where only its tensors could tell."""
    if tree.convention:
        return tree.convention
    if tree.format in OF_FORMAT and tree.variant != "plain HDF5":
        return OF_FORMAT[tree.format]
    return {"pt": "torch", "tf": "keras"}.get(str(tree.metadata.get("format", "")), "")


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


def _layer(
    unit: Unit, layers: LayerMap, default: str, told: _Told
) -> tuple[CanonicalLayer | None, list[Tensor]]:
    """A unit as a layer, and those of its tensors whose axes are not known."""
    if unit.kind in NOT_KNOWN:
        return None, [one.found.tensor for one in unit.roles]
    own = [name for role in unit.roles if (name := by_axes(role.found))]
    convention = own[0] if own else default
    layout = layout_of(convention, unit.kind)
    facts = dict(unit.facts)
    known = known_axes.known_sizes(unit, layout, layers, told.of(told.heads, unit.path), facts)
    image = told.of(told.flatten, unit.path)
    parts: dict[str, Part] = {}
    rest: list[Tensor] = []
    for one in sorted(unit.roles, key=lambda one: -one.found.tensor.ndim):
        tensor, name = one.found.tensor, one.found.meaning.role
        axes = known_axes.axes_of(one.found, unit)
        try:
            if axes is None or f"{one.prefix}{name}" in parts:
                raise UsageError("its axes are not known")
            size = sizes(axes, tensor.shape, **{k: v for k, v in known.items() if k in flat(axes)})
        except UsageError:
            rest.append(tensor)
            continue
        gates = layout.gates if "g" in flat(axes) else ""
        letters = sorted(flat(axes))
        if image is not None and _flattens(unit.kind, name, letters):
            whose = "keras" if tensor.name in told.last else convention
            axes, size = flattened(axes, size, image, whose, unit.path)
        known = {**size, **known}
        for role, at in held(name, layout.roles.get(name), size):
            piece = Piece(tensor, axes, size, gates, at)
            picked = {letter for letter, _ in at}
            shown = " ".join(letter for letter in letters if letter not in picked)
            parts[one.prefix + role] = Part(one.prefix + role, shown, piece, (tensor.name,))
    if not parts:
        return None, rest
    order = {one.found.tensor.name: at for at, one in enumerate(unit.roles)}
    parts = dict(sorted(parts.items(), key=lambda item: order[item[1].piece.tensor.name]))
    if image is not None:
        facts["flatten"] = tuple(image)
    if any(one.found.tensor.name in told.last for one in unit.roles):
        facts["rows"] = "channels last"
    return CanonicalLayer(unit.path, unit.kind, convention, known, parts, facts), rest


def _flattens(kind: str, role: str, letters: list[str]) -> bool:
    """Does the tensor have an axis that runs over the flattened image?"""
    return (role == "kernel" and "i" in letters) or (kind == "batch_norm" and letters == ["c"])


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
