"""`wtools merge`."""

from __future__ import annotations

from typing import Literal

import click

from ..analyzers.stats import merged
from .options import Output, output_options


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--by", type=click.Choice(["tensor", "layer"]), default="tensor", help="One row per.")
@click.option("--sketch-out", type=click.Path(), metavar="FILE", help="Save the sum as well.")
@output_options
def command(
    files: tuple[str, ...],
    output: Output,
    by: Literal["tensor", "layer"],
    sketch_out: str | None,
) -> None:
    """Add up sketch FILES that `wtools stats --sketch-out` wrote, and show their statistics.

    Shards analysed on different machines add up to exactly the whole; parts of one tensor, by its
    name, to that tensor.
    """
    output.emit(merged(files, by=by, sketch_out=sketch_out))
