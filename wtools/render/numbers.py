"""How one value is written for a person: four significant digits, units, nothing hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import printable
from ..reports import Column, Report

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def text(value: Any, column: Column) -> str:
    """`value` as a person reads it in a table; control characters in names are escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.unit == "bytes" and isinstance(value, int):
        return nbytes(value)
    if column.unit == "fraction" and isinstance(value, float):
        return percent(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return printable(plain(value))


def plain(value: Any) -> str:
    """A value without units or escapes: shapes as `3x4`, lists joined by commas."""
    if value is None:
        return ""
    if isinstance(value, tuple) and all(isinstance(n, int) for n in value):
        return "x".join(map(str, value)) or "scalar"
    if isinstance(value, (tuple, list)):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _special(value) or repr(value)
    return str(value)


def number(value: float) -> str:
    """Four significant digits: `0.05012`, `-1.2e-07`, `12,350`; `NaN`, `Infinity`."""
    if special := _special(value):
        return special
    if value == 0:
        return "0"
    size = abs(value)
    if 1e5 <= size < 1e15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:.4g}"


def percent(value: float) -> str:
    """A fraction as a percentage that never rounds to a false 0 % or 100 %."""
    if special := _special(value):
        return special
    shown = f"{100 * value:.2f}%"
    if shown == "0.00%" and value > 0:
        return "<0.01%"
    if shown == "100.00%" and value < 1:
        return ">99.99%"
    return shown


def nbytes(value: int) -> str:
    """Bytes in binary units: `812 B`, `1.2 MiB`."""
    size, unit = float(value), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{value:,} B" if not unit else f"{size:.1f} {_UNITS[unit]}"


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "" if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


_MANY = 12  # elements of a list that a person is shown


def is_numeric(values: list[Any]) -> bool:
    """Should this column be aligned to the right?"""
    seen = [v for v in values if v is not None]
    return bool(seen) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in seen)


def summary_lines(report: Report) -> list[tuple[str, str]]:
    """(label, text) of each summary figure; nested figures become `a 1, b 2`, a list of such
    their count, and of a long list only the beginning is shown."""
    return [
        ("size" if key == "nbytes" else key.replace("_", " "), _figure(key, value))
        for key, value in report.summary.items()
    ]


def _figure(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(
            f"{printable(name)} {_figure(key, below)}" for name, below in value.items()
        )
    if isinstance(value, (list, tuple)) and not all(isinstance(n, int) for n in value):
        if all(isinstance(below, Mapping) for below in value):
            return str(len(value))
        more = [f"and {len(value) - _MANY} more"] if len(value) > _MANY else []
        return ", ".join([*(_figure(key, below) for below in value[:_MANY]), *more])
    unit = "bytes" if key.endswith("nbytes") else "fraction" if key.endswith("fraction") else ""
    return text(value, Column(key, unit=unit))
