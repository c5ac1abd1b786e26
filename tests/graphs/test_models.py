"""Whole models: nested, shared, of several inputs and outputs; and what is written for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools.graphs.onnx_model import to_onnx

from .engines import FORMATS, assert_agrees, converted, save


def rng(*shape: int) -> Any:
    return np.random.default_rng(5).normal(0, 1, shape).astype(np.float32)


def _nested(keras: Any) -> Any:
    L = keras.layers
    deep = keras.Sequential([keras.Input((3,)), L.Dense(4, name="d"), L.BatchNormalization()])
    inner_in = keras.Input((5,))
    inner = keras.Model(inner_in, deep(L.Dense(3, name="d")(inner_in)), name="inner")
    given = keras.Input((5,))
    return keras.Model(given, L.Dense(2, name="d")(inner(given)))


def _shared(keras: Any) -> Any:
    """A layer, a Sequential and a Functional model, each called twice."""
    L = keras.layers
    left, right = keras.Input((6,)), keras.Input((6,))
    layer = L.Dense(5, activation="tanh")
    sequential = keras.Sequential([L.Dense(4), L.LeakyReLU()])
    step = keras.Input((4,))
    functional = keras.Model(step, L.Dense(3)(L.Dense(4, activation="relu")(step)))
    ends = [functional(sequential(layer(given))) for given in (left, right)]
    return keras.Model([left, right], [L.Subtract()(ends), L.Concatenate()(ends)])


def _several_outputs(keras: Any) -> Any:
    L = keras.layers
    one, other = keras.Input((6,)), keras.Input((4,))
    inner = keras.Model([one, other], [L.Dense(3)(one), L.Dense(3)(other)])
    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    first, second = inner([left, right])
    total = L.Add(name="total")([first, second])
    return keras.Model([left, right], [second, total, left])


def _autoencoder(keras: Any) -> Any:
    L = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            L.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            L.Conv2D(4, 3, strides=2, padding="same"),
            L.Conv2DTranspose(8, 3, strides=2, padding="same", activation="selu"),
            L.UpSampling2D(),
            L.ZeroPadding2D(1),
            L.Conv2D(3, 3),
        ]
    )


def _squeeze_and_excite(keras: Any) -> Any:
    L = keras.layers
    given = keras.Input((8, 8, 4))
    x = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(given))
    s = L.Reshape((1, 1, 4))(L.GlobalAveragePooling2D()(x))
    s = L.Conv2D(4, 1, activation="hard_sigmoid")(L.Conv2D(2, 1, activation="swish")(s))
    return keras.Model(given, L.Dense(3)(L.Flatten()(L.Add()([given, L.Multiply()([x, s])]))))


def _transformer(keras: Any) -> Any:
    """A block of a transformer over words, padded ones masked."""
    L = keras.layers
    given = keras.Input((None,), dtype="int32")
    x = L.Embedding(11, 8, mask_zero=True)(given)
    y = L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(2, 4)(x, x)]))
    z = L.Dense(8)(L.Dense(16, activation="gelu")(y))
    z = L.LayerNormalization()(L.Add()([y, L.Dropout(0.1)(z)]))
    return keras.Model(given, L.Dense(3)(L.GlobalAveragePooling1D()(z)))


def _text_to_words(keras: Any) -> Any:
    """The same image classifier twice, one Conv2D inside a TimeDistributed."""
    L = keras.layers
    given = keras.Input((None, 9, 8, 1))
    x = L.TimeDistributed(L.Conv2D(4, 3, activation="relu"))(given)
    x = L.TimeDistributed(L.GlobalMaxPooling2D())(x)
    return keras.Model(given, L.Bidirectional(L.LSTM(5))(x))


WORDS = np.array([[3, 1, 4, 0, 0], [1, 5, 9, 2, 6]], np.int32)
MODELS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "nested": (_nested, [rng(2, 5)]),
    "shared": (_shared, [rng(2, 6), 2 * rng(2, 6)]),
    "several outputs": (_several_outputs, [rng(2, 6), rng(2, 4)]),
    "autoencoder": (_autoencoder, [rng(2, 12, 12, 3)]),
    "squeeze and excite": (_squeeze_and_excite, [rng(2, 8, 8, 4)]),
    "transformer": (_transformer, [WORDS]),
    "frames": (_text_to_words, [rng(2, 3, 9, 8, 1)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_keras(name: str, tmp_path: Path) -> None:
    import keras

    build, inputs = MODELS[name]
    keras.backend.clear_session()
    assert_agrees(build(keras), [inputs], tmp_path)


def test_images_pass_one_transposition_in_and_none_between(tmp_path: Path) -> None:
    import keras

    model = _autoencoder(keras)
    with wtools.open(save(model, tmp_path / "m.keras")) as tree:
        operations = to_onnx(tree).exported.operations
    turned = [operation.op for operation in operations].count("Transpose")
    assert turned == 2  # one at each end


@pytest.mark.parametrize("ending", FORMATS)
def test_layers_keep_their_names(ending: str, tmp_path: Path) -> None:
    import keras
    import onnx

    given = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="stem")(given)
    x = keras.layers.Dense(2, name="head")(keras.layers.Flatten()(x))
    path = save(keras.Model(given, x), tmp_path / f"m{ending}")
    graph = onnx.load(converted(path)).graph
    assert [port.name for port in graph.input] == ["image"]
    assert [port.name for port in graph.output] == ["head"]
    assert {t.name for t in graph.initializer} == {
        *("stem/kernel", "stem/bias", "head/kernel", "head/bias")
    }
    named = {node.op_type: node.name for node in graph.node}
    assert named["Conv"] == "stem/Conv"
    assert named["Gemm"] == "head/Gemm"
    sizes = [d.dim_value or d.dim_param for d in graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 8, 8, 3]
    with wtools.open(f"{path}.onnx") as tree:
        assert [tree[f"stem/{role}"].layer for role in ("kernel", "bias")] == ["stem", "stem"]


def test_what_does_not_change_is_written_bit_for_bit(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(70)])
    path = save(model, tmp_path / "m.h5")
    report = wtools.convert(path, tmp_path / "m.onnx")
    assert [row.change for row in report.rows] == ["", ""]
    with wtools.open(path) as source, wtools.open(tmp_path / "m.onnx") as target:
        for row in report.rows:
            np.testing.assert_array_equal(source[row.name].read(), target[row.target].read())


def test_external_data(tmp_path: Path) -> None:
    import keras

    from .engines import answers, assert_close, randomise, run

    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(50), keras.layers.Dense(3)])
    randomise(model)
    path = save(model, tmp_path / "m.keras")
    report = wtools.convert(path, tmp_path / "m.onnx", external_data=True)
    assert report.summary["files"] == ["m.onnx.data", "m.onnx"]
    assert (tmp_path / "m.onnx.data").stat().st_size >= 40 * 50 * 4
    assert_close(answers(model, [rng(2, 40)]), run(tmp_path / "m.onnx", [rng(2, 40)]))


def test_narrow_weights_are_widened_and_it_is_said(tmp_path: Path) -> None:
    import keras

    from .engines import answers, randomise, run

    policy = "mixed_float16"
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, dtype=policy),
            keras.layers.Dense(3, dtype="float16"),
        ]
    )
    randomise(model)
    path = save(model, tmp_path / "m.keras")
    report = wtools.convert(path, tmp_path / "m.onnx")
    assert any("float16: the graph computes in float32" in note for note in report.notes)
    found = run(tmp_path / "m.onnx", [rng(2, 6)])[0]
    np.testing.assert_allclose(found, answers(model, [rng(2, 6)])[0], atol=2e-2)


def test_a_narrow_policy_is_said_where_the_weights_are_float32(tmp_path: Path) -> None:
    import keras

    layer = keras.layers.Dense(5, dtype="mixed_bfloat16")
    path = save(keras.Sequential([keras.Input((6,)), layer]), tmp_path / "m.keras")
    for target, options in (("m.onnx", {}), ("m.pt", {"module": tmp_path / "m.py"})):
        report = wtools.convert(path, tmp_path / target, **options)
        assert any("mixed_bfloat16: the " in note for note in report.notes), report.notes


NO_FRAMEWORKS = """
import sys
from wtools.cli import run
code = run(["convert", sys.argv[1], sys.argv[2], "--quiet"])
heavy = {"tensorflow", "keras", "tf_keras", "onnx", "onnxruntime", "torch", "h5py"}
print(code, sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("sample", ["mnist_cnn.h5", "keras2_zoo.h5", "keras2_zoo.keras"])
def test_no_framework_is_imported(sample: str, fixtures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_FRAMEWORKS]
    command += [str(fixtures / "keras" / sample), str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
