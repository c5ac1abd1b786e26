"""Configs with one value changed: a graph or an error of wtools, and nothing in between."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wtools
from wtools.errors import WtoolsError
from wtools.graphs.onnx_model import to_onnx
from wtools.outputs import staged
from wtools.tree import WeightTree

FILES = (
    *(f"graphs/{name}.h5" for name in ("convolutions", "nested", "operators", "recurrent")),
    *(f"graphs/{name}.keras" for name in ("sequential", "states", "words")),
    *("keras/zoo.keras", "keras/shared.h5", "keras/nested.keras", "keras/int8.keras"),
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**6, 10**12, 2**70, -(2**70), 1e300, float("nan"), float("inf"), 0.5]),
    st.sampled_from(["", "same", "channels_first", "relu", "dense", "InputLayer", "LSTM", "é"]),
    st.sampled_from([[], [[]], {}, [None], [1, 2], [[1, 2], [3, 4]], ["dense", 0, 0]]),
    st.sampled_from([{"class_name": "Dense", "config": {}}, {"class_name": "__tuple__"}]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything below a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        found.append((*path, key))
        if isinstance(inner, (dict, list)):
            found += places(inner, (*path, key))
    return found


def damaged(config: Any, place: tuple[Any, ...], junk: Any) -> Any:
    changed = copy.deepcopy(config)
    inside = changed
    for key in place[:-1]:
        inside = inside[key]
    if junk == "delete" and isinstance(inside, dict):
        del inside[place[-1]]
    else:
        inside[place[-1]] = junk
    return changed


def attempt(tree: WeightTree, config: Any, folder: Path) -> None:
    architecture = {**tree.architecture, "keras": config}
    changed = WeightTree(tree.values(), format="keras", architecture=architecture)
    try:
        made = to_onnx(changed)
        with staged(folder / "m.onnx", overwrite=True) as output:
            made.draft("m.onnx").write(output)
    except WtoolsError:
        pass


@pytest.mark.parametrize("name", FILES)
def test_one_value_changed(name: str, fixtures: Path, tmp_path: Path) -> None:
    with wtools.open(fixtures / name) as tree:
        config = tree.architecture["keras"]
        everywhere = st.sampled_from(places(config))

        @settings(
            max_examples=150,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(everywhere, st.one_of(JUNK, st.just("delete")))
        def check(place: tuple[Any, ...], junk: Any) -> None:
            attempt(tree, damaged(config, place, junk), tmp_path)

        check()


def test_json_that_is_no_config(tmp_path: Path) -> None:
    for text in ("3", "[]", "{}", '"a"', "[[[[]]]]", '{"class_name": "Sequential"}', "true"):
        tree = WeightTree([], format="keras", architecture={"keras": json.loads(text)})
        with pytest.raises(WtoolsError):
            to_onnx(tree)
