"""Report: what every analysis returns. Rows are frozen dataclasses whose fields are the columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .extras import need


def column(
    meaning: str,
    *,
    unit: str = "",
    short: str = "",
    default: Any = dataclasses.MISSING,
    shown: bool = True,
) -> Any:
    """A dataclass field that is a report's column.

    meaning: one line for the documentation. unit: "bytes", "fraction", "count", "" ...
    short: the heading in a terminal, where it differs from the field's name.
    shown: False for a column that appears only in JSON/CSV or when `--columns` names it.
    """
    metadata = {"meaning": meaning, "unit": unit, "short": short, "shown": shown}
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Column:
    """What a renderer knows of one column."""

    name: str
    meaning: str = ""
    unit: str = ""
    short: str = ""
    shown: bool = True

    @property
    def heading(self) -> str:
        return self.short or self.name


@dataclass(frozen=True)
class Report:
    """A table with its context.

    schema: name and version of the JSON ("wtools.stats/1"); title: for people.
    rows: instances of one frozen dataclass `row_type`; summary: figures over all rows.
    notes: what was skipped or inferred, and why.
    """

    schema: str
    title: str
    row_type: type
    rows: Sequence[Any]
    summary: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    path: str = ""
    format: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.row_type)

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON object as Python values; non-finite floats are still floats."""
        return {
            "schema": self.schema,
            "path": self.path,
            "format": self.format,
            "rows": [row_dict(row) for row in self.rows],
            "summary": dict(self.summary),
            "notes": list(self.notes),
        }

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame. Raises MissingExtraError without pandas."""
        pandas = need("pandas", "Report.to_pandas")
        return pandas.DataFrame(
            [row_dict(row) for row in self.rows], columns=[c.name for c in self.columns]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        from .render.terminal import text

        return text(self)

    def _repr_html_(self) -> str:
        from .render.html import fragment

        return fragment(self)


def columns_of(row_type: type) -> tuple[Column, ...]:
    """The columns of a row dataclass, in order."""
    return tuple(
        Column(f.name, **{k: v for k, v in f.metadata.items() if k in Column.__dataclass_fields__})
        for f in dataclasses.fields(row_type)
    )


def row_dict(row: Any) -> dict[str, Any]:
    """One row as a dict of its fields, nested values untouched."""
    return {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
