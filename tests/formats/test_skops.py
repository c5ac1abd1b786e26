"""skops: estimators as scikit-learn itself sees them, read without it."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import Lasso

from tests import facts
from wtools import formats
from wtools.errors import CorruptError, NameNotFoundError, WtoolsError
from wtools.files import Source
from wtools.graphs.onnx_model import to_onnx
from wtools.graphs.torch_model import to_torch
from wtools.testing import FormatContract

FACTS = facts.load("skops")
FOLDER = facts.ROOT / "skops"


class TestContract(FormatContract):
    format = "skops"
    samples: ClassVar[list[Path]] = [FOLDER / name for name in FACTS]


@pytest.mark.parametrize("file", FACTS)
def test_scikit_learn_sees_the_same(file: str) -> None:
    with formats.open(FOLDER / file) as tree:
        facts.check(tree, FACTS[file])


def test_neither_skops_nor_scikit_learn_is_imported() -> None:
    code = (
        "import sys, wtools\n"
        f"for name in {sorted(FACTS)!r}:\n"
        f"    with wtools.open({str(FOLDER)!r} + '/' + name) as tree:\n"
        "        [tensor.read() for tensor in tree.values()]\n"
        "assert not {'sklearn', 'skops', 'scipy', 'joblib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_estimator_says_its_class_and_its_settings() -> None:
    with formats.open(FOLDER / "lasso.skops") as tree:
        told = tree.metadata
        assert (tree.variant, told["estimator"]) == ("Lasso", "Lasso")
        assert (told["alpha"], told["l1_ratio"], told["fit_intercept"]) == (1.0, 1.0, True)
        assert told["random_state"] is None and told["selection"] == "cyclic"
        assert told["feature_names_in_"][:3] == ["age", "sex", "bmi"]
        assert told["n_features_in_"] == 10 and told["sklearn_version"] == "1.9.1"
        assert tree["coef_"].kind == "Lasso" and tree["coef_"].facts["outputs"] == 1
        assert tree["coef_"].raw is not None


def test_a_pipeline_calls_its_steps_by_name() -> None:
    with formats.open(FOLDER / "pipeline.skops") as tree:
        assert tree.variant == "Pipeline of StandardScaler and LogisticRegression"
        assert tree["scaler.mean_"].layer == "scaler" and tree["model.coef_"].layer == "model"
        assert tree.metadata["model.classes_"] == ["setosa", "versicolor", "virginica"]
        assert tree.metadata["model.C"] == 1.0 and tree.metadata["scaler.with_mean"] is True


def test_classes_of_numbers_are_told_too() -> None:
    with formats.open(FOLDER / "sparse.skops") as tree:
        assert tree.metadata["classes_"] == [0, 1, 2]


def test_a_part_can_be_opened_alone() -> None:
    with formats.open(FOLDER / "search.skops", root="best_estimator_.ridge") as tree:
        assert list(tree) == ["coef_", "intercept_"] and tree.variant == "Ridge"
    with formats.open(FOLDER / "lasso.skops", root="fitting") as tree:
        assert list(tree) == ["dual_gap_"]
    with pytest.raises(NameNotFoundError, match=r"no root named 'best_estimator_\.lasso'"):
        formats.open(FOLDER / "search.skops", root="best_estimator_.lasso")
    with pytest.raises(NameNotFoundError, match="fitting"):
        formats.open(FOLDER / "ridge.skops", root="fitting")


def test_an_object_saved_once_is_tied() -> None:
    with formats.open(FOLDER / "ridge_classifier.skops", root="fitting") as tree:
        assert tree.tied() == [("classes_", "_label_binarizer.classes_")]


def test_what_holds_no_numbers_is_named() -> None:
    with formats.open(FOLDER / "forest.skops") as tree:
        (note,) = tree.notes
        assert note.endswith("left out: it holds records of several fields")
        assert note.startswith("estimators_.0.tree_.nodes, estimators_.1.tree_.nodes")


def test_bare_arrays_and_containers_are_opened_too(tmp_path: Path) -> None:
    path = tmp_path / "a.skops"
    skops.io.dump({"a": np.ones(2), "b": [np.zeros(3), {"c": np.arange(4)}]}, path)
    with formats.open(path) as tree:
        assert {name: t.shape for name, t in tree.items()} == {
            "dict.a": (2,),
            "dict.b.0": (3,),
            "dict.b.1.c": (4,),
        }


def test_an_npz_file_that_names_a_schema_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{"schema.json": np.ones(2)})
    with Source(path) as source:
        assert formats.detect(source).NAME == "npz"


FORMS = ("csr", "csc", "coo")


@pytest.mark.parametrize("form", FORMS)
def test_a_sparse_matrix_is_what_scipy_makes_dense(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    matrix = scipy.sparse.random(7, 5, 0.3, format=form, rng=rng, dtype=np.float32)
    model = Lasso().fit(np.eye(2), [1, 2])
    model.coef_ = matrix
    skops.io.dump(model, tmp_path / "a.skops")
    with formats.open(tmp_path / "a.skops") as tree:
        tensor = tree["coef_"]
        assert (tensor.shape, tensor.dtype) == ((7, 5), "float32")
        assert tensor.facts["sparse"] == {"shape": [7, 5], "nnz": matrix.nnz, "format": form}
        assert (tensor.read() == matrix.toarray()).all()


def test_a_sparse_matrix_of_another_form_or_too_large_is_named(tmp_path: Path) -> None:
    model = Lasso().fit(np.eye(2), [1, 2])
    model.coef_ = scipy.sparse.eye(4, format="dia")
    model.large_ = scipy.sparse.csr_matrix((10**6, 10**6))
    skops.io.dump(model, tmp_path / "a.skops")
    with formats.open(tmp_path / "a.skops") as tree:
        assert list(tree) == ["intercept_"]
        assert "coef_ left out: it is a sparse matrix of the form 'dia'" in tree.notes
        assert any(note.startswith("large_ left out: it is a sparse matrix") for note in tree.notes)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.floats())


@settings(max_examples=40, deadline=None)
@given(
    array=hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64))),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    value=VALUES,
    packed=st.booleans(),
)
def test_any_array_and_any_setting_comes_back(
    array: Any, value: Any, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = Lasso()
    model.coef_, model.extra = array, value
    path = tmp_path_factory.mktemp("skops") / "a.skops"
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    skops.io.dump(model, path, compression=method)
    with formats.open(path) as tree:
        native = array.astype(array.dtype.newbyteorder("="))
        assert tree["coef_"].read().tobytes() == native.tobytes()
        assert repr(tree.metadata["extra"]) == repr(value)


def rewritten(path: Path, change: Any) -> bytes:
    """The file with its schema changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == "schema.json" else content)
    return out.getvalue()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_schema_is_a_wtools_error_or_a_tree(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(["lasso.skops", "sparse.skops", "pipeline.skops"]))

    def damage(text: bytes) -> bytes:
        at = data.draw(st.integers(0, len(text) - 1))
        count = data.draw(st.integers(0, 40))
        put = data.draw(st.sampled_from([b"", b"{", b"[", b'"', b"null", b"1", b",", b"\xff"]))
        return text[:at] + put + text[at + count :]

    path = tmp_path_factory.mktemp("skops") / "a.skops"
    path.write_bytes(rewritten(FOLDER / name, damage))
    try:
        with formats.open(path) as tree:
            for tensor in tree.values():
                tensor.read()
            to_torch(tree)
            to_onnx(tree)
    except WtoolsError:
        return


def test_a_class_that_does_not_exist_is_only_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.skops"
    path.write_bytes(
        rewritten(FOLDER / "lasso.skops", lambda s: s.replace(b'"Lasso"', b'"system"'))
    )
    with formats.open(path) as tree:
        assert tree.variant == "system" and list(tree) == ["coef_", "intercept_"]


def test_without_its_schema_a_file_cannot_be_forced_to_be_one() -> None:
    with pytest.raises(CorruptError, match=r"has no schema\.json"):
        formats.open(facts.ROOT / "npz" / "plain.npz", format="skops")
