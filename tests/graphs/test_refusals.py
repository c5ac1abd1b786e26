"""What cannot be exported is said, the layer and its config named, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wtools
from wtools.cli import run
from wtools.errors import CorruptError, UnsafeError, UnsupportedError, UsageError
from wtools.graphs.keras_config import graph
from wtools.graphs.onnx_model import to_onnx
from wtools.tree import WeightTree

from .engines import save


def _one(layer: Callable[[Any], Any], *shape: int) -> Callable[[Any], Any]:
    return lambda keras: keras.Sequential([keras.Input(shape), layer(keras.layers)])


def _called(keras: Any, layer: Any) -> Any:
    given = keras.Input((3,))
    return keras.Model(given, layer(given, training=True))


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ConvLSTM": (_one(lambda L: L.ConvLSTM2D(2, 3, name="weather"), 4, 6, 6, 1), "ConvLSTM2D"),
    "an activation": (
        _one(lambda L: L.LSTM(3, activation="gelu", name="odd"), 5, 2),
        "LSTM with activation='gelu' in its cell",
    ),
    "a size": (
        _one(lambda L: L.Resizing(4, 4, crop_to_aspect_ratio=True), 6, 8, 1),
        "crop_to_aspect_ratio",
    ),
    "interpolation": (_one(lambda L: L.Resizing(4, 4, "bicubic"), 6, 8, 1), "'bicubic'"),
    "Discretization": (_one(lambda L: L.Discretization([0.0, 1.0]), 3), "Discretization"),
    "stateful": (
        lambda keras: keras.Sequential(
            [keras.Input(batch_shape=(2, 5, 3)), keras.layers.GRU(2, stateful=True)]
        ),
        "stateful=True",
    ),
    "dropout that never ends": (
        lambda keras: _called(keras, keras.layers.Dropout(0.5)),
        "Dropout with training=True",
    ),
    "Lambda": (_one(lambda L: L.Lambda(lambda x: x, name="code"), 3), "Lambda"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_layer_is_named(name: str, tmp_path: Path, capsys: Any) -> None:
    import keras

    build, reason = REFUSED[name]
    model = build(keras)
    path = save(model, tmp_path / "m.keras")
    with pytest.raises(UnsupportedError) as caught:
        wtools.convert(path, tmp_path / "m.onnx")
    message = str(caught.value)
    assert reason in message
    assert f"layer '{model.layers[-1].name}'" in message
    assert "--weights-only" in message
    assert run(["convert", str(path), str(tmp_path / "m.onnx")]) == 4
    assert reason in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.keras"]


@pytest.mark.parametrize("name", ["nested.weights.h5", "nested_weights.h5"])
def test_weights_without_a_config(name: str, fixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no config"):
        wtools.convert(fixtures / "keras" / name, tmp_path / "m.onnx")
    report = wtools.convert(fixtures / "keras" / name, tmp_path / "m.onnx", weights_only=True)
    assert report.summary["verified"]


def test_weights_that_are_packed(fixtures: Path) -> None:
    packed = pytest.raises(UnsupportedError, match="int8 in a way that wtools cannot dequantize")
    with wtools.open(fixtures / "keras/int4.keras") as tree, packed:
        to_onnx(tree)
    with wtools.open(fixtures / "keras/int8.keras") as tree:
        assert any("the graph computes in float32" in note for note in to_onnx(tree).notes)


def test_options_for_tensors(fixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dtype is for tensors"):
        wtools.convert(fixtures / "keras/mnist_cnn.h5", tmp_path / "m.onnx", dtype="float16")


def _tree(config: Any, version: str = "2.4.0") -> WeightTree:
    return WeightTree([], format="keras", architecture={"keras": config, "version": version})


def _functional(*layers: dict[str, Any], inputs: Any = None, outputs: Any = None) -> dict[str, Any]:
    config = {
        "name": "m",
        "layers": list(layers),
        "input_layers": inputs or [["in", 0, 0]],
        "output_layers": outputs or [[layers[-1]["name"], 0, 0]],
    }
    return {"class_name": "Functional", "config": config}


def _layer(kind: str, name: str, *inbound: str, **config: Any) -> dict[str, Any]:
    calls = [[[one, 0, 0, {}] for one in inbound]] if inbound else []
    config = {"name": name, "trainable": True, "dtype": "float32", **config}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": calls}


IN = _layer("InputLayer", "in", batch_input_shape=[None, 3])

CORRUPT = {
    "a cycle": _functional(IN, _layer("ReLU", "a", "b"), _layer("ReLU", "b", "a")),
    "a missing layer": _functional(IN, _layer("ReLU", "a", "nobody")),
    "a missing output": _functional(IN, _layer("ReLU", "a", "in"), outputs=[["b", 0, 0]]),
    "a missing input": _functional(IN, _layer("ReLU", "a", "in"), inputs=[["x", 0, 0]]),
    "inbound_nodes a number": _functional(IN, {**_layer("ReLU", "a", "in"), "inbound_nodes": 3}),
    "outputs a number": _functional(IN, _layer("ReLU", "a", "in"), outputs=3),
    "no class": _functional(IN, {"name": "a", "config": {}}),
    "no config": _functional(IN, {"name": "a", "class_name": "ReLU", "config": 3}),
    "an axis that is not there": _functional(IN, _layer("Permute", "a", "in", dims=[9])),
    "a target of text": _functional(IN, _layer("UpSampling2D", "a", "in", size=[2, 2])),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_configs_that_contradict_themselves(name: str) -> None:
    with pytest.raises((CorruptError, UnsupportedError)):
        to_onnx(_tree(CORRUPT[name]))


def test_models_that_multiply() -> None:
    """Ten lines of JSON for 4^20 layers."""
    model = _functional(
        _layer("InputLayer", "in", batch_input_shape=[None, 3]), _layer("ReLU", "a", "in")
    )
    for _ in range(20):
        inner = {**model, "name": "inner", "inbound_nodes": [[["in", 0, 0, {}]]]}
        calls = [[[["in", 0, 0, {}]]], [[["inner", 0, 0, {}]]], [[["inner", 1, 0, {}]]]]
        inner["inbound_nodes"] = [call[0] for call in calls]
        model = _functional(IN, inner, outputs=[["inner", 2, 0]])
    assert len(json.dumps(model)) < 20_000
    with pytest.raises(UnsafeError):
        graph(_tree(model))


def test_a_model_of_a_class_of_its_own() -> None:
    with pytest.raises(UnsupportedError, match="class of its own, MyModel"):
        to_onnx(_tree({"class_name": "MyModel", "config": {"units": 3}}))


def test_hard_sigmoid_is_that_of_the_version() -> None:
    """Keras redefined it in version 3; the file's keras_version decides."""
    model = _functional(IN, _layer("Activation", "a", "in", activation="hard_sigmoid"))
    slopes = {}
    for version in ("2.15.0", "3.0.0"):
        made = to_onnx(_tree(model, version)).exported.operations
        slopes[version] = [o.attributes["alpha"] for o in made if o.op == "HardSigmoid"]
    assert slopes == {"2.15.0": [0.2], "3.0.0": [1 / 6]}
