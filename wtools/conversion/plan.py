"""The plan of a conversion: made from headers alone, complete before a byte is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import formats
from ..errors import UnsupportedError, UsageError
from ..estimators.described import of_estimator
from ..formats.drafts import Draft
from ..reports import column
from ..translation import Translation
from ..tree import Tensor, WeightTree
from .cast import cast, casts, target_dtype
from .layout import target_convention, told, translation_of
from .options import Options, chosen, new_names


@dataclass(frozen=True)
class Row:
    """One tensor of a conversion."""

    name: str = column("name in the source")
    target: str = column("name in the output")
    dtype: str = column("element type in the source")
    to: str = column("element type in the output")
    shape: tuple[int, ...] = column("sizes of the axes")
    nbytes: int = column("bytes in the output", unit="bytes")
    change: str = column("what is not as it was; empty for a bit-exact copy", default="")
    stored: str = column("name as the output spells it", default="", shown=False)
    overflowed: int | None = column("values beyond the new type", unit="count", default=None)
    subnormal: int | None = column("values that became subnormal", unit="count", default=None)
    flushed: int | None = column("values that became 0", unit="count", default=None)
    verified: bool | None = column("read back and compared bit for bit", default=None)


@dataclass(frozen=True)
class Plan:
    """What a conversion will do.

    tree: the target's tensors, lazily. draft: None where problems stand before it.
    lost: what the target will not have. problems: why it cannot be done, with a way out.
    translation: into another framework's conventions, if there is one; names: its tensors' names
    -> those in the output. notes: what a person should know. said: more for the summary.
    """

    source: WeightTree
    target: Path
    format: str
    tree: WeightTree
    draft: Draft | None
    rows: Sequence[Row]
    lost: Sequence[str]
    problems: Sequence[str]
    translation: Translation | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The main file that will be written."""
        return self.target.with_name(self.draft.name) if self.draft else self.target

    @property
    def nbytes(self) -> int:
        """Bytes of tensors that will be written."""
        return sum(row.nbytes for row in self.rows)

    def check(self) -> None:
        """Raise UnsupportedError if there is any problem."""
        if self.problems:
            more = f" (and {len(self.problems) - 5} more)" if len(self.problems) > 5 else ""
            raise UnsupportedError("; ".join(self.problems[:5]) + more, path=str(self.path))


def plan(
    source: WeightTree,
    target: str | os.PathLike[str],
    *,
    to: str | None = None,
    options: Options | None = None,
) -> Plan:
    """How `source` becomes `target`, of the format `to` or of the one that its name says.

    Raises UsageError for options that make no sense; what merely cannot be done is listed in
    the plan's `problems`.
    """
    options = options or Options()
    format, path = target_of(target, to)
    writer = formats.writer(format)
    if writer is None:
        raise UsageError(f"{format} can only be read", path=str(target))
    _refuse_options(format, writer, options.for_writer())
    if format == "onnx":
        from . import graph

        if graph.wanted(source, format, options):
            return graph.graph_plan(source, path, format, options)
    chosen_ones = chosen(source, options)
    if options.like is not None:
        from .like import like_plan

        filled = like_plan(source, chosen_ones, path, format, options)
        if filled is not None:
            return filled
    translation = _translation(source, chosen_ones, format, options, writer)
    base = translation.tree if translation else source
    kept = list(base.values()) if translation else chosen_ones
    names = new_names(kept, options)
    problems = [*(translation.problems if translation else ()), *_collisions(names)]
    wanted = casts(options.dtype)
    changed = {tensor.name: _changed(tensor, options, wanted) for tensor in kept}
    apart = {} if translation else carried(source, options, writer)
    tree, lost = base, _lost(source, kept, options, apart)
    draft = None
    if not problems:
        tree = base.replace(
            [changed[name].rename(new) for name, new in names.items()],
            metadata={**metadata_of(source), **options.metadata},
            apart=apart,
        )
        draft = writer.draft(tree, path.name, like=options.like, **options.for_writer())
        problems, lost = list(draft.problems), [*lost, *draft.lost]
    rows = [
        _row(
            tensor, changed[tensor.name], names[tensor.name], draft.aliases if draft else {}, draft
        )
        for tensor in kept
    ]
    if translation:
        rows = [_translated(row, source, translation) for row in rows]
        lost += told(translation)
    return Plan(
        source,
        path,
        format,
        tree,
        draft,
        rows,
        lost,
        problems,
        translation,
        names,
        notes=list(translation.notes) if translation else [],
        said={"layout": f"{translation.source} to {translation.to}"} if translation else {},
    )


def _translation(
    source: WeightTree,
    kept: Sequence[Tensor],
    format: str,
    options: Options,
    writer: formats.Writer,
) -> Translation | None:
    to = target_convention(source, format, options)
    metadata = "metadata" in writer.KEEPS
    return translation_of(source, kept, to, options, metadata=metadata) if to else None


def _translated(row: Row, source: WeightTree, translation: Translation) -> Row:
    """The row of a translated tensor, told from those that it is made of."""
    entry = translation.entries[row.name]
    steps = entry.steps if row.name == row.target else (*entry.steps, "renamed")
    change = [*dict.fromkeys(steps), *(c for c in row.change.split(", ") if c not in steps)]
    before = source.get(entry.sources[0]) if entry.sources else None
    return replace(
        row,
        name=" + ".join(entry.sources),
        dtype=before.dtype if before is not None else row.dtype,
        shape=before.shape if before is not None else row.shape,
        change=", ".join(filter(None, change)),
    )


def target_of(target: str | os.PathLike[str], to: str | None) -> tuple[str, Path]:
    """The format's NAME and the path: `to`, else by the ending; in a folder, `model.<ending>`.

    Raises UsageError where neither says which format is meant.
    """
    path = Path(target)
    if to is not None:
        format = formats.named(to)
        if path.is_dir():
            path /= f"model{format.EXTENSIONS[0]}"
        return format.NAME, path
    name = path.name.lower().removesuffix(".index.json")
    found = [f for f in formats.formats() if name.endswith(tuple(f.EXTENSIONS))]
    if len(found) == 1 and not path.is_dir():
        return found[0].NAME, path
    known = ", ".join(f.NAME for f in formats.formats() if formats.writer(f.NAME))
    raise UsageError(
        "its name does not say which format is meant", path=str(target), advice=f"--to {known}"
    )


def _refuse_options(format: str, writer: formats.Writer, given: Mapping[str, object]) -> None:
    for name in given:
        if name not in writer.OPTIONS:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} means nothing to {format}")


def _collisions(names: Mapping[str, str]) -> list[str]:
    sources: dict[str, list[str]] = {}
    for old, new in names.items():
        sources.setdefault(new, []).append(old)
    problems = [
        f"{' and '.join(map(repr, old[:3]))} would both be named {new!r}: change the rules"
        for new, old in sources.items()
        if len(old) > 1
    ]
    problems += [
        f"{old[0]!r} would have no name left" for new, old in sources.items() if old[0] and not new
    ]
    return problems


def _changed(tensor: Tensor, options: Options, wanted: Mapping[str, str]) -> Tensor:
    if options.dequantize:
        tensor = tensor.dequantized()
    return cast(tensor, target_dtype(tensor, wanted), options.on_overflow)


def metadata_of(source: WeightTree) -> dict[str, Any]:
    """What the source says of the model, without what its reader says of the file."""
    of_the_file = ("root", "globals") if source.format == "pytorch" else ()
    return {key: value for key, value in source.metadata.items() if key not in of_the_file}


def _is_optimizer(name: str) -> bool:
    return "optim" in name.lower()


def carried(source: WeightTree, options: Options, writer: formats.Writer) -> dict[str, WeightTree]:
    """The sets apart that the output will have: none where only some tensors were asked for."""
    if options.only or "apart" not in writer.KEEPS:
        return {}
    return {
        name: tree
        for name, tree in source.apart.items()
        if not (options.drop_optimizer and _is_optimizer(name))
    }


def _lost(
    source: WeightTree,
    kept: Sequence[Tensor],
    options: Options,
    apart: Mapping[str, WeightTree],
) -> list[str]:
    lost = []
    for name, tree in source.apart.items():
        if name not in apart and not (options.drop_optimizer and _is_optimizer(name)):
            lost.append(f"{name!r}, {len(tree)} tensors apart: --root {name} converts them")
    if source.architecture is not None and options.like is None:
        lost.append(
            "what the estimator makes of its arrays: an .onnx file and --module have it"
            if of_estimator(source)
            else "the model's architecture: --like MODEL writes into a model that has one"
        )
    quantized = [tensor for tensor in kept if tensor.quantization is not None]
    if quantized and not options.dequantize and options.like is None:
        lost.append(
            f"what scale and zero point the {len(quantized)} quantized tensors have "
            f"({quantized[0].name}...): --dequantize writes their real values"
        )
    shared = _overlapping(kept)
    if shared:
        lost.append(f"that {len(shared)} tensors share memory with others ({shared[0]}...)")
    return lost


def _overlapping(tensors: Sequence[Tensor]) -> list[str]:
    """Tensors whose bytes are partly another's: tied ones, the same bytes throughout, apart."""
    placed = sorted(
        {
            (t.storage.file, t.storage.offset, t.storage.nbytes): t for t in tensors if t.storage
        }.items(),
        key=lambda item: item[0],
    )
    found, file, end = [], "", 0
    for (here, offset, nbytes), tensor in placed:
        if here == file and offset < end and nbytes:
            found.append(tensor.name)
        file, end = here, max(end if here == file else 0, offset + nbytes)
    return found


def _row(
    source: Tensor, target: Tensor, name: str, tied: Mapping[str, str], draft: Draft | None
) -> Row:
    change = []
    if source.name != name:
        change.append("renamed")
    if source.dtype != target.dtype:
        change.append("dequantized" if source.quantization and not target.quantization else "cast")
    if name in tied:
        change.append(f"tied to {tied[name]}")
    stored = draft.stored.get(name, name) if draft else name
    nbytes = 0 if name in tied else target.nbytes
    return Row(
        source.name,
        name,
        source.dtype,
        target.dtype,
        source.shape,
        nbytes,
        ", ".join(change),
        stored,
    )
