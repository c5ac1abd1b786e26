"""Findings -> JUnit XML, which build servers read: a test for each rule and each finding."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as xml

from ..errors import printable
from ..reports import Report


def render(report: Report) -> str:
    """A report whose rows are findings (severity, rule, finding, tensor, ...) as one suite.

    A rule without findings is a test that passed; a finding is a test that failed if its severity
    is one of `report.fatal`, else one that passed and printed something.
    """
    rules: dict[str, str] = getattr(report, "rules", {})
    fatal = getattr(report, "fatal", {"error"})
    tripped = {row.rule for row in report.rows}
    suite = xml.Element("testsuite", name=_text(f"wtools check {report.path}"))
    for row in report.rows:
        _finding(suite, row, report.path, row.severity in fatal)
    for id in rules:
        if id not in tripped:
            xml.SubElement(suite, "testcase", classname=_text(report.path or "model"), name=id)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(sum(row.severity in fatal for row in report.rows)))
    suite.set("errors", "0")
    suites = xml.Element("testsuites")
    suites.append(suite)
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, "unicode") + "\n"


def _finding(suite: xml.Element, row: Any, path: str, failed: bool) -> None:
    name = f"{row.rule}: {row.tensor}" if row.tensor else row.rule
    case = xml.SubElement(suite, "testcase", classname=_text(path or "model"), name=_text(name))
    if failed:
        failure = xml.SubElement(case, "failure", type=row.severity, message=_text(row.finding))
        failure.text = _text(row.explanation)
    else:
        xml.SubElement(case, "system-out").text = _text(f"{row.severity}: {row.finding}")


def _text(value: str) -> str:
    """Without the characters that XML 1.0 forbids."""
    return printable(value)
