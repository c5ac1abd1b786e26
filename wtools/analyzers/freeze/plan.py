"""`wtools freeze MODEL`: the model from stem to head, and what a choice of layers would train."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ... import dtypes
from ...errors import NameNotFoundError, UsageError
from ...layers import LayerMap, TensorRole, layer_map
from ...reports import Report, column
from ...tree import WeightTree, tie_key
from ..listing import heading, tree_notes
from .code import CODES, frozen_norms, names_pattern, written
from .units import NORMS, Unit, is_statistic, units

ADAM = 2 * 4  # bytes a parameter: two moments in float32 (Kingma and Ba, arXiv:1412.6980)


@dataclass(frozen=True)
class Choice:
    """What to train. Without any, what the file's own flags say, or everything.

    head_only: the head alone. last: the last N units. until: a pattern of a layer or unit; all
    up to the last one that matches it is frozen. norms: norm layers everywhere, too. lr, decay:
    learning rate of the last unit, and the factor from each unit to the one before it.
    """

    head_only: bool = False
    last: int | None = None
    until: str | None = None
    norms: bool = False
    lr: float | None = None
    decay: float = 1.0

    def check(self) -> None:
        """Raises UsageError for what contradicts itself."""
        if sum([self.head_only, self.last is not None, self.until is not None]) > 1:
            raise UsageError("of head-only, last and until only one can hold")
        if self.decay != 1.0 and self.lr is None:
            raise UsageError("a decay needs the learning rate that it starts from (--lr)")
        if self.last is not None and self.last < 0:
            raise UsageError("last counts units from the output: 0 or more")

    @property
    def made(self) -> bool:
        """Does it say anything of what is trained?"""
        return self.head_only or self.last is not None or self.until is not None or self.norms


@dataclass(frozen=True)
class UnitRow:
    """One piece of the model, from input to output."""

    name: str = column("the unit's path; of stem and head what they are")
    kind: str = column("stem, block, encoder_layer, layer, head, ...")
    stage: str = column("the stage, encoder or decoder that it is part of")
    layers: int = column("number of layers", unit="count")
    tensors: int = column("number of tensors", unit="count")
    count: int = column("number of elements, tied tensors once", unit="count", short="params")
    nbytes: int = column("bytes of the elements", unit="bytes", short="size")
    cumulative: float = column("elements up to and with it", unit="fraction")
    flag: str = column("what the file's own flags say: trainable, frozen, mixed", short="file says")
    trained: str = column("what this choice trains: all, norms, part, none")
    lr: float | None = column("its learning rate")
    trained_count: int = column("elements trained", unit="count", shown=False)
    statistics: int = column("elements that no gradient trains", unit="count", shown=False)


@dataclass(frozen=True)
class TensorRow:
    """One tensor of the model."""

    name: str = column("the tensor's name")
    unit: str = column("the piece of the model that it is part of")
    trained: bool = column("does this choice train it?")
    lr: float | None = column("its learning rate")
    count: int = column("number of elements", unit="count", short="params")
    flag: bool | None = column("the file's own flag", short="file says")
    statistic: bool = column("counted or made, not learned by gradients")
    layer: str = column("the layer it belongs to", shown=False)
    kind: str = column("the layer's kind", shown=False)


@dataclass(frozen=True)
class Plan:
    """trained: names of the tensors that gradients train. rates: layer -> learning rate."""

    tree: WeightTree
    found: LayerMap
    units: Sequence[Unit]
    trained: frozenset[str]
    rates: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def learned(self) -> list[TensorRole]:
        """All that gradients can train, whether frozen or not."""
        return [role for role in self.found.tensors.values() if learnable(role)]

    def layers(self) -> list[tuple[str, bool]]:
        """(path, whether any tensor of it is trained) of each layer that can be."""
        found: dict[str, bool] = {}
        for role in self.learned:
            found[role.layer] = found.get(role.layer, False) or role.tensor.name in self.trained
        return list(found.items())

    def rate(self, name: str) -> float | None:
        """The learning rate of a tensor, None where it is frozen or none was asked for."""
        return self.rates.get(self.found.tensors[name].layer) if name in self.trained else None


def learnable(role: TensorRole) -> bool:
    return not is_statistic(role) and dtypes.get(role.tensor.dtype).kind in ("float", "complex")


def plan(tree: WeightTree, choice: Choice | None = None) -> Plan:
    """Which tensors a choice trains. Reads no tensor. Raises UsageError, NameNotFoundError."""
    choice = choice or Choice()
    choice.check()
    found = layer_map(tree)
    cut = units(found)
    open_units = _open(cut, choice)
    norms = {
        role.layer for role in found.tensors.values() if choice.norms and role.meaning.kind in NORMS
    }
    layers = {layer for unit in open_units for layer in unit.layers} | norms
    trained = {
        role.tensor.name
        for role in found.tensors.values()
        if learnable(role) and _chosen(role, layers, choice)
    }
    tied = [group for group in tree.tied() if trained & set(group)]
    notes = tuple(
        f"tied, so trained together: {' = '.join(group)}"
        for group in tied
        if not trained >= {*group}
    )
    trained.update(name for group in tied for name in group)
    rates = {}
    if choice.lr is not None:
        for steps, unit in enumerate(reversed(cut)):
            rates.update(dict.fromkeys(unit.layers, choice.lr * choice.decay**steps))
    return Plan(tree, found, cut, frozenset(trained), rates, notes)


def _chosen(role: TensorRole, layers: set[str], choice: Choice) -> bool:
    if choice.made:
        return role.layer in layers
    return role.tensor.trainable is not False


def _open(cut: Sequence[Unit], choice: Choice) -> Sequence[Unit]:
    """The units that are trained as a whole."""
    if choice.head_only:
        heads = [unit for unit in cut if unit.kind == "head"]
        return heads or cut[-1:]
    if choice.last is not None:
        return cut[len(cut) - min(choice.last, len(cut)) :]
    if choice.until is not None:
        matching = [i for i, unit in enumerate(cut) if _matches(unit, choice.until)]
        if not matching:
            known = [name for unit in cut for name in (unit.name, *unit.layers)]
            raise NameNotFoundError(choice.until, known, what="unit or layer")
        return cut[matching[-1] + 1 :]
    return ()


def _matches(unit: Unit, pattern: str) -> bool:
    names = (unit.name, unit.stage, *unit.layers)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names if name)


# --- the report -----------------------------------------------------------------------------------


def freeze_report(
    tree: WeightTree,
    *,
    by: Literal["block", "tensor"] = "block",
    code: str | None = None,
    **choice: Any,
) -> Report:
    """A row for each unit, or each tensor, and what the choice trains; see `Choice`.

    code: "torch", "keras" or "peft": `summary["code"]` is then a program that freezes exactly the
        tensors that the choice does not train. Raises UsageError where the names are another
        framework's.
    """
    made = plan(tree, Choice(**choice))
    rows: Sequence[UnitRow] | Sequence[TensorRow]
    rows = _tensor_rows(made) if by == "tensor" else list(_unit_rows(made))
    summary = _summary(made)
    if code is not None:
        if code not in CODES:
            raise UsageError(f"no code for {code!r}: {', '.join(CODES)}")
        summary["code"] = written(made, code)
    return Report(
        schema="wtools.freeze/1",
        title=f"What to freeze of {heading(tree)}",
        row_type=TensorRow if by == "tensor" else UnitRow,
        rows=rows,
        summary=summary,
        notes=[*tree.notes, *tree_notes(tree), *made.notes, *_notes(made)],
        path=tree.path,
        format=tree.format,
    )


def _unit_rows(made: Plan) -> Iterator[UnitRow]:
    layers = made.found.layers()
    seen: set[object] = set()
    total = max(1, made.tree.size)
    so_far = 0
    for unit in made.units:
        roles = [role for layer in unit.layers for role in layers[layer]]
        count = nbytes = trained = still = 0
        for role in roles:
            if tie_key(role.tensor) in seen:
                continue
            seen.add(tie_key(role.tensor))
            count += role.tensor.size
            nbytes += role.tensor.nbytes
            trained += role.tensor.size * (role.tensor.name in made.trained)
            still += role.tensor.size * (not learnable(role))
        so_far += count
        rates = {r for role in roles if (r := made.rate(role.tensor.name)) is not None}
        yield UnitRow(
            name=unit.name,
            kind=unit.kind,
            stage=unit.stage,
            layers=len(unit.layers),
            tensors=len(roles),
            count=count,
            nbytes=nbytes,
            cumulative=so_far / total,
            flag=_flag(roles),
            trained=_extent(made, roles),
            lr=max(rates, default=None),
            trained_count=trained,
            statistics=still,
        )


def _flag(roles: Sequence[TensorRole]) -> str:
    said = {role.tensor.trainable for role in roles if learnable(role)} - {None}
    if len(said) > 1:
        return "mixed"
    return "" if not said else "trainable" if True in said else "frozen"


def _extent(made: Plan, roles: Sequence[TensorRole]) -> str:
    could = [role for role in roles if learnable(role)]
    does = [role for role in could if role.tensor.name in made.trained]
    if len(does) == len(could):
        return "all" if could else "none"
    if does and all(role.meaning.kind in NORMS for role in does):
        return "norms"
    return "part" if does else "none"


def _tensor_rows(made: Plan) -> list[TensorRow]:
    unit_of = {layer: unit.name for unit in made.units for layer in unit.layers}
    return [
        TensorRow(
            name=role.tensor.name,
            unit=unit_of[role.layer],
            trained=role.tensor.name in made.trained,
            lr=made.rate(role.tensor.name),
            count=role.tensor.size,
            flag=role.tensor.trainable,
            statistic=not learnable(role),
            layer=role.layer,
            kind=role.meaning.kind,
        )
        for role in made.found.tensors.values()
    ]


def _summary(made: Plan) -> dict[str, Any]:
    distinct = [made.found.tensors[tensor.name] for tensor in made.tree.distinct()]
    trained = [role.tensor for role in distinct if role.tensor.name in made.trained]
    learned = [role.tensor for role in distinct if learnable(role)]
    count = sum(tensor.size for tensor in trained)
    gradients = sum(tensor.nbytes for tensor in trained)
    everything = sum(tensor.size * ADAM + tensor.nbytes for tensor in learned)
    summary: dict[str, Any] = {
        "units": len(made.units),
        "parameters": made.tree.size,
        "trained_parameters": count,
        "frozen_parameters": sum(tensor.size for tensor in learned) - count,
        "statistics": made.tree.size - sum(tensor.size for tensor in learned),
        "trained_fraction": count / max(1, sum(tensor.size for tensor in learned)),
        "adam_nbytes": count * ADAM,
        "gradient_nbytes": gradients,
        "of_all_nbytes": everything,
    }
    if made.tree.separator == ".":
        summary["pattern"] = names_pattern(made)
    return summary


def _notes(made: Plan) -> Iterator[str]:
    if not made.found.context.in_order:
        yield "the file sorts its names by text: the order of the units is inferred from them"
    narrow = {
        role.tensor.dtype
        for role in made.learned
        if role.tensor.name in made.trained and dtypes.get(role.tensor.dtype).bits < 32
    }
    if narrow:
        yield (
            f"training in {', '.join(sorted(narrow))}: a float32 master copy, where one is kept, "
            "takes 4 more bytes a parameter"
        )
    frozen = frozen_norms(made)
    if frozen and made.tree.separator == ".":
        yield (
            f"{len(frozen):,} frozen batch norms: in torch their statistics still move in training "
            "mode; the code puts them in eval mode"
        )


__all__ = ["Choice", "Plan", "TensorRow", "UnitRow", "freeze_report", "learnable", "plan"]
