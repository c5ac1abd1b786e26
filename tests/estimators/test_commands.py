"""convert and verify on files of estimators, and what skl2onnx writes on its way elsewhere."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import skl2onnx
import skops.io
import torch
from skl2onnx.common.data_types import FloatTensorType
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import wtools
from tests import facts
from tests.estimators.models import diabetes, fitted, inputs, iris
from tests.estimators.test_graph import of_skl2onnx, run
from wtools.cli import run as command
from wtools.errors import CorruptError, FormatError, UnsupportedError, UsageError

FOLDER = facts.ROOT / "skops"


def dumped(name: str, folder: Path) -> Path:
    path = folder / "model.skops"
    skops.io.dump(fitted(name), path)
    return path


SOME = (
    *("StandardScaler, Lasso", "LogisticRegression, 2 names", "LogisticRegression, odd numbers"),
    *("RidgeClassifier", "TweedieRegressor, identity", "MinMaxScaler, LinearSVC"),
)


@pytest.mark.parametrize("name", SOME)
def test_convert_proves_itself_in_both_engines(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = dumped(name, tmp_path)
    code = command(["convert", str(source), str(tmp_path / "m.onnx"), "--verify", "--json"])
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert code == 0 and summary["outputs_equal"] is True
    assert summary["outputs_max_abs"] < 1e-4


def test_a_module_is_proven_too(tmp_path: Path) -> None:
    source, module = dumped("StandardScaler, Lasso", tmp_path), tmp_path / "m.py"
    given = ["convert", str(source), str(tmp_path / "m.pt"), "--module", str(module), "--verify"]
    assert command(given) == 0


def test_another_model_is_found_out(tmp_path: Path) -> None:
    x, y = iris()
    for name, c in (("a", 1.0), ("b", 0.1)):
        skops.io.dump(LogisticRegression(C=c).fit(x, y), tmp_path / f"{name}.skops")
    wtools.convert(tmp_path / "b.skops", tmp_path / "b.onnx")
    report = wtools.verify(tmp_path / "a.skops", tmp_path / "b.onnx")
    assert report.summary["equal"] is False
    assert {row.output for row in report.rows} == {"label", "probabilities"}


def test_other_names_are_found_out(tmp_path: Path) -> None:
    x, y = iris()
    for name, labels in (("a", ["x", "y", "z"]), ("b", ["xx", "yy", "zz"])):
        model = LogisticRegression().fit(x, np.array(labels)[y])
        skops.io.dump(model, tmp_path / f"{name}.skops")
    wtools.convert(tmp_path / "b.skops", tmp_path / "b.onnx")
    report = wtools.verify(tmp_path / "a.skops", tmp_path / "b.onnx", batches=[50])
    assert {row.output for row in report.rows if not row.equal} == {"label"}


@pytest.mark.parametrize("zipmap", [False, True])
def test_the_files_of_skl2onnx_are_verified(zipmap: bool, tmp_path: Path) -> None:
    name = "StandardScaler, LogisticRegression"
    model, x = fitted(name), inputs(name)
    made = skl2onnx.convert_sklearn(
        model,
        initial_types=[("X", FloatTensorType([None, x.shape[1]]))],
        options={id(model): {"zipmap": zipmap}},
    )
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    report = wtools.verify(dumped(name, tmp_path), tmp_path / "m.onnx", atol=1e-4)
    assert report.summary["equal"] is True


def learned(path: Path) -> dict[str, Any]:
    """What the linear operator of a file of skl2onnx holds, as the onnx package sees it."""
    (node,) = (n for n in onnx.load(path).graph.node if n.op_type.startswith("Linear"))
    found = {a.name: np.array(a.floats, np.float32) for a in node.attribute}
    rows = found["intercepts"].size
    return {"weight": found["coefficients"].reshape(rows, -1), "bias": found["intercepts"]}


@pytest.mark.parametrize("name", ["Lasso", "MultiTaskLasso", "LogisticRegression, names"])
def test_what_skl2onnx_wrote_arrives_bit_by_bit(name: str, tmp_path: Path) -> None:
    path = of_skl2onnx(name, tmp_path)
    wanted = learned(path)
    for ending in ("npz", "pt", "h5"):
        wtools.convert(path, tmp_path / f"m.{ending}")
    layer = "LinearClassifier" if "Logistic" in name else "LinearRegressor"
    with np.load(tmp_path / "m.npz") as archive:
        npz = {key: archive[key] for key in archive.files}
    state = {k: v.numpy() for k, v in torch.load(tmp_path / "m.pt", weights_only=True).items()}
    for found in (npz, state):
        assert set(found) == {f"{layer}.weight", f"{layer}.bias"}
        for key, array in wanted.items():
            assert found[f"{layer}.{key}"].tobytes() == array.tobytes()
    with h5py.File(tmp_path / "m.h5") as file:
        kernel = (
            file[layer][layer]["kernel"][()] if layer in file[layer] else file[layer]["kernel"][()]
        )
    assert kernel.tobytes() == np.ascontiguousarray(wanted["weight"].T).tobytes()


def test_a_state_dict_of_a_lone_estimator_fits_nn_linear(tmp_path: Path) -> None:
    wtools.convert(FOLDER / "lasso.skops", tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    layer = torch.nn.Linear(10, 1, dtype=torch.float64)
    layer.load_state_dict(state, strict=True)
    model = skops.io.load(FOLDER / "lasso.skops")
    x = np.random.default_rng(0).normal(size=(5, 10))
    made = layer(torch.from_numpy(x)).detach().numpy()[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(made, model.predict(x), 1e-12)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_containers_keep_scikit_learns_names_and_bits(ending: str, tmp_path: Path) -> None:
    tree = wtools.from_estimator(fitted("StandardScaler, Lasso"))
    wtools.convert(tree, tmp_path / f"m.{ending}")
    with wtools.open(tmp_path / f"m.{ending}") as found:
        assert list(found) == list(tree)
        for name, tensor in tree.items():
            assert found[name].read().tobytes() == tensor.read().tobytes()


def test_metadata_go_into_the_onnx_file(tmp_path: Path) -> None:
    wtools.convert(FOLDER / "lasso.skops", tmp_path / "m.onnx", metadata={"author": "me"})
    model = onnx.load(tmp_path / "m.onnx")
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert (told["source"], told["estimator"], told["alpha"]) == ("scikit-learn", "Lasso", "1.0")
    assert json.loads(told["feature_names_in_"])[2] == "bmi" and told["author"] == "me"
    assert {entry.domain for entry in model.opset_import} == {""}


def test_names_of_weights_are_kept(tmp_path: Path) -> None:
    wtools.convert(FOLDER / "pipeline.skops", tmp_path / "m.onnx")
    with wtools.open(tmp_path / "m.onnx") as tree:
        assert list(tree) == ["scaler.mean_", "scaler.scale_", "model.coef_", "model.intercept_"]


@pytest.mark.parametrize(
    ("model", "place", "match"),
    [
        (make_pipeline(PCA(2), Ridge()), "pca", "PCA is no step that wtools makes a graph of"),
        (KNeighborsClassifier(), None, "KNeighborsClassifier is no linear model"),
        (make_pipeline(StandardScaler(), PCA(2)), "pca", "PCA is no linear model"),
    ],
)
def test_what_has_no_graph_is_refused_by_name(
    model: Any, place: str | None, match: str, tmp_path: Path
) -> None:
    tree = wtools.from_estimator(model.fit(*iris()))
    with pytest.raises(UnsupportedError, match=match) as caught:
        wtools.convert(tree, tmp_path / "m.onnx")
    assert caught.value.place == place and "--weights-only" in str(caught.value)
    assert not list(tmp_path.iterdir())
    wtools.convert(tree, tmp_path / "m.onnx", weights_only=True)
    with pytest.raises(UnsupportedError, match=match):
        wtools.torch_module(tree)


def test_several_labels_of_a_sample_are_refused(tmp_path: Path) -> None:
    x, y = iris()
    model = RidgeClassifier().fit(x, np.eye(3, dtype=int)[y])
    with pytest.raises(UnsupportedError, match="gives several labels to a sample"):
        wtools.convert(wtools.from_estimator(model), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("coef_", np.ones((2, 4))),
        ("intercept_", np.ones(2)),
        ("classes_", np.arange(5)),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(
    attribute: str, value: Any, tmp_path: Path
) -> None:
    model = LogisticRegression().fit(*iris())
    setattr(model, attribute, value)
    with pytest.raises(CorruptError, match="LogisticRegression contradicts itself"):
        wtools.convert(wtools.from_estimator(model), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("TweedieRegressor, compound", {"power": "1.5"}),
        ("TweedieRegressor, compound", {"link": ["log"]}),
        ("TweedieRegressor, compound", {"power": float("nan")}),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    from sklearn.base import clone

    model = clone(fitted(name)).fit(*diabetes())
    for key, value in settings.items():
        setattr(model, key, value)
    with pytest.raises(UnsupportedError, match="has a link"):
        wtools.convert(wtools.from_estimator(model), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("settings", "classes", "link"),
    [
        ({"multi_class": "ovr"}, 3, "one-vs-rest"),
        ({"multi_class": "multinomial"}, 3, "softmax"),
        ({"multi_class": "multinomial"}, 2, "sigmoid2"),
        ({"multi_class": "ovr"}, 2, "sigmoid"),
        ({"multi_class": "auto", "solver": "liblinear"}, 3, "one-vs-rest"),
        ({"multi_class": "deprecated"}, 3, "softmax"),
    ],
)
def test_files_of_older_versions_say_how_their_classes_compete(
    settings: dict[str, str], classes: int, link: str
) -> None:
    """`multi_class`, an option until scikit-learn 1.8: see its LogisticRegression.predict_proba."""
    from wtools.estimators.described import of_tree
    from wtools.graphs.sklearn_export import linear

    x, y = iris()
    kept = y >= 3 - classes
    model = LogisticRegression().fit(x[kept], y[kept])
    for key, value in settings.items():
        setattr(model, key, value)
    estimator = of_tree(wtools.from_estimator(model))
    assert estimator is not None and linear(estimator).link == link


def test_an_estimator_that_calls_a_function_is_not_loaded(tmp_path: Path) -> None:
    x, y = diabetes()
    model = make_pipeline(FunctionTransformer(np.genfromtxt, validate=False), Ridge())
    model.steps[1][1].fit(x, y)
    path = tmp_path / "m.skops"
    skops.io.dump(model, path)
    wtools.convert(FOLDER / "ridge.skops", tmp_path / "m.onnx")
    with pytest.raises(FormatError, match=r"UnsafeError.*does not let skops load: numpy"):
        wtools.verify(path, tmp_path / "m.onnx")


def test_a_skops_file_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="skops can only be read"):
        wtools.convert(FOLDER / "ridge.skops", tmp_path / "m.skops")


def test_a_large_table_of_classes_is_a_tensor_of_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    y = np.arange(300) % 100 * 7 - 50
    model = RidgeClassifier().fit(x, y)
    tree = wtools.from_estimator(model)
    wtools.convert(tree, tmp_path / "m.onnx")
    found = run(tmp_path / "m.onnx", x)
    assert (found["label"] == model.predict(x)).all()
    with wtools.open(tmp_path / "m.onnx") as written:
        assert list(written) == ["coef_", "intercept_", "RidgeClassifier/classes"]
