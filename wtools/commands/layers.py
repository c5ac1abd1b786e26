"""`wtools layers`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import click

from ..analyzers.layer_map import layer_report
from .options import Input, Output, input_options, output_options


@click.command()
@input_options
@click.option(
    "--by", type=click.Choice(["tensor", "layer", "block"]), default="tensor", help="One row per."
)
@output_options
def command(source: Input, output: Output, by: Literal["tensor", "layer", "block"]) -> None:
    """What each tensor of PATH is: its layer's kind, its role, its axes, and how that is known.

    `config` and `graph` mean that the file says so, `name+shape` that it is inferred from the
    whole tree, with a confidence. --by block shows stem, stages, layers and head, and what
    repeats. Only headers are read.
    """
    with replace(source, match=()).open() as tree:
        output.emit(layer_report(tree, by=by, match=source.match))
