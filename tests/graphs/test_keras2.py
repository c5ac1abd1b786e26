"""Models that Keras 2 wrote, most of which Keras 3 refuses to load.

The small ones are fixtures with tf_keras' answers beside them (fixtures/make/graphs.py); the
applications are made anew where tf_keras is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools

from .engines import FORMATS, answers, assert_close, converted, run, save, spread

NAMES = ("convolutions", "nested", "operators", "recurrent", "sequential", "states", "words")


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_tf_keras(name: str, ending: str, fixtures: Path, tmp_path: Path) -> None:
    source = fixtures / "graphs" / f"{name}{ending}"
    with np.load(fixtures / "graphs" / f"{name}.npz") as arrays:
        inputs = [arrays[key] for key in sorted(arrays) if key.startswith("in_")]
        wanted = [arrays[key] for key in sorted(arrays) if key.startswith("out_")]
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    assert_close(wanted, run(converted(copy), inputs))


def test_every_fixture_is_tested(fixtures: Path) -> None:
    stems = {path.stem for path in (fixtures / "graphs").iterdir()}
    assert stems == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "VGG16", "MobileNetV2"])
def test_applications_of_tf_keras(name: str, tmp_path: Path) -> None:
    keras: Any = pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    spread(model)
    image = np.random.default_rng(1).normal(0, 1, (1, 224, 224, 3)).astype(np.float32)
    wanted = answers(model, [image])
    for ending in FORMATS:
        path = save(model, tmp_path / f"m{ending}")
        wtools.convert(path, tmp_path / "m.onnx", overwrite=True)
        assert_close(wanted, run(tmp_path / "m.onnx", [image]), rtol=1e-4)
