"""Options that commands share, and what they do to a tree and to a report."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from .. import formats
from ..files import atomic
from ..reports import Report
from ..tree import WeightTree

_ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown", ".html": "html", ".htm": "html"}


@dataclass(frozen=True)
class Input:
    """Which tensors of which file."""

    path: str
    format: str | None = None
    root: str | None = None
    match: tuple[str, ...] = ()

    def open(self) -> WeightTree:
        tree = formats.open(self.path, format=self.format, root=self.root)
        return tree.select(*self.match) if self.match else tree


@dataclass(frozen=True)
class Output:
    """Which rows and columns, in which form, to where."""

    form: str | None = None
    file: str | None = None
    sort: str | None = None
    limit: int | None = None
    columns: str | None = None
    quiet: bool = False

    def emit(self, report: Report) -> None:
        """Print the report, or write it to the file asked for."""
        from ..render import render, terminal

        self.put(self._arranged(report), render, terminal.render)

    def put(self, report: Any, render: Callable[[Any, str], str], show: Callable[..., str]) -> None:
        """The same of anything: `render` takes it and a form, `show` a terminal's width, color."""
        text, color = self._text(report, render, show)
        if self.file:
            with atomic(self.file, overwrite=True) as temporary:
                temporary.write_text(text, "utf-8", "backslashreplace")
            return
        click.echo(text.encode("utf-8", "backslashreplace").decode(), nl=False, color=color)

    def _arranged(self, report: Report) -> Report:
        if self.sort:
            name = self.sort.removeprefix("-")
            report = report.sort(name, descending=self.sort.startswith("-"))
        if self.limit is not None:
            report = report.limit(self.limit)
        return report.choose(self.columns.split(",")) if self.columns else report

    def _text(
        self, report: Any, render: Callable[[Any, str], str], show: Callable[..., str]
    ) -> tuple[str, bool | None]:
        form = self.form or (_ENDINGS.get(Path(self.file).suffix.lower()) if self.file else None)
        if form:
            return render(report, form), None
        from ..render import terminal

        on_terminal = not self.file and sys.stdout.isatty()
        color = terminal.wants_color(on_terminal)
        width = terminal.terminal_width() if on_terminal else None
        return show(report, width=width, color=color), color or None


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """PATH, --format, --root, --match: the command receives them as `source: Input`."""

    @click.argument("path", type=click.Path())
    @click.option("--format", "format", metavar="NAME", help="Read as this format, do not look.")
    @click.option("--root", metavar="KEY", help="Where in the file the weights are (see `ls`).")
    @click.option(
        "--match", multiple=True, metavar="GLOB", help="Only tensors of these names; repeatable."
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        path: str,
        format: str | None,
        root: str | None,
        match: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        return function(*args, source=Input(path, format, root, match), **rest)

    return wrapped


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--sort, --limit, --columns, the forms, -o, --quiet: received as `output: Output`."""

    @click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN for largest first.")
    @click.option("--limit", type=click.IntRange(0), metavar="N", help="Only the first N rows.")
    @click.option("--columns", metavar="A,B,...", help="Only these columns, in this order.")
    @click.option("--json", "form", flag_value="json", help="Machine-readable, every column.")
    @click.option("--csv", "form", flag_value="csv", help="Full precision, for spreadsheets.")
    @click.option("--markdown", "form", flag_value="markdown", help="A table for a model card.")
    @click.option("--html", "form", flag_value="html", help="A page that sorts and filters.")
    @click.option("-o", "--output", "file", type=click.Path(), metavar="FILE", help="Write here.")
    @click.option("--quiet", is_flag=True, help="No progress.")
    @functools.wraps(function)
    def wrapped(*args: Any, **given: Any) -> Any:
        own = {name: given.pop(name) for name in Output.__dataclass_fields__}
        return function(*args, output=Output(**own), **given)

    return wrapped
