"""Rule files for known architectures: data that is right in both directions."""

from __future__ import annotations

import fnmatch
import re
from itertools import product
from pathlib import Path

import pytest

from wtools.translation.architectures import (
    Architecture,
    apply,
    architectures,
    translated,
)
from wtools.translation.ordering import Item, Side

RULES = {known.name: known for known in architectures()}
PLACE = re.compile(r"\{(\w+):(\d+)\}")


def examples(known: Architecture) -> list[tuple[str, str]]:
    """(Keras path, torch path) for the first numbers of each place."""
    found = []
    for keras, torch in known.layers:
        names = [name for name, _ in PLACE.findall(keras)]
        for more in product(range(3), repeat=len(names)):
            counts = dict(zip(names, more, strict=True))
            found.append((filled(keras, counts), filled(torch, counts)))
    return found


def filled(path: str, counts: dict[str, int]) -> str:
    return PLACE.sub(lambda m: str(int(m[2]) + counts[m[1]]), path)


def side(paths: list[str], wrong: str = "") -> Side:
    return Side([Item(path, "conv2d", "odd" if path == wrong else "same") for path in paths])


@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_read_in_both_directions(name: str) -> None:
    known = RULES[name]
    for keras, torch in examples(known):
        assert translated(keras, known.layers) == torch
        there = translated(torch, known.layers, backwards=True)
        assert there is not None and translated(there, known.layers) == torch


@pytest.mark.parametrize("name", RULES)
def test_changes_name_modules_that_there_are(name: str) -> None:
    known = RULES[name]
    paths = {"keras": [keras for keras, _ in examples(known)]}
    paths["torch"] = [torch.replace("/", ".") for _, torch in examples(known)]
    for sequence in known.sequences:
        assert len(set(sequence["torch"])) == len(sequence["torch"])
        paths["keras"] += [sequence["keras"], f"{sequence['keras']}_7"]
        paths["torch"] += sequence["torch"]
    for convention, changes in known.changes.items():
        for change in changes:
            assert set(change) == {"module", "attribute", "value", "why"}
            weightless = change["module"].startswith("average_pooling")
            if change["module"] and not weightless:
                assert fnmatch.filter(paths[convention], change["module"]), change


def test_a_known_model_is_recognized_either_way_and_with_a_head_of_its_own() -> None:
    paths = dict(pair for pair in examples(RULES["vgg16"]))
    keras, torch = side(list(paths)), side(list(paths.values()))
    forth, back = apply(keras, torch, ("keras", "torch")), apply(torch, keras, ("torch", "keras"))
    assert forth is not None and back is not None
    assert forth.architecture.name == back.architecture.name == "vgg16"
    assert [(b, a) for a, b in forth.pairs] == list(back.pairs)
    other = apply(side(list(paths), wrong="predictions"), torch, ("keras", "torch"))
    assert other is not None and len(other.pairs) == len(forth.pairs) - 1


def test_names_alone_are_not_enough() -> None:
    paths = dict(pair for pair in examples(RULES["vgg16"]))
    keras = Side([Item(path, "conv2d", ("size", i)) for i, path in enumerate(paths)])
    assert apply(keras, side(list(paths.values())), ("keras", "torch")) is None
    assert apply(side(list(paths)), side(["a", "b"]), ("keras", "torch")) is None
    assert apply(side(list(paths)), side(list(paths)), ("keras", "keras")) is None


def test_the_files_are_packaged() -> None:
    """Declared as package data, so that an installed wtools has them."""
    root = Path(__file__).resolve().parents[2]
    assert "translation/architectures/*.json" in (root / "pyproject.toml").read_text()
    assert len(RULES) >= 5
