"""Pickles of estimators are never run: what is read of them, and what is advised instead."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import pytest
from sklearn.preprocessing import PolynomialFeatures

import wtools
from tests.estimators.models import fitted
from wtools.errors import FormatError

ADVICE = r"Save an estimator with skops \(skops\.io\.dump\), or give it to wtools\.from_estimator"


def test_of_a_pickle_the_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(fitted("Lasso")))
    with wtools.open(path) as tree:
        assert (tree["coef_"].read() == fitted("Lasso").coef_).all()
        (note,) = (note for note in tree.notes if "Lasso" in note)
        assert note.startswith("only arrays are read of sklearn.linear_model.")
        assert note.endswith(ADVICE.replace("\\", ""))


def test_a_pickle_without_arrays_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(PolynomialFeatures()))
    with pytest.raises(FormatError, match=ADVICE):
        wtools.open(path)


def test_a_joblib_file_is_refused_with_advice(tmp_path: Path) -> None:
    joblib.dump(fitted("Lasso"), tmp_path / "model.joblib")
    with pytest.raises(FormatError, match=f"a joblib file.*{ADVICE}"):
        wtools.open(tmp_path / "model.joblib")


@pytest.mark.parametrize("level", [1, 3, 6, 9])
def test_a_compressed_joblib_file_is_called_what_it_is(level: int, tmp_path: Path) -> None:
    joblib.dump(fitted("Lasso"), tmp_path / "model.joblib", compress=level)
    with pytest.raises(FormatError, match=r"is zlib data \(a compressed joblib file"):
        wtools.open(tmp_path / "model.joblib")
