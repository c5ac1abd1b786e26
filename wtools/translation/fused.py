"""Query, key and value in one linear layer, as the three that they are.

GPT-2's `c_attn` and the `in_proj` of torch's attention, in a graph that was exported from it, have
all of query, then all of key, then all of value. Other fused layers go by heads (query, key and
value of each head in turn): they are not taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .model import CanonicalLayer, Part

_PROJECTIONS = ("query", "key", "value")
_NAMES = ("c_attn", "in_proj")


def apart(layers: Sequence[CanonicalLayer]) -> list[CanonicalLayer]:
    """The layers, those that are fused so as attentions of three projections."""
    return [_apart(layer) if is_fused(layer) else layer for layer in layers]


def is_fused(layer: CanonicalLayer) -> bool:
    """Is it one linear layer that gives query, key and value, one after another?"""
    ins, outs = layer.sizes.get("i", 0), layer.sizes.get("o", 0)
    kernel = layer.parts.get("kernel")
    if layer.kind != "dense" or kernel is None or not ins or outs != 3 * ins:
        return False
    names = [layer.path, *(name for part in layer.parts.values() for name in part.stored)]
    ends = {word for name in names for word in name.replace("/", ".").split(".")}
    return any(end == own or end.startswith(f"{own}_") for end in ends for own in _NAMES)


def _apart(layer: CanonicalLayer) -> CanonicalLayer:
    ins = layer.sizes["i"]
    sizes = {"p": 3, "H": 1, "e": ins, "D": ins}
    parts: dict[str, Part] = {}
    for role, part in layer.parts.items():
        axes = part.piece.axes.replace("i", "D").replace("o", "(p H e)")
        shown = " ".join(sorted(set(axes.replace("(", "").replace(")", "").split()) - {"p"}))
        for at, projection in enumerate(_PROJECTIONS):
            piece = replace(part.piece, axes=axes, sizes=sizes, at=(("p", at),))
            name = f"{projection}_{role}"
            parts[name] = Part(name, shown, piece, part.stored)
    facts = {key: value for key, value in layer.facts.items() if key not in ("part", "within")}
    return replace(layer, kind="multi_head_attention", sizes=sizes, parts=parts, facts=facts)
