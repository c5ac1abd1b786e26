"""Recurrent layers by their names in torch: `weight_ih_l0`, and `weight_ih` of a cell."""

from __future__ import annotations

import re

from ..layouts import torch
from .model import Group, Meaning

_LEAF = re.compile(r"(?P<base>(?:weight|bias)_(?:ih|hh|hr))(?P<part>(?:_l\d+)?(?:_reverse)?)")
GATES = {4: "lstm", 3: "gru", 1: "rnn"}


def recurrent(group: Group) -> dict[str, Meaning]:
    """What the members of nn.RNN, nn.LSTM, nn.GRU or one of their cells are; empty for others.

    The gates are counted by the sizes of the two kernels: an LSTM has four rows a unit.
    """
    matched = {leaf: m for leaf in group.members if (m := _LEAF.fullmatch(leaf))}
    ih = next((leaf for leaf, m in matched.items() if m["base"] == "weight_ih"), None)
    if ih is None:
        return {}
    shape = group.shape(ih) or ()
    part = matched[ih]["part"]
    units = _units(group, part)
    gates = shape[0] // units if shape and units and shape[0] % units == 0 else 0
    kind = GATES.get(gates, "unknown")
    both = "bidirectional" if any(leaf.endswith("_reverse") for leaf in matched) else ""
    note = "reset_after" if kind == "gru" else ""
    layout = torch.LAYOUTS[kind if kind in torch.LAYOUTS else "lstm"]
    found = {}
    for leaf, match in matched.items():
        role = layout.role_of(match["base"])
        axes, part = layout.roles[role].axes, match["part"].strip("_")
        found[leaf] = Meaning(kind, role, axes, 0.99, within=both, part=part, note=note)
    return found


def _units(group: Group, part: str) -> int:
    """The size of the state: of a projected LSTM, what its projection takes."""
    projection = group.shape(f"weight_hr{part}")
    shape = projection or group.shape(f"weight_hh{part}")
    return shape[1] if shape is not None and len(shape) == 2 else 0
