"""`wtools ls`."""

from __future__ import annotations

import click

from ..analyzers.listing import listing
from .options import Input, Output, input_options, output_options


@click.command()
@input_options
@output_options
def command(source: Input, output: Output) -> None:
    """List the tensors of PATH: names, dtypes, shapes, sizes. Only headers are read."""
    with source.open() as tree:
        output.emit(listing(tree))
