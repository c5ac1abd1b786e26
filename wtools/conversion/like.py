"""The plan of a conversion into a template: its names, shapes and order, the source's values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import formats
from ..errors import UsageError
from ..reports import column
from ..translation import Entry as Told
from ..translation import Translation, canonical, stated
from ..translation.architectures import Applied, apply
from ..translation.assignment import SURE
from ..translation.fused import apart, is_fused
from ..tree import Tensor, WeightTree
from .agreement import agreed
from .cast import cast, casts, target_dtype
from .changes import changes, sentences
from .options import Options, new_names
from .plan import Plan, Row, metadata_of
from .recognition import Model, Recognition, recognize
from .refill import Filling, fill

_SHOWN = 5  # names of a list that a person is shown


@dataclass(frozen=True)
class LikeRow(Row):
    """One tensor of a template."""

    confidence: float | None = column(
        "how sure it is that the two belong together, 0 to 1", short="sure", default=None
    )
    evidence: str = column("what speaks for it", default="")


def same_names(source: Iterable[Tensor], template: WeightTree) -> bool:
    """Are most of the tensors the template's by name and shape?"""
    tensors = list(source)
    found = 0
    for tensor in tensors:
        old = template.get(tensor.name) or template.get(tensor.stored)
        found += old is not None and old.shape == tensor.shape
    return 2 * found > len(tensors)


def like_plan(
    source: WeightTree, kept: Sequence[Tensor], path: Path, format: str, options: Options
) -> Plan | None:
    """How `source` fills the template `options.like`; None where names decide, as they are.

    The template stays open as long as the plan. Raises UsageError for a mapping file that is none.
    """
    assert options.like is not None
    names = new_names(kept, options)
    kept = [t if names[t.name] == t.name else replace(t, name=names[t.name]) for t in kept]
    template = formats.open(options.like)
    conventions = {name for name in (stated(source), stated(template)) if name}
    by_names = same_names(kept, template) and len(conventions) < 2
    if by_names and format in ("keras", "onnx") and not options.mapping and options.strict:
        template.close()
        return None
    chosen = source.replace(_real(kept, options))
    images, images_there = {**_images(chosen), **options.flatten}, _images(template)
    images = {**_of_graph(chosen, images_there), **images}
    images_there = {**_of_graph(template, images), **images_there}
    one = canonical(chosen, heads=options.heads, flatten=images, kinds=options.kinds)
    other = canonical(template, flatten=images_there)
    other = agreed(template, other, one, flatten=images_there)
    one = agreed(chosen, one, other, heads=options.heads, flatten=images, kinds=options.kinds)
    if any(map(is_fused, one.layers)) != any(map(is_fused, other.layers)):
        one, other = (
            replace(one, layers=apart(one.layers)),
            replace(other, layers=apart(other.layers)),
        )
    here, there = Model.of(chosen, one), Model.of(template, other)
    given = _given(options.mapping, here, there) if options.mapping else []
    used: list[Applied] = []
    rules = (lambda a, b: _ruled(a, b, used)) if options.rules else None
    found = recognize(here, there, given, rules)
    filling = fill(found, (_epsilon(here), _epsilon(there)))
    return _plan(source, found, filling, used[0] if used else None, path, format, options)


def _of_graph(tree: WeightTree, known: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """Those of the images that layers of the same name in an ONNX graph take flattened."""
    if tree.format != "onnx":
        return {}
    paths = {layer.path for layer in canonical(tree).layers}
    return {path: image for path, image in known.items() if path in paths}


def _images(tree: WeightTree) -> dict[str, Sequence[int]]:
    """The images that are flattened before dense layers, as a Keras config tells."""
    if not isinstance(tree.architecture, Mapping) or "keras" not in tree.architecture:
        return {}
    from ..graphs.flattened import flattened

    paths = {tensor.layer for tensor in tree.values()}
    return {p: image for p, image in flattened(tree).items() if image and p in paths}


def _real(kept: Iterable[Tensor], options: Options) -> list[Tensor]:
    return [tensor.dequantized() if options.dequantize else tensor for tensor in kept]


def _ruled(
    one: Model, other: Model, used: list[Applied]
) -> tuple[list[tuple[int, int, str]], list[str]]:
    """The pairs of a rule file; what was applied is put into `used`."""
    sides = tuple("keras" if m.canonical.convention == "keras" else "torch" for m in (one, other))
    known = apply(one.side, other.side, (sides[0], sides[1]))
    if known is None:
        return [], []
    used.append(known)
    name = known.architecture.name
    return [(a, b, f"rules {name}") for a, b in known.pairs], [name]


def _epsilon(model: Model) -> float | None:
    """The epsilon of a model's batch norms, where they have one."""
    if model.wiring is None:
        return None
    known = {
        config.get("epsilon")
        for unit, config in model.wiring.configs.items()
        if model.units[unit].layer.kind == "batch_norm"
    }
    value = known.pop() if len(known) == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def _given(file: str, source: Model, target: Model) -> list[tuple[int, int, str]]:
    """The pairs of units that a mapping file tells.

    {"tensors": {name in the template: {"sources": [names]}}}, as --mapping-out writes it, or
    {name in the template: name in the source}. Raises UsageError.
    """
    try:
        known = json.loads(Path(file).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot be read as a mapping: {error}", path=file) from None
    table = known.get("tensors", known) if isinstance(known, dict) else None
    if not isinstance(table, dict):
        raise UsageError("is no mapping: an object of names is expected", path=file)
    pairs: dict[int, int] = {}
    for name, entry in table.items():
        sources = entry.get("sources", []) if isinstance(entry, dict) else [entry]
        if not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
            raise UsageError(f"{name!r} is not mapped to names of tensors", path=file)
        there = target.owner.get(_known(name, target.tree, file))
        own = {source.owner.get(_known(one, source.tree, file)) for one in sources} - {None}
        if there is None or not own:
            continue
        one = next(iter(sorted(n for n in own if n is not None)))
        if source.side.items[one].signature != target.side.items[there].signature:
            raise UsageError(f"{sources[0]!r} and {name!r} are not of one kind and size", path=file)
        pairs.setdefault(there, one)
    return [(one, there, "mapping file") for there, one in pairs.items()]


def _known(name: str, tree: WeightTree, file: str) -> str:
    if name not in tree:
        raise UsageError(f"maps {name!r}, which is not in {tree.path or 'the tree'}", path=file)
    return tree[name].name


def _plan(
    source: WeightTree,
    found: Recognition,
    filling: Filling,
    applied: Applied | None,
    path: Path,
    format: str,
    options: Options,
) -> Plan:
    template = found.target.tree
    writer = formats.writer(format)
    assert writer is not None
    wanted = casts(options.dtype)
    tensors, rows = [], []
    for old in template.values():
        entry = filling.entries.get(old.name)
        if entry is None:
            tensors.append(replace(old, stored=old.name))
            rows.append(_kept_row(old))
            continue
        new = cast(entry.tensor, target_dtype(entry.tensor, wanted), options.on_overflow)
        tensors.append(new)
        before = source.get(entry.sources[0], entry.tensor) if entry.sources else entry.tensor
        cast_too = ["cast"] if new.dtype != before.dtype else []
        rows.append(
            LikeRow(
                " + ".join(entry.sources),
                old.name,
                before.dtype,
                new.dtype,
                before.shape,
                new.nbytes,
                ", ".join(dict.fromkeys([*entry.steps, *cast_too])),
                old.name,
                confidence=round(entry.told.confidence, 3),
                evidence=entry.told.reason,
            )
        )
    convention = found.target.canonical.convention
    tree = source.replace(
        tensors,
        separator=template.separator,
        convention=convention,
        architecture=None,
        metadata={**metadata_of(source), **options.metadata},
        apart={},
    )
    problems = [*filling.problems, *_problems(found, filling, applied, options)]
    draft = None
    if not problems:
        own = options.like if format in ("keras", "onnx") else None
        draft = writer.draft(tree, path.name, like=own, **options.for_writer())
        problems = list(draft.problems)
    known = changes(found, applied, convention)
    lost = [*dict.fromkeys(_grouped(filling.losses)), *(draft.lost if draft else ())]
    return Plan(
        source,
        path,
        format,
        tree,
        draft,
        rows,
        lost,
        problems,
        _translation(tree, found, filling),
        {name: name for name in tree},
        notes=[*_notes(found, filling, applied, options), *sentences(known)],
        said=_summary(found, filling, applied, known),
    )


def _kept_row(old: Tensor) -> LikeRow:
    return LikeRow(
        "",
        old.name,
        old.dtype,
        old.dtype,
        old.shape,
        old.nbytes,
        "as in the template",
        old.name,
        evidence="template",
    )


def _translation(tree: WeightTree, found: Recognition, filling: Filling) -> Translation:
    entries = {
        name: Told(name, entry.sources, entry.steps) for name, entry in filling.entries.items()
    }
    there = found.target.canonical.convention
    return Translation(
        tree, found.source.canonical.convention, there, entries, left_out=filling.unused
    )


def _problems(
    found: Recognition, filling: Filling, applied: Applied | None, options: Options
) -> list[str]:
    """What was not matched, where everything should be."""
    if not options.strict:
        return []
    problems = []
    for ours, theirs in found.ambiguities:
        problems.append(
            f"nothing tells {_some(ours)} apart for {_some(theirs)}: --mapping FILE says it"
        )
    doubted = {path for _, theirs in found.ambiguities for path in theirs}
    missing = [n for n in _without(filling.missing, found.target, applied, 1) if n not in doubted]
    unused = _without(filling.unused, found.source, applied, 0)
    if missing and not (found.ambiguities and len(missing) < len(doubted)):
        problems.append(
            f"nothing in the source for {_some(missing)} of the template: "
            "--no-strict keeps the template's values"
        )
    if unused and not found.ambiguities:
        problems.append(
            f"the template has no place for {_some(unused)}: --exclude or --no-strict leaves it out"
        )
    return problems


def _without(names: Iterable[str], model: Model, applied: Applied | None, side: int) -> list[str]:
    """The names that are not of layers which rules know to be on one side alone."""
    gone = applied.absent[side] if applied is not None else frozenset[int]()
    return [name for name in names if model.owner.get(name, -1) not in gone]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _grouped(losses: Sequence[str]) -> list[str]:
    """The losses, those that say one thing of many tensors in one line."""
    kinds: dict[str, list[str]] = {}
    for loss in losses:
        name, _, what = loss.partition(": ")
        kinds.setdefault(what, []).append(name)
    return [
        f"{names[0]}: {what}"
        if len(names) == 1
        else f"{names[0]} and {len(names) - 1} more: {what}"
        for what, names in kinds.items()
    ]


def _notes(
    found: Recognition, filling: Filling, applied: Applied | None, options: Options
) -> list[str]:
    notes = list(found.source.canonical.notes)
    if applied is not None:
        known = applied.architecture
        notes.append(f"known architecture: {known.keras} and {known.torch} (rules {known.name})")
    if filling.biases:
        notes.append(
            f"{filling.biases} biases folded into the running means of the batch norms after them"
        )
    if filling.gammas:
        notes.append(f"{filling.gammas} gammas folded into the variances of their batch norms")
    made: dict[str, list[str]] = {}
    for name, entry in filling.entries.items():
        if not entry.sources:
            made.setdefault(", ".join(entry.steps), []).append(name)
    notes += [f"{what}: {_some(names)}" for what, names in made.items()]
    unsure = [n for n, e in filling.entries.items() if e.told.confidence < SURE]
    if unsure:
        notes.append(f"confidence below {SURE} for {_some(unsure)}: look at them")
    if not options.strict:
        for ours, theirs in found.ambiguities:
            notes.append(f"not decided: {_some(ours)} for {_some(theirs)}")
    if filling.missing:
        notes.append(f"as in the template: {_some(filling.missing)}")
    if filling.unused:
        notes.append(f"not used: {_some(filling.unused)}")
    return notes


def _summary(
    found: Recognition, filling: Filling, applied: Applied | None, known: Sequence[Any]
) -> Mapping[str, Any]:
    sure = [entry.told.confidence for entry in filling.entries.values()]
    return {
        "matched": len(filling.entries),
        "template_tensors": len(found.target.tree),
        "unmatched": list(filling.missing),
        "unused": list(filling.unused),
        "ambiguous": [{"source": one, "template": other} for one, other in found.ambiguities],
        "least_confidence": min(sure, default=None),
        "rules": applied.architecture.name if applied is not None else None,
        "folded_biases": filling.biases,
        "folded_gammas": filling.gammas,
        "changes": [change.to_dict() for change in known],
    }
