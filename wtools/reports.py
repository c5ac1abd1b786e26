"""Report: what every analysis returns. Rows are frozen dataclasses whose fields are the columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import NameNotFoundError, WtoolsError
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
    notes: what was skipped or inferred, and why; failures: tensors that could not be read.
    chosen: names of the only columns wanted, in that order; empty for the usual ones.
    """

    schema: str
    title: str
    row_type: type
    rows: Sequence[Any]
    summary: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    path: str = ""
    format: str = ""
    failures: Sequence[WtoolsError] = ()
    chosen: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column, or the chosen ones."""
        known = {column.name: column for column in columns_of(self.row_type)}
        return tuple(known[name] for name in self.chosen) if self.chosen else tuple(known.values())

    @property
    def shown_columns(self) -> tuple[Column, ...]:
        """The columns a person is shown: the chosen ones, else those worth a place in a table."""
        return tuple(c for c in self.columns if c.shown or self.chosen)

    @property
    def used_columns(self) -> tuple[Column, ...]:
        """Those of them that say something of any row; chosen ones in any case."""
        used = {
            column.name
            for column in self.shown_columns
            if any(getattr(row, column.name) not in (None, "") for row in self.rows)
        }
        return tuple(c for c in self.shown_columns if c.name in used or c.name in self.chosen)

    def choose(self, names: Sequence[str]) -> Report:
        """Only these columns, by name or heading, in this order. Raises NameNotFoundError."""
        return dataclasses.replace(self, chosen=tuple(self._column(name) for name in names))

    def sort(self, name: str, *, descending: bool = False) -> Report:
        """Rows by one column; rows without a value (None, NaN) last. Raises NameNotFoundError."""
        name = self._column(name)
        valued = [row for row in self.rows if _has_value(getattr(row, name))]
        others = [row for row in self.rows if not _has_value(getattr(row, name))]
        valued.sort(key=lambda row: getattr(row, name), reverse=descending)
        return dataclasses.replace(self, rows=valued + others)

    def limit(self, count: int) -> Report:
        """The first `count` rows, with a note on the rest; the summary stays that of all."""
        if len(self.rows) <= count:
            return self
        note = f"showing {count:,} of {len(self.rows):,} rows"
        return dataclasses.replace(self, rows=self.rows[:count], notes=[*self.notes, note])

    def _column(self, called: str) -> str:
        """The name of the column that has this name or, in tables, this heading."""
        columns = columns_of(self.row_type)
        names = {column.heading: column.name for column in columns}
        names |= {column.name: column.name for column in columns}
        if called not in names:
            raise NameNotFoundError(called, names, what="column")
        return names[called]

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON object as Python values; non-finite floats are still floats."""
        return {
            "schema": self.schema,
            "path": self.path,
            "format": self.format,
            "rows": self.row_dicts(),
            "summary": dict(self.summary),
            "notes": list(self.notes),
        }

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame. Raises MissingExtraError without pandas."""
        pandas = need("pandas", "Report.to_pandas")
        return pandas.DataFrame(self.row_dicts(), columns=[c.name for c in self.columns])

    def row_dicts(self) -> list[dict[str, Any]]:
        """Each row as {column: value}, nested values untouched."""
        names = [column.name for column in self.columns]
        return [{name: getattr(row, name) for name in names} for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        from .render.terminal import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        from .render.html import fragment

        return fragment(self)


def columns_of(row_type: type) -> tuple[Column, ...]:
    """The columns of a row dataclass, in order."""
    return tuple(
        Column(f.name, **{k: v for k, v in f.metadata.items() if k in Column.__dataclass_fields__})
        for f in dataclasses.fields(row_type)
    )


def _has_value(value: Any) -> bool:
    return value is not None and value == value
