"""The Keras models of real packages become ONNX graphs that answer as Keras does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import wtools

pytestmark = pytest.mark.corpus
MODELS = ("fer-*/**/emotion_model.hdf5", "deeplc-3*/**/*.keras")


@pytest.mark.parametrize("pattern", MODELS)
def test_agrees_with_keras(pattern: str, corpus: Path, tmp_path: Path) -> None:
    import keras
    import onnx
    import onnxruntime

    paths = sorted(corpus.glob(f"**/{pattern}"))
    assert paths
    for path in paths:
        target = tmp_path / f"{path.stem}.onnx"
        assert wtools.convert(path, target).summary["verified"]
        onnx.checker.check_model(str(target), full_check=True)
        session = onnxruntime.InferenceSession(str(target), None, ["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        inputs = {}
        for port in session.get_inputs():
            shape = [3 if isinstance(n, str) else n for n in port.shape]
            inputs[port.name] = rng.normal(0, 1, shape).astype(np.float32)
        (found,) = session.run(None, inputs)
        values = list(inputs.values())
        model = keras.models.load_model(path, compile=False)
        wanted = np.asarray(model(values if len(values) > 1 else values[0], training=False))
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * scale)
