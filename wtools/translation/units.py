"""Which tensors of a layer map are together one canonical layer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..layers import LayerMap, TensorRole
from ..layouts import keras, onnx, torch

RECURRENT = frozenset({"rnn", "lstm", "gru", "gru_reset_before"})
NOT_KNOWN = frozenset({"unknown", "buffer", "quantization"})
_KNOWN = frozenset({*keras.LAYOUTS, *torch.LAYOUTS, *onnx.LAYOUTS, "linear_model"})


@dataclass(frozen=True)
class UnitRole:
    """A tensor in its layer. prefix: "backward_" in the second direction, else ""."""

    found: TensorRole
    prefix: str = ""


@dataclass
class Unit:
    """The tensors of one canonical layer; see `canonical.CanonicalLayer`."""

    path: str
    kind: str
    roles: list[UnitRole] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def units(layers: LayerMap, placed: Sequence[TensorRole] = ()) -> Iterator[Unit]:
    """The units of a tree in the model's order.

    placed: the roles with other layers, where something tells more of these than the map does.
    A layer of no kind that a framework has (a table of positions, a token) is a unit for each of
    its tensors.
    """
    attentions = {
        role.layer
        for role in layers.tensors.values()
        if role.meaning.kind == "multi_head_attention"
    }
    joined: dict[str, list[TensorRole]] = {}
    for role in placed:
        joined.setdefault(role.layer, []).append(role)
    for path, roles in layers.layers().items() if not placed else ():
        for role in roles:
            owner = _owner(path, role, attentions, layers)
            joined.setdefault(_slashed(owner, layers), []).append(role)
    for path, roles in joined.items():
        yield from _of_layer(path, roles, layers)


def _owner(path: str, role: TensorRole, attentions: set[str], layers: LayerMap) -> str:
    """The layer itself, or the one that it is a part of: the nn.MultiheadAttention whose output
    projection it is; in a Keras file that does not list its layers the one around a cell, a
    direction, a query."""
    kind = role.meaning.kind
    if layers.tree_separator == "/" and role.meaning.evidence != "graph":
        parts = path.split("/")
        inner = kind in RECURRENT and len(parts) > 1
        if kind == "multi_head_attention" and len(parts) > 1:
            name = role.tensor.name.removeprefix(f"{path}/")
            return path.rpartition("/")[0] if "/" not in name else path
        while inner and len(parts) > 1 and _INNER.fullmatch(parts[-1]):
            parts.pop()
        return "/".join(parts)
    parent, _, own = path.rpartition(layers.tree_separator)
    return parent if own == "out_proj" and parent in attentions and parent != path else path


_INNER = re.compile(r"\w*_cells?(_\d+)?|cell|(forward|backward)_\w+")


def _of_layer(path: str, roles: list[TensorRole], layers: LayerMap) -> Iterator[Unit]:
    found: dict[tuple[str, ...], Unit] = {}
    levels: dict[str, list[str]] = {}
    nodes: dict[str, list[tuple[str, set[str]]]] = {}
    for role in roles:
        kind, meaning = _kind(role), role.meaning
        key: tuple[str, ...] = (kind,)
        name = path
        prefix = ""
        if kind in RECURRENT:
            prefix, cell = _frame(role, path)
            seen = levels.setdefault(prefix, [])
            if cell not in seen:
                seen.append(cell)
            key = (kind, str(seen.index(cell)))
        elif kind == "dense" and meaning.within and _moved(role, path, layers):
            key = ("multi_head_attention",)
            kind = "multi_head_attention"
        elif kind not in _KNOWN and kind not in NOT_KNOWN:
            name = _slashed(role.tensor.name, layers)
            key = (kind, role.tensor.name)
        elif meaning.evidence == "graph" and not kind.startswith(
            "separable"
        ):  # two products in one module are two layers
            number = _number(role, kind, nodes)
            key, name = (kind, str(number)), f"{name}_{number}" if number else name
        unit = found.setdefault(key, Unit(name, kind))
        if kind == "multi_head_attention" and meaning.kind == "dense":
            role = _as_output(role)
        unit.roles.append(UnitRole(role, prefix))
        unit.facts |= _facts(role, unit)
        if prefix:
            unit.facts["bidirectional"] = True
    count = sum(unit.kind in RECURRENT for unit in found.values())
    level = 0
    for unit in found.values():
        if unit.kind in RECURRENT:
            unit.facts |= {"level": level, "levels": count}
            level += 1
        yield unit


def _number(role: TensorRole, kind: str, nodes: dict[str, list[tuple[str, set[str]]]]) -> int:
    """Which of a module's layers of one kind a tensor belongs to, by the node that it feeds.

    nodes: kind -> (node, roles that it has) of each so far. A bias that is not added right after
    its product belongs to the last layer without one.
    """
    known = nodes.setdefault(kind, [])
    own, name = str(role.tensor.facts.get("node", "")), role.meaning.role
    at = next((i for i, (node, has) in enumerate(known) if node == own and name not in has), None)
    if at is None and "kernel" not in name:
        at = next((i for i in reversed(range(len(known))) if name not in known[i][1]), None)
    if at is None:
        known.append((own, set()))
        at = len(known) - 1
    known[at][1].add(name)
    return at


def _moved(role: TensorRole, path: str, layers: LayerMap) -> bool:
    """Is it an output projection that has come to its attention?"""
    return role.tensor.name.rpartition(".")[0].endswith(".out_proj") and (
        _slashed(role.layer, layers) == f"{path}/out_proj"
    )


def _kind(role: TensorRole) -> str:
    before = role.meaning.kind == "gru" and role.meaning.note == "reset_before"
    return "gru_reset_before" if before else role.meaning.kind


def _slashed(path: str, layers: LayerMap) -> str:
    separator = layers.tree_separator
    return path if separator in ("/", "") else path.replace(separator, "/")


def _frame(role: TensorRole, path: str) -> tuple[str, str]:
    """(prefix of the direction, what tells the levels of a stacked layer apart)."""
    meaning = role.meaning
    feeds = role.tensor.facts.get("feeds", ())
    if meaning.evidence == "graph" and feeds:
        return "", str(feeds[0][0])
    leaf = role.tensor.name.removeprefix(path).strip("/")
    said = re.search(r"(?:^|/)(forward|backward)_", leaf)
    if meaning.part in ("forward", "backward") or said:
        which = meaning.part if said is None else said[1]
        return ("backward_" if which == "backward" else ""), leaf.rpartition("/")[0]
    level, _, reverse = meaning.part.partition("_")
    if level[:1] == "l" and level[1:].isdigit():
        return ("backward_" if reverse else ""), level
    return "", leaf.rpartition("/")[0]


def _as_output(role: TensorRole) -> TensorRole:
    """The dense `out_proj` of an nn.MultiheadAttention as that attention's output."""
    axes = {"kernel": "D (H e)", "bias": "D"}.get(role.meaning.role, "")
    meaning = replace(
        role.meaning,
        kind="multi_head_attention",
        role=f"output_{role.meaning.role}",
        axes=axes,
        within="",
    )
    return replace(role, meaning=meaning)


def _facts(role: TensorRole, unit: Unit) -> dict[str, Any]:
    meaning = role.meaning
    facts: dict[str, Any] = {
        "confidence": min(meaning.confidence, unit.facts.get("confidence", 1.0)),
        "evidence": meaning.evidence,
        "stored": {**unit.facts.get("stored", {}), meaning.role: role.tensor.name},
    }
    if meaning.note and "note" not in unit.facts:
        facts["note"] = meaning.note
    if meaning.within:
        facts["within"] = meaning.within
    if meaning.within == "bidirectional":
        facts["bidirectional"] = True
    elif meaning.part and meaning.kind not in RECURRENT:
        facts["part"] = meaning.part
    if "node" in role.tensor.facts:
        facts["node"] = unit.facts.get("node", role.tensor.facts["node"])
    plain = meaning.evidence != "graph" and not meaning.part
    if meaning.kind in RECURRENT and plain and "weight_ih" in role.tensor.name:
        facts["cell"] = True
    return facts
