"""`wtools verify` from end to end: engines, processes, exit codes, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools.cli import run
from wtools.conversion import convert
from wtools.engines import Engine, Input, runnable
from wtools.engines.process import Engine as Process
from wtools.errors import (
    FormatError,
    MissingError,
    MissingExtraError,
    UnsafeError,
    UsageError,
)
from wtools.verification.compare import arrangements, difference
from wtools.verification.inputs import cases, given, paired
from wtools.verification.layers import family, matched
from wtools.verification.run import compare

from .models import as_module, images, saved, series, texts

torch = pytest.importorskip("torch")
pytest.importorskip("keras")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verify")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """A Keras model, with its module, its state dict, its ONNX graph beside it."""
    path = saved(images(), folder / "model.h5")
    _, source = as_module(path)
    path.with_suffix(".py").write_text(source)
    convert(path, path.with_suffix(".onnx"))
    return path


def test_two_models_that_agree(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = str(model.with_suffix(".py"))
    code = run(["verify", str(model), str(model.with_suffix(".pt")), "--module", module, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["schema"] == "wtools.verify/1"
    assert report["summary"]["equal"] is True
    assert report["summary"]["engine_a"].startswith("keras ")
    assert report["summary"]["engine_b"].startswith("torch ")
    assert [row["shape"][0] for row in report["rows"]] == [1, 2, 5]
    assert {row["output"] for row in report["rows"]} == {"head"}
    assert not {"torch", "keras", "tensorflow", "onnxruntime"} & _imported_by_parent()


def _imported_by_parent() -> set[str]:
    """What the modules of the parent's side import when they are loaded."""
    code = "import wtools.verification, wtools.commands.verify, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_an_onnx_model_and_a_fault_in_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    bad = tmp_path / "bad.onnx"
    proto = onnx.load(model.with_suffix(".onnx"))
    (norm,) = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    (epsilon,) = [a for a in norm.attribute if a.name == "epsilon"]
    epsilon.f = 1e-5
    onnx.save(proto, bad)
    with (
        Engine(runnable(model.with_suffix(".onnx"))) as right,
        Engine(runnable(bad)) as wrong,
        Engine(runnable(model)) as keras,
    ):
        assert len({right.pid, wrong.pid, keras.pid, os.getpid()}) == 4
        assert compare(keras.ready(), right.ready()).summary["equal"]
        found = compare(keras, wrong.ready()).summary
        assert not found["equal"]
        assert (found["layer"], found["after"], found["cause"]) == ("norm", "conv", "epsilon")
        # without a Keras file on either side the cause is a guess, and said to be one
        guessed = compare(right, wrong)
        assert (guessed.summary["layer"], guessed.summary["cause"]) == ("norm", "epsilon")
        assert guessed.summary["cause_left"] is None
        assert "guess" in guessed.notes[-1]
    assert run(["verify", str(model.with_suffix(".onnx")), str(bad)]) == 1
    assert "they part at layer 'norm'" in capsys.readouterr().out


def test_torchscript_and_safetensors(model: Path, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(model.with_suffix(".py").read_text(), "m", "exec"), names)
    module = names["Model"]()
    module.load_state_dict(torch.load(model.with_suffix(".pt"), weights_only=True))
    script = tmp_path / "script.pt"
    torch.jit.trace(module.eval(), torch.rand(2, 12, 12, 3)).save(script)
    convert(model.with_suffix(".pt"), tmp_path / "w.safetensors")
    report = wtools.verify(
        tmp_path / "w.safetensors", script, module=str(model.with_suffix(".py")), batches=[3]
    )
    assert report.summary["equal"] and report.summary["max_abs"] == 0
    assert [row.shape for row in report.rows] == [(3, 5)]


NET = """
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6, eps=1e-3)
        self.c2, self.f1 = nn.Conv2d(6, 4, 3), nn.Linear(64, 8)
        self.ln, self.f2 = nn.LayerNorm(8, eps=1e-3), nn.Linear(8, 5)

    def forward(self, image):
        x = self.b1(F.relu(self.c1(F.pad(image, (0, 1, 0, 1)))))
        x = F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
        x = F.gelu(self.f1(self.c2(x).flatten(1)))
        return self.f2(self.ln(x))
"""


def test_a_module_of_ones_own_with_channels_first(model: Path, tmp_path: Path) -> None:
    """Its names are others: its layers are matched by their order."""
    names = {"conv": "c1", "norm": "b1", "narrow": "c2", "hidden": "f1", "layernorm": "ln"}
    state = torch.load(model.with_suffix(".pt"), weights_only=True)
    own = {}
    for name, tensor in state.items():
        layer, _, role = name.partition(".")
        own[f"{names.get(layer, 'f2')}.{role}"] = tensor
    weights, file = tmp_path / "net.pth", tmp_path / "net.py"
    torch.save(own, weights)
    file.write_text(NET)
    with Engine(runnable(model)) as keras:
        with Engine(runnable(weights, f"{file}:Net")) as other:
            assert compare(keras.ready(), other.ready(), channels_first=["b"]).summary["equal"]
        file.write_text(NET.replace("BatchNorm2d(6, eps=1e-3)", "BatchNorm2d(6)"))
        with Engine(runnable(weights, f"{file}:Net")) as other:
            found = compare(keras, other.ready(), channels_first=["b"]).summary
        assert (found["layer"], found["layer_b"], found["cause"]) == ("norm", "b1", "epsilon")


def test_series_and_padded_texts_of_several_lengths(tmp_path: Path) -> None:
    for name, made in (("series", series()), ("texts", texts())):
        path = saved(made, tmp_path / f"{name}.keras")
        weights, source = as_module(path)
        path.with_suffix(".py").write_text(source)
        report = wtools.verify(path, weights, module=str(path.with_suffix(".py")))
        assert report.summary["equal"], report
        assert [row.case for row in report.rows] == [
            *("batch 1, length 7", "batch 2, length 12", "batch 5, length 7"),
        ]


def test_convert_verifies_at_once(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, module = str(tmp_path / "m.pt"), str(tmp_path / "m.py")
    assert run(["convert", str(model), target, "--module", module, "--verify", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["outputs_equal"] and summary["outputs_max_abs"] < 1e-4


def test_convert_does_not_write_what_it_could_not_verify(model: Path, tmp_path: Path) -> None:
    assert run(["convert", str(model), str(tmp_path / "m.pt"), "--verify"]) == 2
    weights = str(model.with_suffix(".pt"))
    assert run(["convert", weights, str(tmp_path / "m.onnx"), "--verify"]) == 2
    assert not list(tmp_path.iterdir())


def test_weights_need_a_module(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(model), str(model.with_suffix(".pt"))]) == 2
    assert "--module model.py[:Class]" in capsys.readouterr().err
    with pytest.raises(MissingError, match="no such module file"):
        runnable(model.with_suffix(".pt"), "nowhere.py:Net")


def test_code_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    import keras

    path = tmp_path / "lambda.keras"
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1, name="odd")])
    model.save(path)
    with pytest.raises(UnsafeError, match="layer 'odd': has a Lambda"):
        runnable(path)
    model.save(tmp_path / "lambda.h5")
    with pytest.raises(UnsafeError, match="Lambda"):
        runnable(tmp_path / "lambda.h5")


def test_a_class_of_another_module_is_not_imported(tmp_path: Path) -> None:
    import keras

    path, bad = tmp_path / "m.keras", tmp_path / "bad.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")]).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                data = data.replace(b'"keras.layers", "class_name": "Dense"',
                                    b'"evil.layers", "class_name": "Dense"')  # fmt: skip
                assert b"evil" in data
            target.writestr(name, data)
    with pytest.raises(UnsafeError, match=r"the module 'evil\.layers'"):
        runnable(bad)


def _module(folder: Path, body: str, inputs: str = "(((None, 3), 'float32'),)") -> str:
    """A module file whose forward() is `body`, and weights it takes, as `w.pt` beside it."""
    file = folder / "net.py"
    file.write_text(
        "import os, time, torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        f"    INPUTS = {inputs}\n\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.w = nn.Parameter(torch.ones(3))\n\n"
        f"    def forward(self, x):\n        {body}\n"
    )
    torch.save({"w": torch.ones(3)}, folder / "w.pt")
    return str(file)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("raise ValueError('too odd')", "cannot run it: ValueError: too odd"),
        ("os._exit(3)", "ended with code 3"),
        ("os.kill(os.getpid(), 11)", "killed by signal 11"),
        ("time.sleep(60)", "took more than"),
    ],
)
def test_a_model_that_fails_ends_in_an_error(body: str, match: str, tmp_path: Path) -> None:
    module = _module(tmp_path, body)
    with (
        Process(runnable(tmp_path / "w.pt", module)) as engine,
        pytest.raises(FormatError, match=match),
    ):
        engine.ready()
        engine.timeout = 2.0
        engine.run([np.ones((2, 3), np.float32)])
    assert engine._process.returncode is not None


def test_weights_that_do_not_fit_the_module(tmp_path: Path) -> None:
    module = _module(tmp_path, "return x")
    torch.save({"v": torch.ones(3)}, tmp_path / "w.pt")
    with (
        Process(runnable(tmp_path / "w.pt", module)) as engine,
        pytest.raises(FormatError, match=r"cannot load it: RuntimeError: .*Missing key"),
    ):
        engine.ready()


def test_outputs_that_never_change_prove_little(tmp_path: Path) -> None:
    module = _module(tmp_path, "print('noise'); return x * 0 + self.w")
    report = wtools.verify(tmp_path / "w.pt", tmp_path / "w.pt", module=module)
    assert report.summary["equal"]
    assert "this proves little" in report.notes[0]


def test_small_outputs_prove_little_at_a_large_tolerance(tmp_path: Path) -> None:
    module = _module(tmp_path, "return x * self.w * 1e-3")
    weights = tmp_path / "w.pt"
    report = wtools.verify(weights, weights, module=module, batches=[2])
    assert report.summary["equal"]
    assert "an --atol of 1e-05 proves little there" in report.notes[0]
    assert not wtools.verify(weights, weights, module=module, batches=[2], atol=1e-9).notes


def test_a_missing_framework_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Engine(runnable(model.with_suffix(".onnx"))) as engine,
        pytest.raises(MissingExtraError, match=r"pip install 'wtools\[verify\]'"),
    ):
        engine.ready()


# --- the parts -----------------------------------------------------------------------------------


def test_inputs_are_paired_and_seeded() -> None:
    a = [Input("x", (None, 4, 5, 3), "float32"), Input("n", (None,), "int64", 7)]
    b = [Input("n", None, "int64"), Input("x", (None, 3, 4, 5), "float16")]
    pairs = paired(a, b)
    assert [(one.name, other.name) for one, other in pairs] == [("x", "x"), ("n", "n")]
    made = cases(pairs, seed=1, batches=[2])
    (case,) = made
    assert case.a[0].shape == (2, 4, 5, 3) and case.b[0].shape == (2, 3, 4, 5)
    assert case.b[0].dtype == np.float16
    np.testing.assert_array_equal(np.moveaxis(case.b[0], 1, -1), case.a[0].astype("float16"))
    assert case.a[1].min() >= 1 and case.a[1].max() < 7
    np.testing.assert_array_equal(case.a[0], cases(pairs, seed=1, batches=[2])[0].a[0])
    assert not np.array_equal(case.a[0], cases(pairs, seed=2, batches=[2])[0].a[0])


@pytest.mark.parametrize("text", ["", "3xx4", "ax3", "-1x3", "0x3"])
def test_shapes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no shape"):
        given(text)


def test_shapes_that_do_not_go_together() -> None:
    a, b = [Input("x", (None, 4), "float32")], [Input("y", (None, 5), "float32")]
    with pytest.raises(UsageError, match="input 'x' is"):
        cases(paired(a, b))
    with pytest.raises(UsageError, match="A has 1 inputs and B has 2"):
        paired(a, b + b)
    with pytest.raises(UsageError, match="--input"):
        paired([Input("x", None, "float32")], [Input("x", None, "float32")])


def test_differences_count_nan_and_infinities() -> None:
    a = np.array([1.0, np.nan, np.inf])
    assert difference(a, a.copy(), atol=0, rtol=0).equal
    other = difference(a, np.array([1.0, 2.0, np.inf]), atol=1, rtol=1)
    assert not other.equal and other.max_abs == np.inf
    off = difference(np.array([10.0, 1e-9]), np.array([10.1, 5e-9]), atol=1e-5, rtol=0.02)
    assert off.equal and off.max_rel == pytest.approx(0.01)
    assert not difference(np.zeros(3), np.zeros(4), atol=1, rtol=1).equal


def test_channels_first_is_an_arrangement() -> None:
    array = np.arange(24.0).reshape(1, 2, 3, 4)
    (found,) = arrangements(np.moveaxis(array, -1, 1), array.shape)
    np.testing.assert_array_equal(found, array)


def test_layers_are_matched_by_name_then_by_order() -> None:
    from wtools.engines import Layer

    a = [Layer("block/conv1", "Conv2D"), Layer("relu", "ReLU"), Layer("head", "Dense")]
    named = [Layer("block.conv1", "Conv2d"), Layer("other", "ReLU"), Layer("x.head", "Linear")]
    assert [(p.name, q.name) for p, q in matched(a, named)] == [
        *(("block/conv1", "block.conv1"), ("head", "x.head")),
    ]
    other = [Layer("0", "Conv2d"), Layer("1", "ReLU"), Layer("2", "Linear")]
    assert [(p.name, q.name) for p, q in matched(a, other)] == [("block/conv1", "0"), ("head", "2")]
    assert family("BatchNormalization") == family("BatchNorm2d") == "batch norm"
    assert family("Conv2DTranspose") == family("ConvTranspose2d") == "conv transposed"
