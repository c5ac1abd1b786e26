"""Every layer in onnxruntime as in Keras, from `.h5` and `.keras`, whatever its options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wtools.graphs.onnx_export import families
from wtools.graphs.onnx_export.call import LAYERS, OPERATIONS

from .engines import assert_agrees
from .sequences import CASES


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_keras(name: str, tmp_path: Path) -> None:
    import keras

    case = CASES[name]
    keras.backend.clear_session()
    assert_agrees(case.build(keras), case.batches(), tmp_path)


# of Keras 2 alone, whose models are fixtures (test_keras2.py), and other names of these
_ELSEWHERE = {"ThresholdedReLU", "TFOpLambda", "SlicingOpLambda", "Abs", "TrueDivide"}
_ELSEWHERE |= {"SyncBatchNormalization", "LayerScale", "GroupQueryAttention"}
_OTHER_NAME = re.compile(r".*(Max|Avg)Pool\dD|.*[Cc]onvolution.*|Random.*|TimeDistributed.*")


def test_every_kind_is_tested() -> None:
    import keras

    families()
    seen = set(_ELSEWHERE)
    for case in CASES.values():
        model = case.build(keras)
        steps = getattr(model, "_operations", model.layers)
        seen |= {type(step).__name__ for step in steps}
    known = {kind for kind in (*LAYERS, *OPERATIONS) if not _OTHER_NAME.fullmatch(kind)}
    assert known - seen == set()
