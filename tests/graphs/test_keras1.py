"""Models of Keras 1: the options it had, under the names it had for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools.errors import UnsupportedError
from wtools.graphs.onnx_model import to_onnx
from wtools.tree import Tensor, WeightTree

from .engines import answers, assert_close, randomise, run


def _layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def _written(order: str = "tf") -> list[dict[str, Any]]:
    """A Sequential as Keras 1.2 wrote it: its config is the list of its layers."""
    image = {"border_mode": "same", "dim_ordering": order}
    return [
        _layer(
            *("Convolution2D", "convolution2d_1"),
            **{**image, "nb_filter": 4, "nb_row": 3, "nb_col": 3, "subsample": [2, 2]},
            bias=True,
            activation="hard_sigmoid",
            batch_input_shape=[None, 8, 9, 3],
        ),
        _layer("BatchNormalization", "bn", mode=0, axis=-1, epsilon=1e-5),
        _layer("AveragePooling2D", "pool", **image, pool_size=[2, 2], strides=[2, 2]),
        _layer("Dropout", "dropout", p=0.5),
        _layer("Flatten", "flatten"),
        _layer("Dense", "dense_1", output_dim=5, activation="linear", bias=False),
    ]


_NAMES = {
    "c/kernel": "convolution2d_1/W",
    "c/bias": "convolution2d_1/b",
    "bn/gamma": "bn/gamma",
    "bn/beta": "bn/beta",
    "bn/moving_mean": "bn/running_mean",
    "bn/moving_variance": "bn/running_std",
    "d/kernel": "dense_1/W",
}


def _tree(model: Any, config: list[dict[str, Any]]) -> WeightTree:
    tensors = []
    for weight in model.weights:
        name = _NAMES["/".join(weight.path.split("/")[-2:])]
        tensors.append(Tensor.of(name, np.asarray(weight), layer=name.partition("/")[0]))
    whole = {"class_name": "Sequential", "config": config}
    known = {"keras": whole, "version": "1.2.2"}
    return WeightTree(tensors, format="keras", variant="legacy h5 model", architecture=known)


def _model() -> Any:
    import keras

    L = keras.layers

    def hard(x: Any) -> Any:
        return keras.ops.clip(0.2 * x + 0.5, 0, 1)

    return keras.Sequential(
        [
            keras.Input((8, 9, 3)),
            L.Conv2D(4, 3, strides=2, padding="same", activation=hard, name="c"),
            L.BatchNormalization(epsilon=1e-5, name="bn"),
            L.AveragePooling2D(2, padding="same"),
            L.Flatten(),
            L.Dense(5, use_bias=False, name="d"),
        ]
    )


def test_a_sequential_of_keras_1(tmp_path: Path) -> None:
    model = _model()
    randomise(model)
    image = np.random.default_rng(0).normal(0, 1, (2, 8, 9, 3)).astype(np.float32)
    report = wtools.convert(_tree(model, _written()), tmp_path / "m.onnx")
    assert report.summary["verified"]
    assert_close(answers(model, [image]), run(tmp_path / "m.onnx", [image]))


def test_the_axes_of_theano_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="dim_ordering='th'"):
        to_onnx(_tree(_model(), _written("th")))
