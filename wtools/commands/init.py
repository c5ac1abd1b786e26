"""`wtools init`."""

from __future__ import annotations

import click

from ..analyzers.initfit import initfit
from .failures import report_error
from .options import Input, Output, input_options, output_options
from .progress import progress


@click.command()
@input_options
@click.option("--activation", metavar="NAME", help="After each layer: relu, gelu, silu, tanh, ...")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@output_options
def command(source: Input, output: Output, activation: str | None, threads: int | None) -> int:
    """Which initializer drew each tensor of PATH, and was it trained since?

    A verdict for each tensor (untouched, lightly trained, trained, not an init) with a p-value, the
    initializers that fit as well, and the way of a signal through the layers: does it vanish or
    explode? --json has all the figures.
    """
    with source.open() as tree:
        with progress("init", tree.nbytes, quiet=output.quiet) as advance:
            report = initfit(tree, activation=activation, threads=threads, progress=advance)
        output.emit(report)
    for failure in report.failures:
        report_error(failure)
    return max((failure.exit_code for failure in report.failures), default=0)
