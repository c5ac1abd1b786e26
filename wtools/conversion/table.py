"""The table of all conversions: what is kept, what changes, what is lost, from pair to pair.

It is made of what the formats declare (`HOLDS`, `KEEPS`), and the tests hold these against what
really comes home.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import formats
from ..formats import FEATURES
from ..formats.drafts import widened
from ..translation.model import OF_FORMAT

# What a file of a format can say of its weights, beyond what every format says.
SAYS = {
    "safetensors": ("ties", "metadata"),
    "pytorch": ("ties", "metadata", "layers", "apart", "quantization"),
    "keras": ("ties", "metadata", "layers", "apart", "architecture", "quantization"),
    "onnx": ("ties", "metadata", "layers", "apart", "architecture", "quantization"),
    "npz": (),
}


def pairs() -> Iterator[tuple[str, str]]:
    """(source, target) for all formats that are read and written."""
    for source in SAYS:
        for target in SAYS:
            if formats.writer(target) is not None:
                yield source, target


def translated(source: str, target: str) -> str:
    """Whose names and axes the tensors get on the way, unless told otherwise; "" where they keep
    their own."""
    known = OF_FORMAT.get(source, "")
    wanted = OF_FORMAT.get(target, "torch" if known == "onnx" else "")
    return wanted if known and wanted != known and target != "onnx" else ""


def _keeps(source: str, target: str) -> dict[str, str]:
    """What the target has a place for. An optimizer's state fits its own layout alone."""
    keeps = dict(_writer(target).KEEPS)
    if translated(source, target):
        keeps.pop("apart", None)
    return keeps


def kept(source: str, target: str) -> list[str]:
    """What goes over as it is, the names and bits of the tensors aside."""
    keeps = _keeps(source, target)
    return [FEATURES[f] for f in SAYS[source] if keeps.get(f) == ""]


def changed(source: str, target: str) -> list[str]:
    """What goes over otherwise than it was, and dtypes that have to be widened first."""
    writer = _writer(target)
    keeps = _keeps(source, target)
    layout = translated(source, target)
    changes = [f"names and axes: {layout}'s (`--layout keep` copies)"] if layout else []
    changes += [f"{FEATURES[f]}: {keeps[f]}" for f in SAYS[source] if keeps.get(f)]
    casts: dict[str, list[str]] = {}
    for dtype in sorted(_writer(source).HOLDS - writer.HOLDS):
        casts.setdefault(widened(dtype, writer.HOLDS) or "", []).append(dtype)
    for wider, dtypes in sorted(casts.items()):
        what = f"`--dtype` {wider} for" if wider else "no place for"
        changes.append(f"{what} {', '.join(dtypes)}")
    return changes


def lost(source: str, target: str) -> list[str]:
    """What the target has no place for."""
    keeps = _keeps(source, target)
    return [FEATURES[f] for f in SAYS[source] if f not in keeps]


def conversion_table() -> str:
    """All pairs as a Markdown table."""
    lines = ["| from | to | kept | changes | lost |", "| --- | --- | --- | --- | --- |"]
    for source, target in pairs():
        cells = ["; ".join(part(source, target)) or "-" for part in (kept, changed, lost)]
        lines.append(f"| {source} | {target} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _writer(name: str) -> formats.Writer:
    writer = formats.writer(name)
    assert writer is not None
    return writer
