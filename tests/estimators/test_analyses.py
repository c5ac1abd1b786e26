"""The analyses on files of estimators: features by name, and what does not apply said so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn import linear_model as lm
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wtools
from tests import facts
from tests.estimators.models import diabetes, fitted, iris
from wtools.cli import run

FOLDER = facts.ROOT / "skops"


def test_the_features_that_a_lasso_keeps_are_called_by_name() -> None:
    x, y = diabetes()
    model = lm.Lasso(50.0).fit(x, y)
    figures = wtools.sparsity(wtools.from_estimator(model)).summary
    kept = {n: w for n, w in zip(x.columns, model.coef_, strict=True) if w}
    assert 0 < len(kept) < len(x.columns)
    assert figures["features_kept"] == len(kept)
    assert figures["features"] == pytest.approx(kept)
    sizes = [abs(weight) for weight in figures["features"].values()]
    assert sizes == sorted(sizes, reverse=True)


def test_beside_a_ridge_the_dropped_ones_have_its_weight() -> None:
    lasso, ridge = wtools.open(FOLDER / "lasso.skops"), wtools.open(FOLDER / "ridge.skops")
    figures = wtools.sparsity(lasso, compare=ridge).summary
    assert set(figures["features"]) == {"bmi", "bp", "s5"}
    there = dict(zip(ridge.metadata["feature_names_in_"], ridge["coef_"].read(), strict=True))
    dropped = {name: weight for name, weight in there.items() if name not in figures["features"]}
    assert figures["features_dropped"] == pytest.approx(dropped)


def test_of_several_outputs_a_feature_has_the_norm_over_them() -> None:
    model = fitted("MultiTaskLasso")
    figures = wtools.sparsity(wtools.from_estimator(model)).summary
    norms = dict(zip(diabetes()[0].columns, np.linalg.norm(model.coef_, axis=0), strict=True))
    assert figures["features"] == pytest.approx({n: w for n, w in norms.items() if w})


def test_scalers_pass_the_names_on_and_other_steps_do_not() -> None:
    x, y = diabetes()
    through = make_pipeline(StandardScaler(), lm.Lasso(1.0)).fit(x, y)
    mixed = make_pipeline(PCA(), lm.Lasso(1.0)).fit(x, y)
    assert "bmi" in wtools.sparsity(wtools.from_estimator(through)).summary["features"]
    assert "features" not in wtools.sparsity(wtools.from_estimator(mixed)).summary


def test_without_names_there_are_none() -> None:
    x, y = diabetes()
    tree = wtools.from_estimator(lm.Lasso(1.0).fit(x.to_numpy(), y))
    report = wtools.sparsity(tree)
    assert "features" not in report.summary
    assert report.rows[0].survivors == np.flatnonzero(tree["coef_"].read()).tolist()


def test_several_linear_models_are_told_apart() -> None:
    from sklearn.ensemble import VotingRegressor

    x, y = diabetes()
    voting = VotingRegressor([("lasso", lm.Lasso(1.0)), ("ridge", lm.Ridge())]).fit(x, y)
    figures = wtools.sparsity(wtools.from_estimator(voting)).summary
    assert "estimators_.0.bmi" in figures["features"]
    assert figures["features_kept"] == 10 + np.count_nonzero(voting.estimators_[0].coef_)


def test_no_initializer_is_looked_for_in_a_linear_model(tmp_path: Path) -> None:
    report = wtools.init(wtools.from_estimator(fitted("StandardScaler, Lasso")))
    assert not report.rows and "linear models" in report.notes[-1]


@pytest.mark.parametrize(
    "command", ["ls", "stats", "sparsity", "init", "layers", "check", "report"]
)
@pytest.mark.parametrize("file", ["lasso.skops", "pipeline.skops", "forest.skops", "mlp.skops"])
def test_every_command_takes_a_skops_file(
    command: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, str(FOLDER / file), *([] if command == "ls" else ["--json"])]) == 0
    output = capsys.readouterr().out
    if command != "ls":
        assert json.loads(output)["format"] == "skops"


def test_two_fits_are_compared_by_diff(tmp_path: Path) -> None:
    x, y = iris()
    for name, c in (("a", 1.0), ("b", 0.5)):
        model = make_pipeline(StandardScaler(), lm.LogisticRegression(C=c)).fit(x, y)
        skops.io.dump(model, tmp_path / f"{name}.skops")
    report = wtools.diff(wtools.open(tmp_path / "a.skops"), wtools.open(tmp_path / "b.skops"))
    found = {row.name: row.status for row in report.rows if row.status == "changed"}
    assert set(found) == {"logisticregression.coef_", "logisticregression.intercept_"}
