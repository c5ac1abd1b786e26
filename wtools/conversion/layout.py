"""Which convention the output of a conversion follows, and the translation into it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..files import atomic
from ..layers import layer_map
from ..translation import Translation, convention_of, stated, translated
from ..translation.model import OF_FORMAT
from ..tree import Tensor, WeightTree
from .cast import casts, target_dtype
from .options import Options

if TYPE_CHECKING:
    from .plan import Plan

LAYOUTS = ("keep", "keras", "torch", "onnx")


def target_convention(source: WeightTree, format: str, options: Options) -> str:
    """The convention to translate to; "" where the tensors stay as they are.

    Between frameworks' own formats it is the target's; safetensors and npz hold any convention,
    and only ONNX, whose names and layouts are an exporter's, becomes torch's there. ONNX itself
    holds, without a graph, whatever it is given.
    Raises UsageError for a layout that there is not.
    """
    if options.layout is not None and options.layout not in LAYOUTS:
        raise UsageError(f"--layout {options.layout}: one of {', '.join(LAYOUTS)}")
    if options.layout == "keep" or options.like is not None:
        return ""
    if options.layout is not None:
        wanted = options.layout
        return wanted if wanted != (stated(source) or convention_of(source)) else ""
    known = stated(source)
    wanted = OF_FORMAT.get(format, "torch" if known == "onnx" else "")
    if not known or format == "onnx" or wanted == known:
        return ""
    return wanted


def translation_of(
    source: WeightTree, kept: Iterable[Tensor], to: str, options: Options, *, metadata: bool
) -> Translation:
    """The chosen tensors in the convention `to`, understood amid the whole tree. Reads no more
    than `translated`. metadata: does the format keep what the tensors remember?"""
    wanted = casts(options.dtype)
    kept = list(kept)
    same = all(target_dtype(tensor, wanted) == tensor.dtype for tensor in kept)
    tensors = [t.dequantized() if options.dequantize else t for t in kept]
    layers = layer_map(source)
    some = source.replace(tensors)
    return translated(
        some,
        to,
        heads=options.heads,
        flatten=options.flatten,
        kinds=options.kinds,
        layers=layers if len(some) == len(source) else layers.only(some),
        keeps=metadata and same,
    )


def pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    """'LAYER=VALUE' as a table. Raises UsageError."""
    found = {}
    for text in texts:
        layer, equals, value = text.rpartition("=")
        if not (layer and equals and value):
            raise UsageError(f"{text!r} is not of the form {what}")
        found[layer] = value
    return found


def heads_of(texts: Iterable[str]) -> dict[str, int]:
    """'mha=8' as a table of numbers. Raises UsageError."""
    found = {}
    for layer, value in pairs(texts, "LAYER=N").items():
        if not value.isdigit() or not int(value):
            raise UsageError(f"{value!r} is no number of heads")
        found[layer] = int(value)
    return found


def images_of(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """'fc1=7x7x512' as a table of shapes, channels last. Raises UsageError."""
    found = {}
    for layer, value in pairs(texts, "LAYER=HxWxC").items():
        sizes = value.lower().split("x")
        if not 2 <= len(sizes) <= 4 or not all(size.isdigit() and int(size) for size in sizes):
            raise UsageError(f"{value!r} is not a shape like 7x7x512, channels last")
        found[layer] = tuple(map(int, sizes))
    return found


def told(found: Translation) -> list[str]:
    """What a person must know of a translation, one line each."""
    lines = list(found.losses)
    if found.left_out:
        many = f" and {len(found.left_out) - 1} more" if len(found.left_out) > 1 else ""
        lines.append(f"constants of the graph that are no weights: {found.left_out[0]}{many}")
    return lines


@contextlib.contextmanager
def writing_mapping(plan: Plan, path: str, *, overwrite: bool = False) -> Iterator[None]:
    """Put the mapping of a plan (see `mapping_of`) at `path` when the block ends well.

    Raises OutputError when it exists (unless `overwrite`) or cannot be written.
    """
    with atomic(path, overwrite=overwrite) as temporary:
        yield
        text = json.dumps(mapping_of(plan), ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", "utf-8")


def mapping_of(plan: Plan) -> dict[str, Any]:
    """What becomes of what, as JSON: `tensors` has, by name in the output, the names of the
    source's tensors and the steps from these to it. Schema "wtools.mapping/1"."""
    found = plan.translation
    before = {new: old for old, new in plan.names.items()}
    tensors: dict[str, Any] = {}
    for row in plan.rows:
        entry = found.entries.get(before.get(row.target, row.target)) if found else None
        sources = list(entry.sources) if entry else [row.name] if row.name else []
        tensors[row.target] = {
            "sources": sources,
            "steps": [s for s in row.change.split(", ") if s],
        }
        if entry:
            tensors[row.target]["steps"] = list(entry.steps)
            if entry.losses:
                tensors[row.target]["losses"] = list(entry.losses)
    return {
        "schema": "wtools.mapping/1",
        "source": plan.source.path,
        "target": str(plan.path),
        "from": found.source if found else stated(plan.source),
        "to": found.to if found else stated(plan.source),
        "tensors": tensors,
        "left_out": list(found.left_out) if found else [],
    }
