"""The rows of a dense layer after a Flatten in graphs that were made of Keras models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import wtools


def save(path: Path, seed: int) -> Path:
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="c"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.BatchNormalization(name="n"),
            layers.Dense(5, "relu", name="d"),
            layers.Dense(3, name="e"),
        ]
    ).save(path)
    return path


def contents(path: Path) -> dict[str, Any]:
    with wtools.open(path) as tree:
        return {name: tensor.read(copy=True).tobytes() for name, tensor in tree.items()}


def test_other_weights_go_into_the_graph_and_out_of_it(tmp_path: Path) -> None:
    source, other = save(tmp_path / "a.h5", 1), save(tmp_path / "b.h5", 2)
    wtools.convert(other, tmp_path / "b.onnx")
    wtools.convert(source, tmp_path / "a.onnx", like=str(tmp_path / "b.onnx"))
    assert wtools.verify(source, tmp_path / "a.onnx").summary["equal"]
    wtools.convert(tmp_path / "a.onnx", tmp_path / "back.h5", like=str(other))
    assert contents(tmp_path / "back.h5") == contents(source)


def test_to_torch_the_order_is_told_or_turned(tmp_path: Path) -> None:
    source = save(tmp_path / "a.h5", 1)
    wtools.convert(source, tmp_path / "a.onnx")
    wtools.convert(source, tmp_path / "wanted.pt")
    report = wtools.convert(tmp_path / "a.onnx", tmp_path / "kept.pt")
    assert any(note.startswith("d: the graph flattens its image") for note in report.notes)
    assert not any(note.startswith("e: ") for note in report.notes)
    image = {"d": (3, 3, 4), "n": (3, 3, 4)}
    wtools.convert(tmp_path / "a.onnx", tmp_path / "turned.pt", flatten=image)
    wanted, kept, turned = (contents(tmp_path / f"{n}.pt") for n in ("wanted", "kept", "turned"))
    assert turned.items() <= wanted.items()
    assert kept["d.weight"] != wanted["d.weight"] and kept["e.weight"] == wanted["e.weight"]


def test_to_keras_the_rows_stay(tmp_path: Path) -> None:
    source = save(tmp_path / "a.h5", 1)
    wtools.convert(source, tmp_path / "a.onnx")
    wtools.convert(tmp_path / "a.onnx", tmp_path / "b.h5")
    with wtools.open(source) as one, wtools.open(tmp_path / "b.h5") as same:
        assert all(np.array_equal(same[name].read(), tensor.read()) for name, tensor in one.items())
