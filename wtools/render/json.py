"""Report -> JSON that machines may rely on: one object, no NaN literals, a schema name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ..reports import Report


def render(report: Report) -> str:
    """The report as one JSON object; non-finite numbers become "NaN", "Infinity", "-Infinity"."""
    return dumps(report.to_dict())


def dumps(value: Any) -> str:
    """`value` as indented JSON text; what could drive a terminal is escaped, letters are not."""
    text = json.dumps(jsonable(value), indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\n -~]", _escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]


def jsonable(value: Any) -> Any:
    """`value` with everything JSON lacks replaced by what the schema says stands for it."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, complex):
        return [jsonable(value.real), jsonable(value.imag)]
    if isinstance(value, Mapping):
        return {str(jsonable(str(key))): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return jsonable(value.tolist())
    return str(value)
