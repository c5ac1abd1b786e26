"""Every layer in onnxruntime as in Keras, from `.h5` and `.keras`, whatever its options."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engines import assert_agrees
from .sequences import CASES


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_keras(name: str, tmp_path: Path) -> None:
    import keras

    case = CASES[name]
    keras.backend.clear_session()
    assert_agrees(case.build(keras), case.batches(), tmp_path)
