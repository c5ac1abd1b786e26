"""A template's tensors made of what was recognized, and what is left over on either side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .. import dtypes
from ..errors import UnsupportedError, UsageError
from ..layouts.axes import sizes as sizes_of
from ..translation.filling import Folds, filled
from ..translation.likeness import Loose, Unit
from ..translation.model import Part
from ..translation.onnx_paths import numbered
from ..translation.pieces import Piece, flat
from ..translation.spelling import Spelled
from ..tree import Tensor
from .recognition import EQUAL, Model, Recognition, Told, assign_loose

_LETTERS = "abcdefgh"
_NEUTRAL = {"bias": 0.0, "beta": 0.0, "gamma": 1.0}  # values that do nothing


@dataclass(frozen=True, eq=False)
class Entry:
    """How one tensor of the template is filled."""

    tensor: Tensor
    sources: tuple[str, ...]
    steps: tuple[str, ...]
    told: Told


@dataclass(eq=False)
class Filling:
    """entries: name in the template -> how it is filled. kept: those that stay as the template
    has them, `missing` those among them that should not. unused: tensors of the source without a
    place. folds: sentences on what was folded into what. losses: what cannot be undone.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    biases: int = 0  # how many went into a running mean
    gammas: int = 0  # ... into a running variance


def fill(found: Recognition, epsilons: tuple[float | None, float | None]) -> Filling:
    """epsilons: those of the batch norms of both sides, where files say them."""
    made = _Filling(found, epsilons)
    made.run()
    return made.result


class _Filling:
    def __init__(self, found: Recognition, epsilons: tuple[float | None, float | None]) -> None:
        self.found, self.epsilons = found, epsilons
        self.source, self.target = found.source, found.target
        self.result = Filling()
        self.used: set[str] = set()
        self.made: dict[str, tuple[Spelled, Told]] = {}

    def run(self) -> None:
        folds = self._bias_folds()
        by_layer: dict[int, list[int]] = {}
        for i, unit in enumerate(self.target.units):
            by_layer.setdefault(id(unit.layer), []).append(i)
        for members in by_layer.values():
            if all(i in self.found.pairs for i in members):
                self._layer(members, folds)
        self._same_names()
        self._loose()
        for one, told in self.made.values():
            if one.name not in self.result.entries:
                self._add(one, told)
        self._leftovers()

    # --- layers ----------------------------------------------------------------------------------

    def _layer(self, members: Sequence[int], folds: Mapping[int, Part]) -> None:
        template = self.target.units[members[0]].layer
        pairs = self.found.pairs
        sources = {self.target.units[i].projection: self.source.units[pairs[i]] for i in members}
        try:
            fold = self._folds(members, folds)
            result = filled(template, sources, fold)
        except (UsageError, UnsupportedError) as error:
            self.result.problems.append(f"{template.path!r}: {error}")
            return
        told = min((self.found.told[i] for i in members), key=lambda one: one.confidence)
        for one in result.spelled:
            if one.sources:
                self._add(one, told)
            else:  # zeros or ones, unless the source has it elsewhere
                self.made[one.name] = one, told
        lying = {name for one in result.spelled for name in one.sources}
        self.used |= lying
        if fold is not None:
            self.used |= set(fold.bias.stored if fold.bias is not None else ())
            if fold.gamma:
                self.used |= set(next(iter(sources.values())).parts["gamma"].stored)
                self.result.gammas += 1

    def _add(self, one: Spelled, told: Told) -> None:
        old = self.target.tree[one.name]
        tensor = replace(
            one.tensor,
            name=old.name,
            stored=old.name,
            layer=old.layer,
            kind=old.kind,
            trainable=old.trainable,
        )
        sources = tuple(dict.fromkeys(one.sources))
        self.result.entries[old.name] = Entry(tensor, sources, one.steps, told)
        self.result.losses += one.losses

    # --- folding ---------------------------------------------------------------------------------

    def _bias_folds(self) -> dict[int, Part]:
        """Target batch norm -> the bias of the layer before it, which the template's lacks."""
        found: dict[int, Part] = {}
        for other, one in self.found.pairs.items():
            unit, wanted = self.source.units[one], self.target.units[other]
            bias = unit.parts.get("bias")
            if bias is None or "bias" in wanted.parts or "kernel" not in wanted.parts:
                continue
            norm = self._norm_after(one, other)
            if norm is not None and "moving_mean" in self.target.units[norm].parts:
                found[norm] = bias
                self.result.biases += 1
        return found

    def _norm_after(self, one: int, other: int) -> int | None:
        """The template's batch norm for the one that takes what the layer computes, as it is."""
        back = {source: target for target, source in self.found.pairs.items()}
        wired = self.source.wiring
        if wired is not None:
            after = [b for a, b in wired.direct if a == one]
        else:
            after = [back_of for back_of in (self._next_norm(other),) if back_of is not None]
        norms = [b for b in after if self.source.units[b].layer.kind == "batch_norm"]
        return back.get(norms[0]) if len(norms) == 1 else None

    def _next_norm(self, other: int) -> int | None:
        """Without a graph: what the layer right after it in the template is in the source."""
        units = self.target.units
        if other + 1 < len(units) and units[other + 1].layer.kind == "batch_norm":
            kernel, norm = units[other].parts["kernel"], units[other + 1].parts["moving_mean"]
            if kernel.piece.sizes.get("o") == norm.piece.sizes.get("c"):
                return self.found.pairs.get(other + 1)
        return None

    def _folds(self, members: Sequence[int], folds: Mapping[int, Part]) -> Folds | None:
        other = members[0]
        unit = self.source.units[self.found.pairs[other]]
        if unit.layer.kind != "batch_norm":
            return None
        wanted = self.target.units[other].parts
        gamma = "gamma" in unit.parts and "gamma" not in wanted and not _does_nothing(unit, "gamma")
        if gamma and (unit.parts["gamma"].piece.tensor.read() <= 0).any():
            raise UsageError(
                "the template has no gamma, and the source's is not positive everywhere: "
                "it cannot be folded into the variance"
            )
        if not gamma and other not in folds:
            return None
        one, there = self.epsilons
        guess = there if there is not None else one if one is not None else 1e-3
        epsilons = (one if one is not None else guess, guess)
        return Folds(folds.get(other), gamma, epsilons)

    # --- parts by themselves ---------------------------------------------------------------------

    def _loose(self) -> None:
        parts = list(_every_part(self.target)), list(_every_part(self.source))
        for number, blunt in enumerate((False, False, True)):
            wanted = {
                one.path: replace(one, blunt=blunt)
                for one in parts[0]
                if one.path not in self.result.entries
                and (one.path in self.made) == (not number)  # first what would be zeros or ones
                and not _is_integer(one.part.piece.tensor)
            }
            offered = [
                replace(one, blunt=blunt)
                for one in parts[1]
                if one.path not in self.used and not _is_integer(one.part.piece.tensor)
            ]
            self.found.loose.clear()
            known = len(self.found.ambiguities)
            assign_loose(self.found, list(wanted.values()), offered)
            if number != 1:  # said already, or not worth saying
                del self.found.ambiguities[known:]
            for name, (part, told) in self.found.loose.items():
                moved = _moved(part.part, wanted[name].part)
                only_equal = name in self.made and told.reason != EQUAL
                if moved is None or only_equal or self._astray(part, name, told):
                    continue
                steps = () if part.part.axes == wanted[name].part.axes else ("reshaped",)
                self._add(Spelled(name, moved, steps, (), part.part.stored), told)
                self.used |= set(part.part.stored)

    def _astray(self, part: Loose, name: str, told: Told) -> bool:
        """Would it tear a part from its layer and put it into another one?"""
        here, there = self.source.owner.get(part.path), self.target.owner.get(name)
        if here is None or there is None or told.reason == EQUAL:
            return False
        return self.found.pairs.get(there) != here

    def _same_names(self) -> None:
        """Tensors of no layer that both have under one name and in one shape."""
        for old in self.target.canonical.rest:
            same = self.source.tree.get(old.name)
            if same is not None and same.shape == old.shape and same.name not in self.used:
                self._add(Spelled(old.name, same, (), (), (same.name,)), Told(1.0, "same name"))
                self.used.add(same.name)

    def _leftovers(self) -> None:
        entries, source = self.result.entries, self.source.tree
        constants = _constants(self.target)
        for old in self.target.tree.values():
            if old.name in entries:
                continue
            self.result.kept.append(old.name)
            if not (_is_integer(old) or "held_in" in old.facts or old.name in constants):
                self.result.missing.append(old.name)
        self._order()
        parts = {name: unit for unit in self.source.units for name in unit.stored}
        constants = _constants(self.source)
        for tensor in source.values():
            if tensor.name in self.used or _is_integer(tensor):
                continue
            if tensor.name in constants:
                continue
            unit = parts.get(tensor.name)
            roles = [r for r, p in unit.parts.items() if tensor.name in p.stored] if unit else []
            if unit is not None and roles and _does_nothing(unit, roles[0]):
                self.result.losses.append(f"{tensor.name}: does nothing, and has no place")
                continue
            self.result.unused.append(tensor.name)

    def _order(self) -> None:
        order = {name: at for at, name in enumerate(self.target.tree)}
        self.result.entries = dict(
            sorted(self.result.entries.items(), key=lambda item: order[item[0]])
        )


def _does_nothing(unit: Unit, role: str) -> bool:
    """Is it a bias of zeros, a scale of ones? Reads it."""
    if role not in _NEUTRAL or role not in unit.parts:
        return False
    tensor = unit.parts[role].piece.tensor
    return tensor.ndim <= 1 and bool(np.all(tensor.read() == _NEUTRAL[role]))


def _is_integer(tensor: Tensor) -> bool:
    return dtypes.get(tensor.dtype).kind in ("int", "uint", "bool")


def _constants(model: Model) -> set[str]:
    """The constants of an ONNX graph, which no framework would call weights."""
    if model.canonical.convention != "onnx" or not model.canonical.rest:
        return set()
    known = model.roles
    buffers = {name for name, role in known.items() if role.meaning.kind == "buffer"}
    return {t.name for t in model.canonical.rest if numbered(t) or t.name in buffers}


def _every_part(model: Model) -> Iterator[Loose]:
    """Each stored tensor of a model as a part; of those of no layer what `layers` tells."""
    order = {name: at for at, name in enumerate(model.tree)}
    seen: set[str] = set()
    for unit in model.units:
        for role, part in unit.parts.items():
            name = part.stored[0]
            if not part.piece.at and name not in seen:
                seen.add(name)
                yield Loose(role, part, name, order[name])
    for tensor in model.canonical.rest:
        meaning = model.roles[tensor.name].meaning
        part = _part_of(tensor, meaning.role, meaning.axes)
        yield Loose(meaning.role, part, tensor.name, order[tensor.name])


def _part_of(tensor: Tensor, role: str, axes: str) -> Part:
    """A tensor of no layer as a part, its axes told or by letters that mean nothing."""
    try:
        known = sizes_of(axes, tensor.shape) if axes else {}
    except UsageError:
        known = {}
    if not known:
        axes = " ".join(_LETTERS[: tensor.ndim])
        known = dict(zip(_LETTERS, tensor.shape, strict=False))
    piece = Piece(tensor, axes, known)
    return Part(role, " ".join(sorted(flat(axes))), piece, (tensor.name,))


def _moved(part: Part, wanted: Part) -> Tensor | None:
    """The part as the template has it; None where it would have to be guessed."""
    there = wanted.piece.tensor.shape
    tensor = part.piece.tensor
    own = {name for name in part.piece.letters if part.piece.sizes[name] != 1}
    other = {name for name in wanted.piece.letters if wanted.piece.sizes[name] != 1}
    if len(own) > 1 and own == other and own <= set("iohwdk"):
        kept = [name for name in wanted.piece.letters if name in own]
        if set(part.piece.letters) == own:
            moved = part.piece.moved(" ".join(kept))
            return replace(moved, shape=there)
        return None
    if tensor.shape == there and not part.piece.at:
        return tensor
    long = [size for size in tensor.shape if size != 1]
    if len(long) < 2 and long == [size for size in there if size != 1]:
        return replace(tensor, shape=there)
    return None
