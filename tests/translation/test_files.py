"""Files of every reader's fixtures go to the other framework and come home bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wtools
from wtools.translation import Translation, stated, translated

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FILES = sorted(
    path
    for folder in ("safetensors", "pytorch", "keras", "onnx")
    for path in (FIXTURES / folder).iterdir()
    if path.is_file() and path.suffix not in (".json", ".data", ".py")
)
REFUSED = {  # and why, as the message says it
    "zoo.keras": "PReLU",
    "keras2_zoo.keras": "PReLU",
    "keras2_zoo.h5": "PReLU",
    "quantized_by_hand.onnx": "scales",
}


def contents(tree: wtools.WeightTree) -> dict[str, Any]:
    return {name: (t.shape, t.dtype, t.read(copy=True).tobytes()) for name, t in tree.items()}


def told(name: str, *translations: Translation) -> bool:
    """Is a tensor spoken of among what cannot be undone?"""
    return any(name in loss for one in translations for loss in one.losses)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_there_and_home(path: Path) -> None:
    with wtools.open(path) as tree:
        source = stated(tree)
        if not source or not tree:
            pytest.skip("nothing says whose conventions it follows")
        for to in {"keras", "torch"} - {source}:
            there = translated(tree, to)
            if path.name in REFUSED and there.problems:
                assert any(REFUSED[path.name] in problem for problem in there.problems)
                continue
            assert not there.problems
            found = contents(there.tree)
            if source == "onnx":  # a graph is not made anew
                continue
            back = translated(there.tree, source)
            assert not back.problems
            wanted, found = contents(tree), contents(back.tree)
            differing = {n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)}
            assert all(told(name, there, back) for name in differing)


def test_every_tensor_of_the_source_is_accounted_for() -> None:
    """Each is among the sources of one in the target, or said to be left out."""
    for path in FILES:
        with wtools.open(path) as tree:
            for to in ("keras", "torch"):
                found = translated(tree, to)
                if found.problems:
                    continue
                used = {name for entry in found.entries.values() for name in entry.sources}
                missing = set(tree) - used - set(found.left_out)
                assert all(told(name, found) for name in missing), path
