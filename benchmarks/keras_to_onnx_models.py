"""The models of keras_to_onnx.py, and the parts of it that need Keras or an engine.

python keras_to_onnx_models.py make FOLDER
python keras_to_onnx_models.py convert TOOL SOURCE TARGET
python keras_to_onnx_models.py layers TOOL FOLDER
python keras_to_onnx_models.py check SOURCE TARGET
python keras_to_onnx_models.py compare TOOL FOLDER
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MOST = 18 << 30  # bytes that a converter may ask for, so that it fails alone
MODELS = ("ResNet50", "VGG16", "MobileNetV2", "LSTM(50, relu)")
LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "Conv2D groups=2": (lambda L: L.Conv2D(4, 3, groups=2), (8, 9, 4)),
    "Conv2D same strides=2": (lambda L: L.Conv2D(4, 3, strides=2, padding="same"), (8, 9, 4)),
    "Conv2DTranspose same": (lambda L: L.Conv2DTranspose(4, 3, 2, "same"), (8, 9, 4)),
    "DepthwiseConv2D": (lambda L: L.DepthwiseConv2D(3, depth_multiplier=2), (8, 9, 4)),
    "SeparableConv1D": (lambda L: L.SeparableConv1D(4, 3, padding="same"), (9, 4)),
    "Conv1D causal": (lambda L: L.Conv1D(4, 3, padding="causal", dilation_rate=2), (9, 4)),
    "BatchNormalization": (lambda L: L.BatchNormalization(scale=False), (8, 9, 4)),
    "LayerNormalization": (lambda L: L.LayerNormalization(), (9, 4)),
    "GroupNormalization": (lambda L: L.GroupNormalization(2), (8, 9, 4)),
    "Normalization": (lambda L: L.Normalization(mean=[1.0] * 4, variance=[2.0] * 4), (9, 4)),
    "gelu": (lambda L: L.Dense(8, activation="gelu"), (16,)),
    "Resizing bilinear": (lambda L: L.Resizing(5, 6), (8, 9, 4)),
    "SimpleRNN": (lambda L: L.SimpleRNN(8), (9, 4)),
    "LSTM": (lambda L: L.LSTM(8, return_sequences=True), (9, 4)),
    "GRU": (lambda L: L.GRU(8, return_sequences=True), (9, 4)),
    "Bidirectional LSTM": (lambda L: L.Bidirectional(L.LSTM(8)), (9, 4)),
    "TimeDistributed Conv2D": (lambda L: L.TimeDistributed(L.Conv2D(2, 3)), (3, 8, 9, 4)),
}


def built(keras: Any, name: str) -> Any:
    if name in LAYERS:
        layer, shape = LAYERS[name]
        return keras.Sequential([keras.Input(shape), layer(keras.layers)])
    if name.startswith("LSTM"):
        lstm = keras.layers.LSTM(50, activation="relu")
        return keras.Sequential([keras.Input((100, 1)), lstm, keras.layers.Dense(1)])
    return getattr(keras.applications, name)(weights=None, classifier_activation=None)


def make(folder: Path) -> None:
    """Every model, one input and what Keras answers."""
    import keras

    rng = np.random.default_rng(0)
    for name in (*MODELS, *LAYERS):
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = built(keras, name)
        for weight in model.weights:
            if weight.path.endswith(("moving_variance", "gamma")):
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
            elif weight.path.endswith(("moving_mean", "beta", "bias")):
                weight.assign(rng.normal(0, 0.2, weight.shape))
        inputs = rng.normal(0, 1, (1, *model.input_shape[1:])).astype(np.float32)
        names = [weight.path for weight in model.weights]
        answer = np.asarray(model(inputs, training=False))
        np.savez(folder / f"{name}.npz", inputs=inputs, answer=answer, names=names)
        model.save(folder / f"{name}.keras")


def convert(tool: str, source: str, target: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
    import keras

    model = keras.models.load_model(source, compile=False)
    if tool == "keras export":
        model(np.zeros((1, *model.input_shape[1:]), np.float32))  # it wants a model once called
        model.export(target, format="onnx", verbose=False)
        return
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="input")]
    function = tf.function(lambda x: model(x, training=False))
    tf2onnx.convert.from_function(function, signature, opset=18, output_path=target)


def layers(tool: str, folder: Path) -> None:
    for name in LAYERS:
        try:
            convert(tool, str(folder / f"{name}.keras"), str(folder / f"{name}.{tool}.onnx"))
        except Exception as error:  # whatever a converter raises is its answer
            (folder / f"{name}.{tool}.error").write_text(type(error).__name__)


def session(target: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(target), options, ["CPUExecutionProvider"])


def answered(data: Any, target: Path) -> tuple[Any, dict[str, Any], float]:
    """(session, inputs, largest difference to Keras)."""
    engine = session(target)
    inputs = {engine.get_inputs()[0].name: data["inputs"]}
    found = engine.run(None, inputs)[0]
    return engine, inputs, float(np.abs(found - data["answer"]).max())


def check(source: Path, target: Path) -> None:
    import onnx

    data = np.load(source.with_suffix(".npz") if source.suffix == ".keras" else source)
    engine, inputs, difference = answered(data, target)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        engine.run(None, inputs)
        times.append(time.perf_counter() - began)
    graph = onnx.load(target).graph
    known = [tensor.name for tensor in graph.initializer]
    kept = sum(any(f"/{name}".endswith(f"/{other}") for other in known) for name in data["names"])
    told = {
        "difference": difference,
        "nodes": sum(node.op_type != "Constant" for node in graph.node),
        "weights": len(data["names"]),
        "kept": kept,
        "milliseconds": min(times) * 1000,
    }
    print(json.dumps(told))


def compare(tool: str, folder: Path) -> None:
    import onnx

    for name in LAYERS:
        target = folder / f"{name}.{tool}.onnx"
        error = folder / f"{name}.{tool}.error"
        if error.exists() or not target.exists():
            print(f"{name}\t{error.read_text() if error.exists() else 'nothing written'}")
            continue
        try:
            difference = answered(np.load(folder / f"{name}.npz"), target)[2]
        except Exception as failed:  # a file that onnxruntime does not take
            print(f"{name}\tinvalid file ({type(failed).__name__})")
            continue
        nodes = sum(node.op_type != "Constant" for node in onnx.load(target).graph.node)
        print(f"{name}\t{nodes if difference < 1e-5 else f'{difference:.1e} off'}")


def main() -> None:
    part, *arguments = sys.argv[1:]
    if part == "make":
        make(Path(arguments[0]))
    elif part == "convert":
        convert(*arguments)
    elif part == "layers":
        layers(arguments[0], Path(arguments[1]))
    elif part == "check":
        check(Path(arguments[0]), Path(arguments[1]))
    else:
        compare(arguments[0], Path(arguments[1]))


if __name__ == "__main__":
    main()
