"""`wtools report`."""

from __future__ import annotations

import click

from ..analyzers.everything import report as everything
from .failures import report_error
from .options import Input, Output, input_options
from .progress import progress


@click.command()
@input_options
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@click.option(
    "--json", "form", flag_value="json", help="All figures, each report as its command's."
)
@click.option("--markdown", "form", flag_value="markdown", help="A section for each analysis.")
@click.option("--html", "form", flag_value="html", help="One page, its tables sort and filter.")
@click.option("-o", "--output", "file", type=click.Path(), metavar="FILE", help="Write here.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    source: Input, threads: int | None, form: str | None, file: str | None, quiet: bool
) -> int:
    """All that wtools can say of PATH, from one pass over its data: ls, layers, stats, check,
    sparsity, init and freeze.

    On a terminal one screen of it; --html, --markdown and --json have everything. Exits with 1 if
    `check` found an error, with 3 if a tensor cannot be read.
    """
    from ..render import overview

    output = Output(form=form, file=file, quiet=quiet)
    with source.open() as tree:
        with progress("report", tree.nbytes, quiet=quiet) as advance:
            found = everything(tree, threads=threads, progress=advance)
        output.put(found, overview.render, overview.screen)
    for failure in found.failures:
        report_error(failure)
    return max((failure.exit_code for failure in found.failures), default=int(found.failed))
