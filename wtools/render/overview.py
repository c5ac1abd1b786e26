"""All analyses of one model -> one screen, one JSON object, one page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, printable
from ..reports import Report
from . import html, markdown, terminal
from .json import dumps
from .numbers import nbytes, number, percent

if TYPE_CHECKING:
    from ..analyzers.everything import ModelReport

FINDINGS = 6  # shown of those of `check`
KINDS = 6  # of layers
TITLES = {
    "ls": "Tensors",
    "layers": "Layers",
    "stats": "Statistics",
    "check": "Check",
    "sparsity": "Sparsity",
    "init": "Initialization",
    "freeze": "Freezing",
}
_FORMS = "Choose JSON, Markdown or HTML, or one analysis."
_COLORS = {"error": "red", "warning": "yellow", "info": "blue"}


def render(report: ModelReport, form: str) -> str:
    """As "json", "markdown" or "html", ending in one newline. Raises UsageError."""
    if form not in ("json", "markdown", "html"):
        raise UsageError(f"a report of all analyses cannot be written as {form}", advice=_FORMS)
    if form == "json":
        return dumps(report.to_dict()) + "\n"
    return _markdown(report) if form == "markdown" else _html(report)


# --- one screen -----------------------------------------------------------------------------------


def screen(report: ModelReport, *, width: int | None = None, color: bool = False) -> str:
    """What the model is and how it fares, in some twenty lines."""
    style = terminal.styles(color)
    lines = [style(printable(report.title), bold=True), ""]
    figures = headlines(report)
    indent = max(len(label) for label, _ in figures) + 2
    for label, value in figures:
        lines += _wrapped(f"{label:<{indent}}{value}", width, indent)
    for severity, finding in findings(report):
        mark = style(f"{severity:<{indent}}", fg=_COLORS[severity])
        first, *rest = _wrapped(" " * indent + finding, width, indent)
        lines += [mark + first[indent:], *rest]
    told = [f"note: {printable(note)}" for note in notes(report)]
    lines += [""] * bool(told)
    lines += [style(line, dim=True) for note in told for line in _wrapped(note, width, 2)]
    return "\n".join(lines) + "\n"


def text_of(report: ModelReport) -> str:
    """For `repr`."""
    return screen(report, width=100).rstrip("\n")


def headlines(report: ModelReport) -> list[tuple[str, str]]:
    """(label, text) of what each analysis says in one line."""
    lines = {
        "what": _what(report),
        "kinds": _kinds(report["layers"].summary),
        "trainable": _trainable(report["freeze"].summary),
        "values": _values(report["stats"].summary),
        "sparsity": _sparsity(report["sparsity"].summary),
        "init": _init(report["init"].summary),
        "health": _health(report["check"].summary),
    }
    return [(label, line) for label, line in lines.items() if line]


def findings(report: ModelReport) -> list[tuple[str, str]]:
    """(severity, text) of the first findings of `check`, and how many more there are."""
    rows = report["check"].rows
    told = [
        (row.severity, printable(f"{row.tensor}: " * bool(row.tensor) + f"{row.finding}"))
        for row in rows[:FINDINGS]
    ]
    more = len(rows) - FINDINGS
    return [*told, (rows[FINDINGS].severity, f"and {more:,} more findings")] if more > 0 else told


def notes(report: ModelReport) -> list[str]:
    """What the reader noted, and what the initialization suggests."""
    advice = [note for note in report["init"].notes if note.startswith("advice: ")]
    lost = [note for note in report["stats"].notes if note.endswith("could not be read")]
    return list(dict.fromkeys([*report["ls"].notes, *lost, *advice[:3]]))


def _what(report: ModelReport) -> str:
    listed, layers = report["ls"].summary, report["layers"].summary
    types = ", ".join(_shares(listed["parameters_by_dtype"]))
    return (
        f"{_many(listed['parameters'], 'parameter')} in {_many(listed['tensors'], 'tensor')} of "
        f"{_many(layers['layers'], 'layer')}, {nbytes(listed['nbytes'])}"
        + f" ({types})"
        * bool(types)
    )


def _kinds(layers: Mapping[str, Any]) -> str:
    shares = list(_shares(layers["parameters_by_kind"]))
    more = f" and {len(shares) - KINDS:,} more kinds" if len(shares) > KINDS else ""
    blocks = [
        f"{count:,} x {printable(name)}" for name, count in layers.get("repeated", {}).items()
    ]
    return "; ".join(filter(None, [", ".join(shares[:KINDS]) + more, ", ".join(blocks[:3])]))


def _shares(counts: Mapping[str, int]) -> Iterator[str]:
    total = sum(counts.values())
    return (f"{printable(name)} {percent(n / total)}" for name, n in counts.items() if n)


def _trainable(summary: Mapping[str, Any]) -> str:
    parts = [f"{summary['trained_parameters']:,} trainable"]
    if summary["frozen_parameters"]:
        parts.append(f"{summary['frozen_parameters']:,} frozen")
    if summary["statistics"]:
        parts.append(f"{summary['statistics']:,} that no gradient trains")
    return f"{', '.join(parts)}; Adam needs {nbytes(summary['adam_nbytes'])} more"


def _values(summary: Mapping[str, Any]) -> str:
    if "mean" not in summary:
        return ""
    line = (
        f"from {number(summary['min'])} to {number(summary['max'])}, "
        f"mean {number(summary['mean'])}, std {number(summary['std'])}"
    )
    odd = [f"{summary[key]:,} {word}" for key, word in (("nans", "NaN"), ("infs", "infinite"))]
    return line + (f"; {', '.join(odd)}" if summary["nans"] or summary["infs"] else "")


def _sparsity(summary: Mapping[str, Any]) -> str:
    if "zero_fraction" not in summary:
        return ""
    return (
        f"{percent(summary['zero_fraction'])} zeros, 90% of the energy in "
        f"{percent(summary['holding_90_fraction'])} of the weights: {summary['explanation']}"
    )


def _init(summary: Mapping[str, Any]) -> str:
    drawn = ", ".join(list(summary.get("untouched_as", ()))[:3])
    parts = [
        f"{n:,} {verdict}" + (f" (as {drawn})" if verdict == "untouched" and drawn else "")
        for verdict, n in summary["verdicts"].items()
    ]
    if "signal" in summary:
        signal = summary["signal"]
        way = f"x {number(signal['forward'])} in {_many(signal['layers'], 'layer')}"
        parts.append(f"signal {signal['is']}: {way}, activation {signal['activation']}")
    return "; ".join(parts)


def _health(summary: Mapping[str, Any]) -> str:
    counts = ", ".join(_many(summary[f"{word}s"], word) for word in ("error", "warning", "info"))
    return f"{counts}; {summary['rules_passed']:,} of {summary['rules']:,} rules passed"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _wrapped(line: str, width: int | None, indent: int) -> list[str]:
    if width is None or len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=" " * indent, drop_whitespace=False)


# --- Markdown and HTML ----------------------------------------------------------------------------


def _markdown(report: ModelReport) -> str:
    lines = [f"## {markdown.cell(printable(report.title))}", ""]
    lines += [f"- **{label}**: {markdown.cell(value)}" for label, value in headlines(report)]
    lines += [f"- **{severity}**: {markdown.cell(line)}" for severity, line in findings(report)]
    lines += ["", *(f"> {markdown.cell(printable(note))}" for note in notes(report))]
    text = "\n".join(lines).rstrip() + "\n"
    return "\n".join([text, *(markdown.render(section) for section in report.values())])


def _html(report: ModelReport) -> str:
    links = "".join(f'<a href="#{name}">{TITLES[name]}</a>' for name in report)
    sections = "\n".join(_section(name, section) for name, section in report.items())
    return html.page(report.title, f"{_tiles(report)}\n<nav>{links}</nav>\n{sections}")


def fragment(report: ModelReport) -> str:
    """For `_repr_html_`: the headlines."""
    title = escape(printable(report.title))
    style = f"<style>{html.FRAGMENT_STYLE}</style>"
    return f'<div class="wtools">{style}<strong>{title}</strong>{_tiles(report)}</div>'


def _section(name: str, section: Report) -> str:
    return f'<section id="{name}"><h2>{TITLES[name]}</h2>\n{html.section(section)}</section>'


def _tiles(report: ModelReport) -> str:
    tiles = html.figures(headlines(report))
    items = "".join(
        f'<li class="{severity}">{severity}: {escape(finding)}</li>'
        for severity, finding in findings(report)
    )
    items += "".join(f"<li>{escape(printable(note))}</li>" for note in notes(report))
    return tiles + (f"<ul>{items}</ul>" if items else "")
