"""`wtools formats`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from ..formats import formats
from ..report import Report, column
from .options import Output, output_options


@dataclass(frozen=True)
class FormatRow:
    """One file format."""

    name: str = column("what --format takes")
    title: str = column("what it is")
    extensions: tuple[str, ...] = column("usual file endings; content decides, not these")
    reads: bool = column("can it be read")
    writes: bool = column("can it be written")
    dtypes: tuple[str, ...] | None = column("what it can hold, if written", shown=False)


@click.command()
@output_options
def command(output: Output) -> None:
    """The file formats that are read and written."""
    rows = [
        FormatRow(
            format.NAME,
            format.TITLE,
            format.EXTENSIONS,
            True,
            hasattr(format, "write"),
            tuple(sorted(getattr(format, "HOLDS", ()))) or None,
        )
        for format in formats()
    ]
    output.emit(Report("wtools.formats/1", "File formats", FormatRow, rows))
