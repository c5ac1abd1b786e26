"""Models that several tests of verification run: written by Keras, and as PyTorch modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import wtools
from wtools.conversion import convert
from wtools.graphs.torch_model import to_torch


def images() -> Any:
    """Every fault of the planted ones has its layer here."""
    import keras

    L = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            L.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="conv"),
            L.BatchNormalization(name="norm"),
            L.AveragePooling2D(3, strides=1, padding="same", name="pool"),
            L.Conv2D(4, 3, name="narrow"),
            L.Flatten(name="flat"),
            L.Dense(8, activation="gelu", name="hidden"),
            L.LayerNormalization(name="layernorm"),
            L.Dense(5, name="head"),
        ]
    )


def series() -> Any:
    import keras

    L = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            L.LSTM(4, return_sequences=True, name="first"),
            L.Bidirectional(L.GRU(5), name="both"),
            L.Dense(2, name="head"),
        ]
    )


def texts() -> Any:
    import keras

    L = keras.layers
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(11, 6, mask_zero=True, name="table")(ids)
    return keras.Model(ids, L.Dense(3, name="head")(L.LSTM(4, name="lstm")(x)))


def saved(model: Any, path: Path, seed: int = 0) -> Path:
    """The model with random weights and statistics, as a file."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if weight.path.endswith(("moving_variance", "gamma")):
            weight.assign(rng.uniform(0.05, 1.5, shape).astype("float32"))
        else:
            deep = np.prod(shape[:-1]) if len(shape) > 1 else 4
            weight.assign(rng.normal(0, np.sqrt(2 / deep), shape).astype("float32"))
    model.save(path)
    return path


def as_module(path: Path) -> tuple[Path, str]:
    """(its weights as a state dict beside it, the source of its module)."""
    with wtools.open(path) as tree:
        made = to_torch(tree)
        convert(made.tree, path.with_suffix(".pt"), overwrite=True)
    return path.with_suffix(".pt"), made.source
