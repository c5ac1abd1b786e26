"""Estimators as ONNX graphs: scikit-learn, our graph and skl2onnx's say the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType

import wtools
from tests.estimators.models import ALL, CLASSIFIERS, REGRESSORS, fitted, inputs


def run(path: Path, x: Any) -> dict[str, Any]:
    """Name -> output, of a model by onnxruntime."""
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))


def exported(name: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    wtools.convert(wtools.from_estimator(fitted(name)), path)
    return path


def scores(name: str, x: Any) -> tuple[str, Any]:
    """What the graph calls its second output, and what scikit-learn says for it."""
    model = fitted(name)
    if hasattr(model, "predict_proba"):
        return "probabilities", model.predict_proba(x)
    found = model.decision_function(x)
    return "scores", found.reshape(len(x), -1)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_predicts_what_scikit_learn_does(name: str, tmp_path: Path) -> None:
    x = inputs(name)
    found = run(exported(name, tmp_path), x)
    assert list(found) == ["variable"]
    wanted = fitted(name).predict(x)
    np.testing.assert_allclose(found["variable"], wanted.reshape(len(x), -1), 1e-5, 1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_says_what_scikit_learn_does(name: str, tmp_path: Path) -> None:
    x = inputs(name)
    found = run(exported(name, tmp_path), x)
    second, wanted = scores(name, x)
    assert list(found) == ["label", second]
    scale = max(1.0, float(np.abs(wanted).max())) if second == "scores" else 1.0
    np.testing.assert_allclose(found[second], wanted, 1e-5, 1e-5 * scale)
    labels = fitted(name).predict(x)
    assert found["label"].shape == labels.shape
    kinds = {"U": "O", "O": "O", "i": "i", "b": "b", "f": "f"}
    assert found["label"].dtype.kind == kinds[labels.dtype.kind]
    assert (found["label"] == labels).all()


# Of these skl2onnx 1.20 calls the second output probabilities, and puts scores in it.
SCORES = {name for name in CLASSIFIERS if not hasattr(fitted(name), "predict_proba")}
# It takes no "passthrough"; and for two classes of this one its probabilities are those of twice
# the score, 0.15 from scikit-learn's; a LinearSVC in a pipeline it refuses.
OTHERWISE = {
    *("pipeline in a pipeline", "MinMaxScaler, LinearSVC"),
    "LinearDiscriminantAnalysis, 2 classes",
}


def of_skl2onnx(name: str, folder: Path) -> Path:
    """The model as skl2onnx writes it."""
    x = inputs(name)
    model = fitted(name)
    zipped = name in CLASSIFIERS and "LinearSVC" not in name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = skl2onnx.convert_sklearn(
            model,
            initial_types=[("X", FloatTensorType([None, x.shape[1]]))],
            options={id(model): {"zipmap": False}} if zipped else None,
            target_opset=18,
        )
    path = folder / "theirs.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("name", sorted(set(ALL) - OTHERWISE))
def test_the_graph_of_skl2onnx_says_the_same(name: str, tmp_path: Path) -> None:
    theirs = run(of_skl2onnx(name, tmp_path), inputs(name))
    ours = run(exported(name, tmp_path), inputs(name))
    if name in SCORES:
        theirs.pop("probabilities")
        ours.pop("scores")
    assert list(ours) == list(theirs)
    for output in ours:
        if output == "label":
            assert ours[output].tolist() == theirs[output].tolist()
        else:
            np.testing.assert_allclose(ours[output], theirs[output], 1e-4, 1e-5)
