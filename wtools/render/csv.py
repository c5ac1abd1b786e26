"""Report -> CSV: full precision, one header line, shapes as `3x4`."""

from __future__ import annotations

import csv
import io

from ..errors import printable
from ..reports import Report
from .numbers import plain


def render(report: Report) -> str:
    """The rows as RFC 4180 text with `\\n` line ends; notes and summary are left to other forms."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = report.columns
    writer.writerow([column.name for column in columns])
    for row in report.rows:
        writer.writerow([printable(plain(getattr(row, column.name))) for column in columns])
    return out.getvalue()
