"""Convert: plan, write, read back, compare, and only then put the output in place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import formats
from ..errors import OutputError, WtoolsError
from ..outputs import refuse_existing, staged
from ..reports import Report
from ..tree import Tensor, WeightTree
from .cast import CastData
from .compare import difference
from .options import Options
from .plan import Plan, Row, plan

Progress = Callable[[int], None]


def convert(
    source: str | os.PathLike[str] | WeightTree,
    target: str | os.PathLike[str],
    *,
    to: str | None = None,
    module: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    check: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Report:
    """Write the weights of `source` (a path or an open tree) to `target` and say what was done.

    to: the target's format, where its name does not say it. module: a Python file, to which
    the PyTorch module of a Keras model is written, the target then being its state dict. changes:
    the fields of `Options` (dtype="bfloat16", only=["encoder.*"], shard_size=5 * 10**9, ...).

    The output is read back and every tensor compared bit for bit before it takes its name,
    unless `check` is False. progress: called with bytes written, then with bytes compared.
    A dry run returns the same report without writing. Schema "wtools.convert/1".

    Raises UnsupportedError where the target cannot hold the tensors, UsageError for options
    that make no sense, OutputError where the disk does not do its part; then nothing has changed.
    """
    options = Options(**changes)
    tree = source if isinstance(source, WeightTree) else formats.open(source)
    try:
        planned, beside = prepare(
            tree, target, to=to, module=module, options=options, overwrite=overwrite
        )
        if dry_run:
            return preview(planned, overwrite=overwrite)
        with beside:
            return execute(planned, overwrite=overwrite, check=check, progress=progress)
    finally:
        if tree is not source:
            tree.close()


def prepare(
    source: WeightTree,
    target: str | os.PathLike[str],
    *,
    to: str | None,
    module: str | os.PathLike[str] | None,
    options: Options,
    overwrite: bool,
) -> tuple[Plan, AbstractContextManager[None]]:
    """The plan, and what is written beside the target while the plan is carried out."""
    if module is None:
        return plan(source, target, to=to, options=options), nullcontext()
    from .module import module_plan

    whole = module_plan(source, target, module, to=to, options=options)
    return whole.weights, whole.writing(overwrite=overwrite)


def preview(plan: Plan, *, overwrite: bool = False) -> Report:
    """What a plan would do; what stands in its way is among the notes and counted."""
    problems = list(plan.problems)
    if plan.draft:
        try:
            refuse_existing(plan.path, overwrite=overwrite, rivals=plan.draft.rivals)
        except OutputError as error:
            problems.append(str(error))
    outcome = {"written": False, "problems": len(problems)}
    return _report(plan, plan.rows, outcome, [f"problem: {problem}" for problem in problems])


def execute(
    plan: Plan, *, overwrite: bool = False, check: bool = True, progress: Progress | None = None
) -> Report:
    """Carry out a plan; see `convert`."""
    plan.check()
    draft = plan.draft
    assert draft is not None
    refuse_existing(plan.path, overwrite=overwrite, rivals=draft.rivals)
    advance = progress or (lambda nbytes: None)
    began = time.perf_counter()
    with staged(
        plan.path,
        overwrite=overwrite,
        rivals=draft.rivals,
        companions=draft.companions,
        keep=_source_files(plan),
        advance=advance,
    ) as output:
        draft.write(output)
        files = [*output.parts, output.final.name]
        written = sum((output.folder / name).stat().st_size for name in files)
        rows = list(plan.rows)
        if check:
            verify(plan, output.main, advance)
            rows = [replace(row, verified=True) for row in rows]
    seconds = time.perf_counter() - began
    rows = [_with_tally(row, plan.tree[row.target]) for row in rows]
    summary = {
        "written": True,
        "files": files,
        "file_bytes": written,
        "verified": check,
        "seconds": seconds,
        "bytes_per_second": plan.nbytes / seconds if seconds else None,
    }
    return _report(plan, rows, summary, [] if check else ["not read back: --no-check"])


def verify(plan: Plan, written: Path, advance: Progress) -> None:
    """Read the output with wtools' own reader; raise OutputError at the first wrong bit."""
    with _read_back(plan, written) as tree:
        draft = plan.draft
        names = {name: draft.found.get(name, name) if draft else name for name in plan.tree}
        missing = sorted(set(names.values()) - set(tree))
        surplus = len(tree) - len(names)
        if missing:
            raise _unfaithful(plan, f"{missing[:3]} missing")
        if surplus and not (draft and draft.partial):
            raise _unfaithful(plan, f"{surplus} tensors too many")
        for name, wanted in plan.tree.items():
            reason = difference(wanted, tree[names[name]])
            if reason:
                raise _unfaithful(plan, reason, name)
            advance(wanted.nbytes)
        for name, apart in plan.tree.apart.items():
            _verify_apart(plan, apart, tree.apart.get(name), name)


def _verify_apart(plan: Plan, wanted: WeightTree, found: WeightTree | None, name: str) -> None:
    for key, tensor in wanted.items():
        reason = "missing" if found is None or key not in found else difference(tensor, found[key])
        if reason:
            raise _unfaithful(plan, reason, f"{name}: {key}")


def _read_back(plan: Plan, written: Path) -> WeightTree:
    try:
        return formats.open(written)
    except WtoolsError as error:
        raise _unfaithful(plan, error.reason) from error


def _unfaithful(plan: Plan, reason: str, name: str = "") -> OutputError:
    return OutputError(
        f"read back, it is not what was written: {reason}; nothing was changed",
        path=str(plan.path),
        place=repr(name) if name else None,
        advice="The disk, the memory or wtools is at fault.",
    )


def _source_files(plan: Plan) -> Iterable[str]:
    """Files that must outlive the conversion; none where the source itself is being replaced."""
    source = plan.source
    if source.path and os.path.realpath(source.path) == os.path.realpath(plan.path):
        return ()
    tensors: list[Tensor] = [*source.values()]
    for apart in source.apart.values():
        tensors += apart.values()
    return {source.path, *(t.storage.file for t in tensors if t.storage)} - {""}


def _with_tally(row: Row, tensor: Tensor) -> Row:
    tally = tensor.data.tally if isinstance(tensor.data, CastData) else None
    if tally is None:
        return row
    return replace(
        row, overflowed=tally.overflowed, subnormal=tally.subnormal, flushed=tally.flushed
    )


def _report(
    plan: Plan, rows: Iterable[Row], outcome: Mapping[str, object], notes: Iterable[str]
) -> Report:
    rows = list(rows)
    sums = {
        key: sum(getattr(row, key) or 0 for row in rows)
        for key in ("overflowed", "subnormal", "flushed")
    }
    summary = {
        "source": plan.source.path,
        "source_format": plan.source.format,
        "target": str(plan.path),
        "tensors": len(rows),
        "nbytes": plan.nbytes,
        "unchanged": sum(not row.change or row.change.startswith("tied") for row in rows),
        **sums,
        **plan.said,
        **outcome,
    }
    return Report(
        "wtools.convert/1",
        f"{plan.source.path or 'memory'} to {plan.path}",
        type(rows[0]) if rows else Row,
        rows,
        summary,
        [*notes, *plan.notes, *(f"lost: {what}" for what in plan.lost)],
        path=str(plan.path),
        format=plan.format,
    )
