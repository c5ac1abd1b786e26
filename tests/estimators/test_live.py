"""from_estimator: the tree of an object in memory is that of its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.linear_model import Lasso
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wtools
from tests.estimators.models import ALL, fitted
from wtools.errors import UsageError


def told(tree: wtools.WeightTree) -> dict[str, Any]:
    """All that is in a tree."""
    return {
        "variant": tree.variant,
        "metadata": {k: repr(v) for k, v in tree.metadata.items() if k != "skops_version"},
        "architecture": repr(tree.architecture),
        "notes": sorted(tree.notes),
        "apart": {name: told(below)["tensors"] for name, below in tree.apart.items()},
        "tensors": {
            name: (t.shape, t.dtype, t.read().tobytes(), t.layer, t.kind, t.facts)
            for name, t in tree.items()
        },
    }


@pytest.mark.parametrize("name", ALL)
def test_the_tree_of_an_estimator_is_that_of_its_file(name: str, tmp_path: Path) -> None:
    skops.io.dump(fitted(name), tmp_path / "a.skops")
    with wtools.open(tmp_path / "a.skops") as tree:
        assert told(wtools.from_estimator(fitted(name))) == told(tree)


def test_arrays_are_not_copied() -> None:
    model = fitted("Lasso")
    array = wtools.from_estimator(model)["coef_"].read()
    assert np.shares_memory(array, model.coef_) and not array.flags.writeable


def test_its_format_is_no_file_format() -> None:
    tree = wtools.from_estimator(fitted("Lasso"))
    assert (tree.format, tree.path) == ("sklearn", "")


def test_other_estimators_have_their_arrays_too() -> None:
    tree = wtools.from_estimator(KMeans(2, n_init=1).fit(np.arange(8.0).reshape(4, 2)))
    assert tree["cluster_centers_"].shape == (2, 2)


@pytest.mark.parametrize("what", [Lasso(), make_pipeline(StandardScaler(), Lasso())])
def test_an_estimator_that_is_not_fitted_is_refused(what: Any) -> None:
    with pytest.raises(UsageError, match=r"Lasso is not fitted: it has no arrays\. Call its fit"):
        wtools.from_estimator(what)


@pytest.mark.parametrize("what", [Lasso, "lasso.skops", {"coef_": np.ones(3)}, None])
def test_what_is_no_estimator_is_refused(what: Any) -> None:
    with pytest.raises(UsageError, match=r"is no estimator of scikit-learn"):
        wtools.from_estimator(what)


def test_an_object_that_holds_itself_ends() -> None:
    model = Lasso().fit(np.eye(3), [1, 2, 3])
    model.itself_ = model
    model.around_ = [model, {"again": model}]
    assert list(wtools.from_estimator(model)) == ["coef_", "intercept_"]


def test_scikit_learn_is_not_imported() -> None:
    code = (
        "import sys, numpy, wtools\n"
        "class Ridge:\n"
        "    def __init__(self): self.alpha, self.coef_ = 1.0, numpy.ones(3)\n"
        "    def get_params(self): return {}\n"
        "assert list(wtools.from_estimator(Ridge())) == ['coef_']\n"
        "assert not {'sklearn', 'skops', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
