"""`wtools formats`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from ..formats import Format, formats, writer
from ..reports import Report, column
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
    rows = [_row(format) for format in formats()]
    output.emit(Report("wtools.formats/1", "File formats", FormatRow, rows))


def _row(format: Format) -> FormatRow:
    beside = writer(format.NAME)
    holds = tuple(sorted(beside.HOLDS)) if beside else None
    return FormatRow(format.NAME, format.TITLE, format.EXTENSIONS, True, beside is not None, holds)
