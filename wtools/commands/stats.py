"""`wtools stats`."""

from __future__ import annotations

from typing import Literal

import click

from ..analyzers.stats import stats
from .failures import report_error
from .options import Input, Output, input_options, output_options
from .progress import progress


@click.command()
@input_options
@click.option("--by", type=click.Choice(["tensor", "layer"]), default="tensor", help="One row per.")
@click.option("--dequantize", is_flag=True, help="Of the values that quantized integers stand for.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@click.option("--sketch-out", type=click.Path(), metavar="FILE", help="Save sketches for `merge`.")
@output_options
def command(
    source: Input,
    output: Output,
    by: Literal["tensor", "layer"],
    dequantize: bool,
    threads: int | None,
    sketch_out: str | None,
) -> int:
    """Statistics of every tensor of PATH in one pass: moments, norms, zeros, quantiles.

    All figures are of the finite elements; NaN and infinities are counted apart. A tensor that
    cannot be read is named on standard error, the others are shown, and the exit code is 3.
    """
    with source.open() as tree:
        with progress("stats", tree.nbytes, quiet=output.quiet) as advance:
            report = stats(
                tree,
                by=by,
                dequantize=dequantize,
                threads=threads,
                progress=advance,
                sketch_out=sketch_out,
            )
        output.emit(report)
    for failure in report.failures:
        report_error(failure)
    return max((failure.exit_code for failure in report.failures), default=0)
