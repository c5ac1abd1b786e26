"""`wtools freeze`."""

from __future__ import annotations

from typing import Any, cast

import click
from click.core import ParameterSource

from ..analyzers.freeze import freeze, plan
from ..analyzers.freeze.code import CODES
from ..analyzers.freeze.plan import Choice
from ..analyzers.freeze.verdict import TINY
from ..errors import UsageError
from ..formats import open as open_tree
from ..tree import WeightTree
from .diff import selected
from .failures import report_error
from .options import Output, output_options
from .progress import progress

_OF_ONE = (*Choice.__dataclass_fields__, "code", "apply")
_OF_TWO = ("tiny", "dequantize", "no_rank", "root_tuned", "threads")


@click.command()
@click.argument("paths", type=click.Path(), nargs=-1, required=True, metavar="MODEL | BASE TUNED")
@click.option("--root", metavar="KEY", help="Where in the file the weights are (see `ls`).")
@click.option("--root-tuned", metavar="KEY", help="Where in TUNED, if not where they are in BASE.")
@click.option("--match", multiple=True, metavar="GLOB", help="Only tensors of these names.")
@click.option(
    "--by",
    type=click.Choice(["tensor", "block"]),
    help="One row per. Default: tensor for BASE TUNED, block for MODEL.",
)
@click.option("--tiny", type=click.FloatRange(0), metavar="X", help=f"Default: {TINY:g}.")
@click.option("--dequantize", is_flag=True, help="Compare what quantized integers stand for.")
@click.option("--no-rank", is_flag=True, help="Do not look for low-rank changes: read all once.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@click.option("--head-only", is_flag=True, help="Train the head alone.")
@click.option("--last", type=click.IntRange(0), metavar="N", help="Train the last N blocks.")
@click.option("--until", metavar="PATTERN", help="Freeze all up to this block or layer.")
@click.option("--norms", is_flag=True, help="Train norm layers everywhere, too.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Rate of the last block.")
@click.option(
    "--decay",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Its factor from each block to the one before.",
)
@click.option("--code", type=click.Choice(CODES), help="Print the program that freezes so.")
@click.option("--apply", type=click.Path(), metavar="OUT", help="Write flags to a Keras copy.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@output_options
def command(
    paths: tuple[str, ...],
    output: Output,
    root: str | None,
    root_tuned: str | None,
    match: tuple[str, ...],
    overwrite: bool,
    **given: Any,
) -> int:
    """What to freeze of MODEL, or which tensors moved from BASE to TUNED and which stayed.

    One file: the model from stem to head with its parameters, and what a choice (--head-only,
    --last, --until, --norms, --lr with --decay) trains; --code prints it as a program, --apply
    writes it into a copy of a Keras model.

    Two files: per tensor or --by block, what is bit-identical, moved only by rounding to a
    narrower dtype, tiny (relative L2 up to --tiny) or moved.
    """
    if len(paths) > 2:
        raise click.UsageError("one MODEL, or BASE and TUNED")
    _refuse(click.get_current_context(), _OF_ONE if len(paths) == 2 else _OF_TWO)
    if len(paths) == 1:
        with open_tree(paths[0], root=root) as tree:
            kept = tree.select(*match) if match else tree
            return _planned(kept, output, given, overwrite)
    with (
        open_tree(paths[0], root=root) as base,
        open_tree(paths[1], root=root_tuned or root) as tuned,
    ):
        return _compared(base, tuned, match, output, given)


def _refuse(context: click.Context, others: tuple[str, ...]) -> None:
    """Options that mean nothing for so many files."""
    for name in others:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            wanted = "BASE and TUNED" if others is _OF_TWO else "one MODEL"
            raise click.UsageError(f"--{name.replace('_', '-')} needs {wanted}")


def _compared(
    base: WeightTree,
    tuned: WeightTree,
    match: tuple[str, ...],
    output: Output,
    given: dict[str, Any],
) -> int:
    base, tuned = selected(base, tuned, match)
    with progress("freeze", base.nbytes, quiet=output.quiet) as advance:
        report = freeze(
            base,
            tuned,
            by=given["by"] or "tensor",
            tiny=TINY if given["tiny"] is None else given["tiny"],
            dequantize=given["dequantize"],
            rank=not given["no_rank"],
            threads=given["threads"],
            progress=advance,
        )
    output.emit(report)
    for failure in report.failures:
        report_error(failure)
    return max((failure.exit_code for failure in report.failures), default=0)


def _planned(tree: WeightTree, output: Output, given: dict[str, Any], overwrite: bool) -> int:
    choice = {name: given[name] for name in Choice.__dataclass_fields__}
    code, target = given["code"], given["apply"]
    report = freeze(tree, by=given["by"] or "block", code=code, **choice)
    if code is not None and output.form is None and output.file is None:
        click.echo(cast(str, report.summary["code"]), nl=False)
    else:
        output.emit(report)
    if target is not None:
        _apply(tree, target, choice, overwrite)
    return 0


def _apply(tree: WeightTree, target: str, choice: dict[str, Any], overwrite: bool) -> None:
    from ..formats.keras.flags import write_flags

    if tree.format != "keras":
        raise UsageError(f"{tree.format} files hold no trainable flags", path=tree.path)
    made = plan(tree, Choice(**choice))
    write_flags(tree.path, target, dict(made.layers()), overwrite=overwrite)
    if "optimizer" in tree.apart:
        click.echo(
            "wtools: the optimizer's state in the copy is that of the old flags: "
            "compile the model anew",
            err=True,
        )
