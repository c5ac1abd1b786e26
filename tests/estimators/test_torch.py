"""Estimators as PyTorch modules, live and as a file with its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import wtools
from tests.estimators.models import ALL, CLASSIFIERS, fitted, inputs
from tests.estimators.test_graph import scores
from wtools.conversion import execute
from wtools.conversion.module import module_plan


@pytest.mark.parametrize("name", ALL)
def test_the_module_says_what_scikit_learn_does(name: str) -> None:
    module = wtools.torch_module(wtools.from_estimator(fitted(name)))
    x = inputs(name)
    with torch.no_grad():
        made = module(torch.from_numpy(x))
    if name not in CLASSIFIERS:
        wanted = fitted(name).predict(x).reshape(len(x), -1)
        np.testing.assert_allclose(made.numpy(), wanted, 1e-5, 1e-5)
        return
    label, second = (one.numpy() for one in made)
    kind, wanted = scores(name, x)
    scale = max(1.0, float(np.abs(wanted).max())) if kind == "scores" else 1.0
    np.testing.assert_allclose(second, wanted, 1e-5, 1e-5 * scale)
    labels = fitted(name).predict(x)
    if labels.dtype.kind in "OU":
        label = fitted(name).classes_[label]
    assert (label == labels).all()


def test_a_module_in_a_file_takes_its_weights_strictly(tmp_path: Path) -> None:
    name = "StandardScaler, Lasso"
    weights, code = tmp_path / "model.pt", tmp_path / "model.py"
    plan = module_plan(wtools.from_estimator(fitted(name)), weights, code)
    with plan.writing():
        execute(plan.weights)
    names: dict[str, object] = {}
    exec(code.read_text(), names)
    module = names["Model"]()  # type: ignore[operator]
    state = torch.load(weights, weights_only=True)
    assert list(state) == ["scaler.mean_", "scaler.scale_", "lasso.weight", "lasso.bias"]
    module.load_state_dict(state, strict=True)
    made = module(torch.from_numpy(inputs(name))).detach().numpy()
    np.testing.assert_allclose(made[:, 0], fitted(name).predict(inputs(name)), 1e-5, 1e-5)
