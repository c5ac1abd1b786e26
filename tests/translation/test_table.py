"""The table of the documentation: every kind of layer in every direction, run on both sides.

What it says is recorded in table.json (WTOOLS_UPDATE_TABLE=1 writes it anew) and measured here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from .configurations import CONFIGS
from .directions import DIRECTIONS, Outcome, applies, outcome

RECORD = Path(__file__).with_name("table.json")
UPDATE = bool(os.environ.get("WTOOLS_UPDATE_TABLE"))
CELLS = [(kind, direction) for kind in CONFIGS for direction in DIRECTIONS]
BOUNDS = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4)


def recorded() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return found


def cell(found: dict[str, Outcome]) -> dict[str, Any]:
    """What the table says of the outcomes, by the name of the configuration."""
    ran = {name: one for name, one in found.items() if not one.refused}
    largest = max((one.difference for one in ran.values()), default=0.0)
    bound = next(bound for bound in BOUNDS if 4 * largest <= bound)
    ways = {
        way: [n for n, one in ran.items() if one.home == way] for way in ("announced", "one way")
    }
    refused = {name: one.refused for name, one in found.items() if one.refused}
    return {
        "configurations": len(found),
        "below": bound if ran else None,
        "exact": sum(one.home == "exact" for one in ran.values()),
        **{way: names for way, names in ways.items() if names},
        **({"refused": sorted(refused)} if refused else {}),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "direction"), CELLS, ids=lambda value: value)
def test_every_configuration(kind: str, direction: str, tmp_path: Path) -> None:
    found: dict[str, Outcome] = {}
    for number, (name, config) in enumerate(CONFIGS[kind].items()):
        if applies(direction, config):
            folder = tmp_path / str(number)
            folder.mkdir()
            found[name] = outcome(direction, config, folder)
    for name, one in found.items():
        if one.refused:  # names the layer, and what there is no place or no equal for
            assert "'it" in one.refused, (name, one.refused)
        else:
            assert one.equal, (name, one.difference)
            assert one.home in ("exact", "announced", "one way"), name
    measured = cell(found)
    if UPDATE:
        table = recorded()
        table.setdefault(kind, {})[direction] = measured
        RECORD.write_text(json.dumps(table, indent=1) + "\n")
        return
    wanted = recorded()[kind][direction]
    assert all(one.difference <= (wanted["below"] or 0) for one in found.values())
    assert {**measured, "below": None} == {**wanted, "below": None}


def test_the_record_is_of_these_configurations() -> None:
    table = recorded()
    assert list(table) == list(CONFIGS)
    for kind, configs in CONFIGS.items():
        assert list(table[kind]) == list(DIRECTIONS)
        for direction, said in table[kind].items():
            wanted = [name for name, config in configs.items() if applies(direction, config)]
            assert said["configurations"] == len(wanted)
            told = said.get("announced", []) + said.get("one way", []) + said.get("refused", [])
            assert said["exact"] + len(told) == len(wanted) and set(told) <= set(wanted)


@pytest.mark.parametrize("direction", ["Keras to ONNX", "Keras to module"])
def test_what_a_graph_says_always_arrives(direction: str) -> None:
    """Nothing of these kinds is refused where the whole model goes."""
    assert not any(cells[direction].get("refused") for cells in recorded().values())
