"""Report -> CSV: full precision, one header line, shapes as `3x4`."""

from __future__ import annotations

import csv
import io
from typing import Any

from ..errors import printable
from ..reports import Report
from .numbers import plain

_FORMULA = ("=", "+", "-", "@")  # what a spreadsheet computes where a cell begins so


def render(report: Report) -> str:
    """The rows as RFC 4180 text with `\\n` line ends; notes and summary are left to other forms.

    A text that begins like a formula (a tensor may be named `=HYPERLINK(...)`) gets an apostrophe
    before it, which keeps spreadsheets from computing it. Numbers stay as they are.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = report.columns
    writer.writerow([column.name for column in columns])
    for row in report.rows:
        writer.writerow([_cell(getattr(row, column.name)) for column in columns])
    return out.getvalue()


def _cell(value: Any) -> str:
    told = printable(plain(value))
    first = next(iter(value), "") if isinstance(value, list | tuple) else value
    return f"'{told}" if told.startswith(_FORMULA) and not isinstance(first, int | float) else told
