"""An ONNX recurrent layer that runs from the end: its weights, and what the module must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import wtools

INPUTS, UNITS = 3, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def graph(path: Path, op: str) -> dict[str, Any]:
    """A graph of one layer, and its weights."""
    rng, width = np.random.default_rng(0), GATES[op] * UNITS
    shapes = {"W": (1, width, INPUTS), "R": (1, width, UNITS), "B": (1, 2 * width)}
    weights = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    options = {"linear_before_reset": 1} if op == "GRU" else {}
    node = helper.make_node(
        op, ["x", *weights], ["y"], name="/it", hidden_size=UNITS, direction="reverse", **options
    )
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["t", "b", INPUTS])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    made = helper.make_graph([node], "g", [x], [y], stored)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=9), path)
    return weights


def ran(path: Path, x: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0][:, 0]


@pytest.mark.parametrize("op", GATES)
def test_torch_flips_time_before_and_after(op: str, tmp_path: Path) -> None:
    graph(tmp_path / "m.onnx", op)
    report = wtools.convert(tmp_path / "m.onnx", tmp_path / "m.pt")
    assert any("from its end: flip time before torch's module" in note for note in report.notes)
    module = getattr(torch.nn, op)(INPUTS, UNITS)
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    module.load_state_dict({name.rpartition(".")[2]: value for name, value in state.items()})
    x = np.random.default_rng(1).normal(size=(6, 2, INPUTS)).astype("float32")
    found = module(torch.from_numpy(x).flip(0))[0].flip(0).detach().numpy()
    np.testing.assert_allclose(found, ran(tmp_path / "m.onnx", x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_keras_goes_backwards(op: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    graph(tmp_path / "m.onnx", op)
    report = wtools.convert(tmp_path / "m.onnx", tmp_path / "m.h5")
    assert any("needs go_backwards=True" in note for note in report.notes)
    layer = getattr(keras.layers, {"RNN": "SimpleRNN"}.get(op, op))(
        UNITS, return_sequences=True, go_backwards=True, name="it"
    )
    model = keras.Sequential([keras.Input((None, INPUTS)), layer])
    with wtools.open(tmp_path / "m.h5") as tree:
        model.set_weights([tensor.read(copy=True) for tensor in tree.values()])
    x = np.random.default_rng(1).normal(size=(6, 2, INPUTS)).astype("float32")
    found = np.asarray(model(x.transpose(1, 0, 2)))[:, ::-1].transpose(1, 0, 2)
    np.testing.assert_allclose(found, ran(tmp_path / "m.onnx", x), rtol=1e-5, atol=1e-5)
