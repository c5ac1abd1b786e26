"""Tables of the documentation that are written by the code they describe."""

from __future__ import annotations

import importlib
from typing import Any

from wtools.reports import columns_of

ROWS = {
    "sparsity": ("wtools.analyzers.sparsity", "SparsityRow"),
    "stats": ("wtools.analyzers.stats", "StatsRow"),
    "check": ("wtools.analyzers.check", "CheckRow"),
    "diff": ("wtools.analyzers.diff", "DiffRow"),
    "freeze_tensor": ("wtools.analyzers.freeze", "MovedRow"),
    "freeze_block": ("wtools.analyzers.freeze", "MovedBlockRow"),
    "freeze_plan": ("wtools.analyzers.freeze", "UnitRow"),
    "layers": ("wtools.analyzers.layer_map", "LayerRow"),
    "blocks": ("wtools.analyzers.layer_map", "BlockRow"),
    "convert": ("wtools.conversion.plan", "Row"),
    "like": ("wtools.conversion.like", "LikeRow"),
    "verify_bits": ("wtools.conversion.bits", "BitsRow"),
    "init": ("wtools.analyzers.initfit", "InitRow"),
    "ls": ("wtools.analyzers.listing", "ListingRow"),
    "formats": ("wtools.commands.formats", "FormatRow"),
}


def columns(report: str) -> str:
    """The columns of a report: name, meaning, unit."""
    module, name = ROWS[report]
    lines = ["| column | meaning | unit |", "| --- | --- | --- |"]
    for column in columns_of(getattr(importlib.import_module(module), name)):
        lines.append(f"| `{column.name}` | {column.meaning} | {column.unit} |")
    return "\n".join(lines)


def rules() -> str:
    """The rules of `wtools check`."""
    from wtools.analyzers.rules import RULES

    lines = ["| rule | severity | what it looks for |", "| --- | --- | --- |"]
    lines += [f"| `{rule.id}` | {rule.severity} | {rule.explanation} |" for rule in RULES]
    return "\n".join(lines)


def commands() -> str:
    """The commands, one line each."""
    from wtools.cli import COMMANDS

    lines = ["| command | what it does |", "| --- | --- |"]
    lines += [f"| `wtools {name}` | {line} |" for name, (_, line) in COMMANDS.items()]
    return "\n".join(lines)


def formats() -> str:
    """The formats: name, what it is, endings, read and written."""
    from wtools.formats import formats as known
    from wtools.formats import writer

    lines = [
        "| `--format` | what it is | usual endings | written too |",
        "| --- | --- | --- | --- |",
    ]
    for format in known():
        endings = " ".join(f"`{e}`" for e in format.EXTENSIONS)
        writes = "yes" if writer(format.NAME) else ""
        lines.append(f"| `{format.NAME}` | {format.TITLE} | {endings} | {writes} |")
    return "\n".join(lines)


def error_codes() -> str:
    """The kinds of error: the code in JSON, the exit code, the meaning."""
    from wtools import errors

    kinds = [errors.WtoolsError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    lines = ["| `error` | exit code | meaning |", "| --- | --- | --- |"]
    for kind in kinds[1:]:
        if kind.__module__ == "wtools.errors":
            first = (kind.__doc__ or "").split("\n\n")[0].replace("\n    ", " ")
            lines.append(f"| `{kind.code}` | {kind.exit_code} | {first} |")
    return "\n".join(lines)


def kinds() -> str:
    """The kinds of layers with their roles and axes in each framework."""
    from wtools.layers.kinds import KINDS
    from wtools.layouts import keras, onnx, torch

    lines = ["| kind | Keras | PyTorch | ONNX |", "| --- | --- | --- | --- |"]
    for kind in KINDS:
        cells = []
        for layouts in (keras.LAYOUTS, torch.LAYOUTS, onnx.LAYOUTS):
            layout = layouts.get(kind)
            roles = layout.roles.values() if layout else ()
            spelled = [f"`{s.names[0]}` {s.axes.strip('*')}".strip() for s in roles]
            gates = f" (gates {layout.gates})" if layout and len(layout.gates) > 1 else ""
            cells.append(", ".join(spelled) + gates)
        if any(cells):
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def examples() -> str:
    """The scripts of examples/, each with the first line of its docstring."""
    import ast
    from pathlib import Path

    lines = ["| script | what it shows |", "| --- | --- |"]
    for path in sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py")):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        lines.append(f"| [`{path.name}`](../examples/{path.name}) | {first} |")
    return "\n".join(lines)


def architectures() -> str:
    """The rule files for known architectures."""
    from wtools.translation.architectures import architectures as known

    lines = ["| rules | Keras | PyTorch | what else differs |", "| --- | --- | --- | --- |"]
    for one in known():
        told = {c["attribute"] for changes in one.changes.values() for c in changes}
        cells = (f"`{one.name}`", one.keras, one.torch, ", ".join(f"`{t}`" for t in sorted(told)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def translations() -> str:
    """Every kind of layer in every direction, as tests/translation measures it."""
    import json
    from pathlib import Path

    path = Path(__file__).resolve().parent / "translation" / "table.json"
    table = json.loads(path.read_text())
    directions = list(next(iter(table.values())))
    lines = [f"| kind | {' | '.join(directions)} |", "| --- |" + " --- |" * len(directions)]
    for kind, cells in table.items():
        lines.append(f"| {kind} | {' | '.join(_cell(cells[d]) for d in directions)} |")
    return "\n".join(lines)


def _cell(said: dict[str, Any]) -> str:
    if not said["configurations"]:
        return ""
    told = []
    for what in ("announced", "one way", "refused"):
        names = said.get(what, [])
        few = f" ({'; '.join(names)})" if len(names) < 3 and what != "announced" else ""
        if names:
            told.append(f"{len(names)} {what}{few}")
    if said["exact"]:
        told.insert(0, f"{said['exact']} exact")
    below = f" < {said['below']:.0e}" if said["below"] else ""
    return f"{said['configurations']}{below}: {', '.join(told)}"
