"""What a translated tensor remembers, so that the way back is exact: its layer as it was stored.

A record is JSON: it stands in a tensor's `facts["translated"]` and travels in the metadata of
the formats that have some (see `wtools.formats.carried`):

    {"from": "keras", "to": "torch", "axes": "(g u) i", "roles": ["kernel"], "along": "",
     "gates": "i f c o", "layer": {"path": "lstm", "kind": "lstm", "facts": {...},
     "sizes": {"g": 4, ...},
     "stored": [{"name": "lstm/lstm_cell/kernel", "axes": "i (g u)", ...}]}}

A sum keeps what was added, see `addends`.

A tensor of no known layer, only renamed, remembers its name: {"from", "to", "name"}.

It is advice, never trusted: what does not fit the tensor that is really there is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from ..errors import UsageError
from ..layouts.axes import parse, sizes
from ..tree import Tensor
from . import addends
from .model import CanonicalLayer, Part
from .pieces import Piece, flat
from .slots import Slot, completed, of_template

KEY = "translated"
_FACTS = ("level", "levels", "bidirectional", "cell", "separate", "heads", "within", "part")


def layer_record(layer: CanonicalLayer) -> dict[str, Any]:
    """A layer as its source stores it."""
    stored = [_slot(slot) | _told(layer.tensors[slot.name]) for slot in of_template(layer)]
    facts = {key: layer.facts[key] for key in _FACTS if layer.facts.get(key) is not None}
    return {
        "path": layer.path,
        "kind": layer.kind,
        "facts": facts,
        "sizes": dict(layer.sizes),
        "stored": stored,
    }


def _slot(slot: Slot) -> dict[str, Any]:
    known = {
        "name": slot.name,
        "axes": slot.axes,
        "roles": list(slot.roles),
        "along": slot.along,
        "gates": slot.gates,
    }
    return {key: value for key, value in known.items() if value}


def _told(tensor: Tensor) -> dict[str, Any]:
    """What the file said of the tensor in its own terms."""
    known = {"layer": tensor.layer, "class": tensor.kind, "dtype": tensor.dtype}
    return {key: value for key, value in known.items() if value}


def record(source: str, to: str, layer: dict[str, Any], slot: Slot) -> dict[str, Any]:
    """The record of one translated tensor."""
    return {"from": source, "to": to, "layer": layer} | {
        key: value for key, value in _slot(slot).items() if key != "name"
    }


def remembered(
    tensors: Iterable[Tensor],
) -> tuple[list[tuple[CanonicalLayer, Mapping[str, Any]]], list[Tensor]]:
    """The layers that records tell of, each with its record, and the tensors without one."""
    grouped: dict[int, list[Tensor]] = {}
    left: list[Tensor] = []
    for tensor in tensors:
        told = tensor.facts.get(KEY)
        layer = told.get("layer") if isinstance(told, Mapping) else None
        if isinstance(layer, Mapping):
            grouped.setdefault(id(layer), []).append(tensor)
        else:
            left.append(tensor)
    found = []
    for members in grouped.values():
        told = members[0].facts[KEY]
        try:
            found.append((_layer(members, told), told))
        except (UsageError, LookupError, TypeError, ValueError, AttributeError):
            left.extend(members)
    return found, left


def _layer(members: list[Tensor], told: Mapping[str, Any]) -> CanonicalLayer:
    """A layer from its record and its tensors. Raises UsageError and others where they part."""
    layer = told["layer"]
    known = {k: v for k, v in layer["sizes"].items() if isinstance(v, int) and v >= 0}
    parts: dict[str, Part] = {}
    restored: list[str] = []
    for tensor in members:
        own = tensor.facts[KEY]
        axes, along = str(own.get("axes", "")), str(own.get("along", ""))
        names = flat(axes)
        told_sizes = _own_sizes(axes, along, own["roles"], known)
        size = sizes(axes, tensor.shape, **told_sizes)
        counts = [range(size[letter]) for letter in along.split()]
        for role, at in zip(own["roles"], product(*counts), strict=True):
            where = tuple(zip(along.split(), at, strict=True))
            piece = Piece(tensor, axes, size, str(own.get("gates", "")), where)
            letters = " ".join(sorted(piece.letters))
            parts[role] = Part(role, letters, piece, (tensor.name,))
            if addends.KEY in own and not where:
                for one, was in addends.apart(tensor, own[addends.KEY], role).items():
                    parts[one] = Part(one, letters, replace(piece, tensor=was), (tensor.name,))
                    restored.append(one)
        known = {**known, **{k: v for k, v in size.items() if k in names}}
    facts = {**layer["facts"], "evidence": "config", "confidence": 1.0, "record": told}
    if restored:
        facts["apart"] = tuple(restored)
    return CanonicalLayer(
        str(layer["path"]), str(layer["kind"]), str(told["to"]), known, parts, facts
    )


def _own_sizes(axes: str, along: str, roles: list[str], known: Mapping[str, int]) -> dict[str, int]:
    """The sizes that the record gives for the letters of fused axes."""
    fused = {name for group in parse(axes) if len(group) > 1 for name in group}
    found = {name: known[name] for name in fused if name in known}
    letters = along.split()
    if letters == ["n", "b"]:
        inner = len([role for role in roles if not role.startswith("backward_")])
        found |= {"n": len(roles) // inner, "b": inner}
    elif letters:
        found |= {letters[0]: len(roles)}
    return found


def original_slots(told: Mapping[str, Any]) -> list[Slot]:
    """The tensors that the layer had where it came from. Raises LookupError, TypeError."""
    found = [
        Slot(
            str(one["name"]),
            str(one.get("axes", "")),
            tuple(map(str, one["roles"])),
            str(one.get("along", "")),
            str(one.get("gates", "")),
        )
        for one in told["layer"]["stored"]
    ]
    return completed(found, str(told["layer"]["kind"]))
