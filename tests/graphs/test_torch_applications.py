"""keras.applications with random weights and statistics, as PyTorch modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.graphs.torch_model import torch_module

from .keras_cases import randomize

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

APPLICATIONS = {
    "ResNet50": 96, "ResNet50V2": 96, "VGG16": 64, "InceptionV3": 139, "Xception": 96,
    "MobileNetV2": 96, "DenseNet121": 96, "EfficientNetB0": 96, "NASNetMobile": 224,
    "ConvNeXtTiny": 96,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["h5", "keras"])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_logits_are_those_of_keras(name: str, ending: str, tmp_path: Path) -> None:
    import keras

    size = APPLICATIONS[name]
    keras.utils.clear_session()
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=20, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    randomize(model, rng)
    path = tmp_path / f"model.{ending}"
    model.save(path)
    x = rng.normal(size=(2, size, size, 3)).astype(np.float32)
    wanted = np.asarray(model(x, training=False))
    with wtools.open(path) as tree:
        module = torch_module(tree)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    scale = float(np.abs(wanted).max())
    assert wanted.std() > 1e-2 * scale, "the outputs hardly differ"
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1.0, scale), rtol=1e-4)
