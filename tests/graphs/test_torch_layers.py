"""Each kind of layer, in several ways: Keras writes it, the generated module computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.graphs.torch_model import to_torch, torch_module

from .keras_cases import FAMILIES, Case, build

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

CASES = {f"{family}: {name}": c for family, f in FAMILIES.items() for name, c in f().items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_module_computes_what_keras_does(case: Case, tmp_path: Path) -> None:
    model, arrays = build(case)
    path = tmp_path / "model.h5"
    model.save(path)
    wanted = model(arrays, training=False)
    wanted = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    with wtools.open(path) as tree:
        module = torch_module(tree)
        state = to_torch(tree).tree
        assert list(state) == list(module.state_dict())
        assert {n: t.shape for n, t in state.items()} == {
            n: tuple(t.shape) for n, t in module.state_dict().items()
        }
    with torch.no_grad():
        found = module(*(torch.from_numpy(array) for array in arrays))
    found = found if isinstance(found, (list, tuple)) else [found]
    assert len(found) == len(wanted)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(other.numpy(), np.asarray(one), atol=1e-5, rtol=1e-5)
