"""keras.applications with random weights: the networks that people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wtools

from .engines import FORMATS, answers, assert_close, run, save, spread

NAMES = (
    *("ResNet50", "ResNet50V2", "VGG16", "VGG19", "InceptionV3", "Xception", "MobileNetV2"),
    *("DenseNet121", "EfficientNetB0", "NASNetMobile", "ConvNeXtTiny", "MobileNetV3Small"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_keras(name: str, tmp_path: Path) -> None:
    import keras
    import onnx

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    options = {} if name.startswith("NASNet") else {"classifier_activation": None}
    size = (96, 96, 3) if name.startswith("MobileNetV3") else None
    model = getattr(keras.applications, name)(weights=None, input_shape=size, **options)
    if not options:
        model.layers[-1].activation = keras.activations.linear
    spread(model)
    image = np.random.default_rng(1).normal(0, 1, (2, *model.input_shape[1:])).astype(np.float32)
    wanted = answers(model, [image])
    for ending in FORMATS:
        path = save(model, tmp_path / f"m{ending}")
        wtools.convert(path, tmp_path / "m.onnx", overwrite=True)
        onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
        assert_close(wanted, run(tmp_path / "m.onnx", [image]), rtol=1e-4)
