"""`like`: a model with its weights replaced and nothing else of it changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.conversion import Options, convert, plan, verify_bits
from wtools.errors import UnsupportedError, UsageError
from wtools.tree import Tensor, WeightTree

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
KERAS = sorted(p for p in (FIXTURES / "keras").iterdir() if p.suffix in (".h5", ".keras"))
ONNX = sorted(
    p for p in (FIXTURES / "onnx").glob("*.onnx") if not p.name.startswith(("sklearn", "sparse"))
)


def ending(path: Path) -> str:
    return ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix


def reachable(path: Path) -> WeightTree:
    """The weights of a model that a template can take new values for, with others in them."""
    tree = wtools.open(path)
    kept = []
    for tensor in tree.values():
        array = tensor.read(copy=True)
        flipped = (array.reshape(-1).view(np.uint8) ^ 1).view(array.dtype)
        fits = tensor.dtype not in ("bool", "int4", "uint4", "int2", "uint2") and tensor.nbytes
        new = flipped.reshape(array.shape) if fits and "float6" not in tensor.dtype else array
        if "sparse" not in tensor.facts and "held_in" not in tensor.facts:
            kept.append(Tensor(tensor.name, tensor.shape, tensor.dtype, Tensor.of("", new).data))
    return WeightTree(kept)


@pytest.mark.parametrize("path", KERAS, ids=lambda p: p.name)
def test_a_keras_file_of_any_kind_takes_new_values(path: Path, tmp_path: Path) -> None:
    new = reachable(path)
    target = tmp_path / f"new{ending(path)}"
    convert(new, target, like=str(path))
    with wtools.open(target) as found, wtools.open(path) as old:
        assert verify_bits(new, found).summary["equal"]
        assert found.architecture == old.architecture and found.metadata == old.metadata
        for name, apart in old.apart.items():
            assert verify_bits(apart, found.apart[name]).summary["equal"]
        convert(old, tmp_path / f"same{ending(path)}", like=str(target))
    if path.suffix == ".h5":
        assert (tmp_path / f"same{ending(path)}").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("external", [None, True, False])
@pytest.mark.parametrize("path", ONNX, ids=lambda p: p.name)
def test_an_onnx_model_takes_new_values(path: Path, external: bool | None, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    new = reachable(path)
    assert new
    options = {"like": str(path), "external_data": external}
    try:
        convert(new, tmp_path / "m.onnx", **options)
    except UnsupportedError:  # in a subgraph and not plain: said, by name
        stuck = plan(new, "m.onnx", options=Options(**options)).problems
        assert all("cannot be replaced" in p or "embedded data first" in p for p in stuck)
        kept = [t for n, t in new.items() if not any(p.startswith(repr(n)) for p in stuck)]
        assert 0 < len(kept) < len(new)
        new = WeightTree(kept)
        if any("embedded data first" in problem for problem in stuck):
            assert path.name == "external.onnx"
            return
        convert(new, tmp_path / "m.onnx", **options)
    onnx.checker.check_model(str(tmp_path / "m.onnx"))
    before, after = onnx.load(path), onnx.load(tmp_path / "m.onnx")
    for model in (before, after):
        del model.graph.initializer[:]
    with wtools.open(tmp_path / "m.onnx") as found:
        for name, tensor in new.items():
            assert found[name].dtype == tensor.dtype
            assert found[name].read().tobytes() == tensor.read().tobytes()
    plain = [n for n in before.graph.node if not n.attribute]
    assert [n for n in after.graph.node if not n.attribute] == plain
    assert after.graph.output == before.graph.output and after.opset_import == before.opset_import


def test_a_model_with_new_weights_computes_something_else(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = FIXTURES / "onnx" / "torch_cnn.onnx"
    with wtools.open(path) as tree:
        doubled = [
            Tensor.of(n, t.read() * 2) if t.dtype == "float32" else t for n, t in tree.items()
        ]
        convert(WeightTree(doubled), tmp_path / "e.onnx", like=str(path), external_data=True)
        convert(WeightTree(doubled), tmp_path / "m.onnx", like=str(path))
    sessions = [
        runtime.InferenceSession(str(p)) for p in (path, tmp_path / "m.onnx", tmp_path / "e.onnx")
    ]
    [given] = sessions[0].get_inputs()
    shape = [n if isinstance(n, int) else 2 for n in given.shape]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    old, new, beside = (session.run(None, {given.name: x})[0] for session in sessions)
    assert not np.allclose(old, new)
    np.testing.assert_array_equal(new, beside)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(FIXTURES / "keras" / "shared.h5", tmp_path / "model.h5"))


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda t: t[:-1], "the template needs 'out/bias'"),
        (lambda t: [*t, Tensor.of("more", np.zeros(2))], "the template has no 'more'"),
        (
            lambda t: [Tensor.of("twoer/kernel", t[0].read()), *t[1:]],
            "the template has no 'twoer/kernel'",
        ),
        (lambda t: [Tensor.of(t[0].name, t[0].read().T), *t[1:]], "has the shape"),
        (
            lambda t: [Tensor.of(t[0].name, t[0].read().astype(float)), *t[1:]],
            "--dtype float64=float32",
        ),
    ],
)
def test_what_does_not_fit_the_template_is_a_problem(
    change: object, reason: str, model: Path, tmp_path: Path
) -> None:
    with wtools.open(model) as tree:
        new = WeightTree(change(list(tree.values())))  # type: ignore[operator]
        with pytest.raises(UnsupportedError, match=reason):
            convert(new, tmp_path / "new.h5", like=str(model))
    assert not (tmp_path / "new.h5").exists()


def test_a_copy_must_be_called_what_it_is(model: Path, tmp_path: Path) -> None:
    with wtools.open(model) as tree:
        for name in ("new.keras", "new.weights.h5"):
            with pytest.raises(UnsupportedError, match=r"is a \.h5 file"):
                convert(tree, tmp_path / name, like=str(model))
        with pytest.raises(UsageError, match="not an ONNX model"):
            convert(tree, tmp_path / "new.onnx", like=str(model))


def test_the_template_itself_can_be_replaced(model: Path) -> None:
    with wtools.open(model) as tree:
        new = WeightTree([Tensor.of(n, t.read(copy=True) + 1) for n, t in tree.items()])
    convert(new, model, like=str(model), overwrite=True)
    with wtools.open(model) as found:
        assert verify_bits(new, found).summary["equal"]
