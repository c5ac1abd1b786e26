"""Report -> text for a terminal, JSON, CSV, Markdown or HTML. Nothing here computes."""

from __future__ import annotations

from importlib import import_module

from ..reports import Report

FORMS = ("json", "csv", "markdown", "html")


def render(report: Report, form: str) -> str:
    """The report as `form`, one of FORMS, ending in one newline."""
    text: str = import_module(f".{form}", __name__).render(report)
    return text if text.endswith("\n") else text + "\n"
