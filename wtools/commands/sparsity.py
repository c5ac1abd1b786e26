"""`wtools sparsity`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal

import click

from ..analyzers.sparsity import sparsity
from ..formats import open as open_tree
from .failures import report_error
from .options import Input, Output, input_options, output_options
from .progress import progress


@click.command()
@input_options
@click.option(
    "--by",
    type=click.Choice(["tensor", "layer", "kind", "model"]),
    default="tensor",
    help="One row per.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=0.0,
    metavar="X",
    help="Magnitudes up to X count as zeros.",
)
@click.option("--dequantize", is_flag=True, help="Of the values that quantized integers stand for.")
@click.option("--compare", type=click.Path(), metavar="PATH", help="A twin trained another way.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@output_options
def command(
    source: Input,
    output: Output,
    by: Literal["tensor", "layer", "kind", "model"],
    threshold: float,
    dequantize: bool,
    compare: str | None,
    threads: int | None,
) -> int:
    """Zeros and near-zeros of PATH: how many, where the energy is, what structure they have (dead
    units, N:M, blocks), what sparse storage saves, and what made them: L1, pruning, L2, slimming.
    """
    with ExitStack() as stack:
        tree = stack.enter_context(source.open())
        twin = stack.enter_context(open_tree(compare)) if compare else None
        with progress("sparsity", tree.nbytes, quiet=output.quiet) as advance:
            report = sparsity(
                tree,
                by=by,
                threshold=threshold,
                dequantize=dequantize,
                compare=twin,
                threads=threads,
                progress=advance,
            )
        output.emit(report)
    for failure in report.failures:
        report_error(failure)
    return max((failure.exit_code for failure in report.failures), default=0)
