"""Report -> Markdown: a pipe table for issues, pull requests and model cards."""

from __future__ import annotations

from ..errors import printable
from ..reports import Column, Report
from .numbers import is_numeric, summary_lines, text


def render(report: Report) -> str:
    """Title, table of the shown columns, summary and notes."""
    columns = report.shown_columns
    lines = [f"### {cell(printable(report.title))}", ""]
    if columns and report.rows:
        lines += [_line([column.heading for column in columns]), _line(_rules(report, columns))]
        lines += [_line([text(getattr(row, c.name), c) for c in columns]) for row in report.rows]
        lines.append("")
    if report.summary:
        lines += [f"- **{cell(label)}**: {cell(value)}" for label, value in summary_lines(report)]
        lines.append("")
    lines += [f"> {cell(printable(note))}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def _rules(report: Report, columns: tuple[Column, ...]) -> list[str]:
    return [
        "---:" if is_numeric([getattr(row, column.name) for row in report.rows]) else "---"
        for column in columns
    ]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell(value) for value in cells) + " |"


def cell(value: str) -> str:
    """`value` with what Markdown takes for markup escaped."""
    for character in "\\|`*_<>[]":
        value = value.replace(character, "\\" + character)
    return value
