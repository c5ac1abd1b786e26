"""A layer's weights, translated, compute in the other framework what they computed in their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wtools
from wtools.translation import translated

from .layers import CASES, inputs, keras_model, run, torch_module


def state_of(tree: wtools.WeightTree) -> dict[str, Any]:
    return {name: torch.from_numpy(t.read(copy=True)) for name, t in tree.items()}


# one of each way that weights move; CI runs the others, too
QUICK = ("dense", "conv2d in groups", "separable conv2d", "lstm", "bidirectional gru", "attention")


def cases(*endings: str) -> list[Any]:
    return [
        pytest.param(
            name,
            ending,
            id=f"{name}{ending}",
            marks=[] if name in QUICK and ending == endings[0] else [pytest.mark.slow],
        )
        for name, case in CASES.items()
        for ending in endings
        if case.back or ending != ".pt"
    ]


def close(found: Any, wanted: Any) -> bool:
    return bool(np.allclose(found, wanted, atol=1e-5, rtol=1e-5))


def bits(tree: wtools.WeightTree) -> dict[str, tuple[tuple[int, ...], bytes]]:
    return {name: (t.shape, t.read(copy=True).tobytes()) for name, t in tree.items()}


@pytest.mark.parametrize(("name", "ending"), cases(".h5", ".keras"))
def test_keras_to_torch_and_home(name: str, ending: str, tmp_path: Path) -> None:
    case, rng = CASES[name], np.random.default_rng(0)
    model = keras_model(case, rng)
    x = inputs(case, rng)
    model.save(tmp_path / f"m{ending}")
    with wtools.open(tmp_path / f"m{ending}") as tree:
        there = wtools.translate(tree, "torch")
        module = torch_module(case)
        module.load_state_dict(state_of(there), strict=True)
        assert close(run(case, module, x), np.asarray(model(x)))
        found = translated(there, "keras")
        assert not found.problems and not found.losses
        assert bits(found.tree) == bits(tree)
        assert list(found.tree) == list(tree) or ending == ".h5"


@pytest.mark.parametrize(("name", "_ending"), cases(".pt"))
def test_torch_to_keras_and_home(name: str, _ending: str, tmp_path: Path) -> None:
    case, rng = CASES[name], np.random.default_rng(0)
    module = torch_module(case)
    x = inputs(case, rng)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.pt") as tree:
        found = translated(tree, "keras", **case.options)
        assert not found.problems
        model = keras_model(case, rng)
        fill(model, found.tree)
        assert close(np.asarray(model(x)), run(case, module, x))
        home = wtools.translate(found.tree, "torch")
        counts = "it.num_batches_tracked" in tree
        assert bool(found.losses) == counts
        assert any("both are kept" in note for note in found.notes) == case.added
        assert bits(home) == bits(tree)


def fill(model: Any, tree: wtools.WeightTree) -> None:
    """The translated tensors as the model's weights: all of them, each in its place."""
    given = {}
    for name, tensor in tree.items():
        for level in range(2):
            cell = f"it/stacked_rnn_cells/lstm_cell{'_1' * level}"
            name = name.replace(f"it_l{level}/lstm_cell", cell)
        given[re.sub("ward_(simple_rnn|lstm|gru)/", "ward_inner/", name)] = tensor
    assert set(given) == {weight.path for weight in model.weights}
    for weight in model.weights:
        values = given[weight.path].read()
        weight.assign(values.reshape(weight.shape) if "alpha" in weight.path else values)
