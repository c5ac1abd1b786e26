"""`wtools convert`."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..reports import Report
from .options import Output, output_options
from .progress import progress

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
TERMINATED = 128 + signal.SIGTERM


@click.command()
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--to", metavar="NAME", help="The target's format, if its name does not say it.")
@click.option("--format", metavar="NAME", help="Read the source as this format, do not look.")
@click.option("--root", metavar="KEY", help="Where in the source the weights are (see `ls`).")
@click.option(
    "--dtype",
    metavar="DTYPE",
    help="Cast floats: bfloat16, or float64=float32,int4=int8 for some dtypes only.",
)
@click.option(
    "--on-overflow",
    type=click.Choice(["error", "saturate", "inf"]),
    default="error",
    show_default=True,
    help="What becomes of values that the new dtype is too small for.",
)
@click.option("--dequantize", is_flag=True, help="Write the real values of quantized tensors.")
@click.option("--only", multiple=True, metavar="GLOB", help="Only these tensors; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these; repeatable.")
@click.option("--strip-prefix", default="", metavar="TEXT", help="Off every name that has it.")
@click.option(
    "--rename", "renames", multiple=True, metavar="REGEX=REPL", help="In turn; repeatable."
)
@click.option(
    "--rename-file", type=click.Path(), metavar="FILE", help="Such rules, one a line, before these."
)
@click.option("--drop-optimizer", is_flag=True, help="Leave the optimizer's tensors out.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Add; repeatable.")
@click.option(
    "--layout",
    type=click.Choice(["keep", "keras", "torch", "onnx"]),
    help="Whose names and axes the output has; keep: the source's.  [default: the format's]",
)
@click.option(
    "--heads",
    multiple=True,
    metavar="LAYER=N",
    help="An attention's heads, where its weights do not tell; repeatable.",
)
@click.option(
    "--flatten",
    multiple=True,
    metavar="LAYER=HxWxC",
    help="The image that is flattened before a dense layer, where no config tells; repeatable.",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="LAYER=KIND",
    help="What a layer is, where `wtools layers` infers another kind; repeatable.",
)
@click.option(
    "--mapping-out", type=click.Path(), metavar="FILE", help="Write what became of what, as JSON."
)
@click.option(
    "--like", type=click.Path(), metavar="FILE", help="A model whose names and shapes are filled."
)
@click.option(
    "--mapping",
    type=click.Path(),
    metavar="FILE",
    help="With --like: what is what, as JSON (see --mapping-out); the rest is inferred.",
)
@click.option(
    "--strict/--no-strict",
    default=True,
    help="With --like: must all of both be matched?  [default: strict]",
)
@click.option(
    "--rules/--no-rules",
    default=True,
    help="With --like: are the rules for known architectures used?  [default: rules]",
)
@click.option(
    "--weights-only", is_flag=True, help="Keras to ONNX: the tensors alone, no graph that runs."
)
@click.option("--shard-size", metavar="SIZE", help="Shards of at most so much: 5GB, 500MB, 2GiB.")
@click.option(
    "--external-data/--no-external-data",
    default=None,
    help="ONNX: tensors beside the model or in it.  [default: beside it from 2 GB on]",
)
@click.option(
    "--module",
    type=click.Path(),
    metavar="FILE",
    help="A Keras model to PyTorch: write the module to this Python file, its weights to TARGET.",
)
@click.option(
    "--verify",
    "prove",
    is_flag=True,
    help="Run source and output in their frameworks; 1 if they differ (see `verify`).",
)
@click.option("--overwrite", is_flag=True, help="Replace the target if it exists.")
@click.option("--dry-run", is_flag=True, help="Show the plan and its problems; write nothing.")
@click.option("--no-check", is_flag=True, help="Do not read the output back and compare it.")
@output_options
def command(
    source: str,
    target: str,
    to: str | None,
    format: str | None,
    root: str | None,
    renames: tuple[str, ...],
    rename_file: str | None,
    metadata: tuple[str, ...],
    shard_size: str | None,
    module: str | None,
    heads: tuple[str, ...],
    flatten: tuple[str, ...],
    kinds: tuple[str, ...],
    mapping_out: str | None,
    prove: bool,
    overwrite: bool,
    dry_run: bool,
    no_check: bool,
    output: Output,
    **changes: Any,
) -> int:
    """Write the weights of SOURCE to TARGET, whose ending says the format, and verify them.

    Between Keras, PyTorch and ONNX names and axes become those of the target's framework, unless
    --layout keep copies them. A Keras model, or an estimator of scikit-learn, becomes a
    complete ONNX model that runs. Else names, shapes and bits stay as they are unless an option
    asks for a change. The output is read back and compared bit for bit before it appears under its
    name; on any failure, kill or full disk what stood there still stands. A dry run that finds
    problems ends with code 4.
    """
    from .. import formats
    from ..conversion import Options, execute, prepare, preview
    from ..conversion.layout import heads_of, images_of, pairs, writing_mapping
    from ..conversion.options import rule, rules_of

    options = Options(
        rename=[*(rules_of(rename_file) if rename_file else ()), *map(rule, renames)],
        metadata=dict(map(_pair, metadata)),
        shard_size=nbytes(shard_size) if shard_size else None,
        heads=heads_of(heads),
        flatten=images_of(flatten),
        kinds=pairs(kinds, "LAYER=KIND"),
        **changes,
    )
    with formats.open(source, format=format, root=root) as tree:
        planned, beside = prepare(
            tree, target, to=to, module=module, options=options, overwrite=overwrite
        )
        if prove:
            _refuse_unprovable(source, planned.format, module)
        mapping: AbstractContextManager[None] = nullcontext()
        if mapping_out is not None:
            mapping = writing_mapping(planned, mapping_out, overwrite=overwrite)
        if dry_run:
            with mapping:
                pass
            report = preview(planned, overwrite=overwrite)
            output.emit(report)
            return 4 if report.summary["problems"] else 0
        work = planned.nbytes * (1 if no_check else 2)
        with (
            _termination(),
            mapping,
            beside,
            progress("convert", work, quiet=output.quiet) as advance,
        ):
            report = execute(planned, overwrite=overwrite, check=not no_check, progress=advance)
    if prove:
        report = _proven(report, source, planned.path, module)
    output.emit(report if output.form or output.file else _changes_of(report))
    return int(prove and not report.summary["outputs_equal"])


def _refuse_unprovable(source: str, format: str, module: str | None) -> None:
    """Raise before anything is written where there would be nothing to run."""
    from ..engines import runnable

    runnable(source, module)
    if format != "onnx" and module is None:
        raise UsageError(
            "--verify needs an output that runs", advice="Write an ONNX model, or use --module."
        )


def _proven(report: Report, source: str, target: Path, module: str | None) -> Report:
    """The report with what running both models showed."""
    from ..verification import verify

    found = verify(source, target, module=module)
    told = ("max_abs", "max_rel", "layer", "cause", "explanation")
    summary = {f"outputs_{key}": found.summary[key] for key in told if key in found.summary}
    return replace(
        report,
        summary={**report.summary, "outputs_equal": found.summary["equal"], **summary},
        notes=[*report.notes, *found.notes],
    )


def _changes_of(report: Report) -> Report:
    """For people: only the tensors that are not as they were."""
    return replace(report, rows=[row for row in report.rows if row.change])


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def nbytes(text: str) -> int:
    """'5GB', '500 MB', '2GiB' or a plain number in bytes. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    size = 0
    if found:
        units = _BINARY if found[3] else _UNITS
        size = int(float(found[1]) * units[found[2].upper()])
    if not size:
        raise UsageError(f"{text!r} is not a size", advice="Write it as 5GB, 500MB or 2GiB.")
    return size


@contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM ends the work like an error does: what was begun is removed."""

    def stop(*_: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
