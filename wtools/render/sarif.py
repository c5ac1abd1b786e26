"""Findings -> SARIF 2.1.0, which code-scanning services read.

The format: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .. import __version__
from ..errors import printable
from ..reports import Report
from .json import dumps

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def render(report: Report) -> str:
    """A report whose rows are findings (severity, rule, finding, tensor, ...) as one run."""
    rules: dict[str, str] = dict(getattr(report, "rules", {}))
    rules |= {row.rule: row.explanation for row in report.rows}
    numbers = {id: index for index, id in enumerate(rules)}
    driver = {
        "name": "wtools",
        "version": __version__,
        "rules": [{"id": id, "fullDescription": {"text": text}} for id, text in rules.items()],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "results": [_result(row, numbers[row.rule]) for row in report.rows],
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
    return dumps({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _result(row: Any, number: int) -> dict[str, Any]:
    what = f"{row.tensor}: {row.finding}" if row.tensor else row.finding
    location: dict[str, Any] = {}
    if row.file:
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(row.file)}}
    if row.tensor:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(row.tensor)}]
    return {
        "ruleId": row.rule,
        "ruleIndex": number,
        "level": _LEVELS[row.severity],
        "message": {"text": printable(what)},
        "locations": [location] if location else [],
        "properties": {"evidence": dict(row.evidence)},
    }


def _uri(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"))
