"""Keras and onnxruntime side by side: the same model, the same inputs, both answers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import wtools

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FORMATS = (".h5", ".keras")


def randomise(model: Any, seed: int = 1, scale: float = 0.5) -> None:
    """Weights that make differences show: no zeros, no ones, variances that are positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if not np.issubdtype(np.dtype(str(weight.dtype)), np.floating):
            continue
        if _role(weight).startswith(("moving_variance", "variance", "gamma")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign(rng.normal(0, scale, weight.shape))


def spread(model: Any, seed: int = 0) -> None:
    """Statistics, factors and biases away from 0 and 1, kernels as they were drawn: for networks
    too deep for kernels of any size."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        role = _role(weight)
        if role in ("gamma", "moving_variance", "variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif role in ("beta", "bias", "moving_mean", "mean") or role.startswith("variable"):
            weight.assign(rng.normal(0, 0.2, weight.shape))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # a Normalization keeps what it made of its weights
            layer.finalize_state()


def _role(weight: Any) -> str:
    path: str = weight.path if hasattr(weight, "path") else weight.name.partition(":")[0]
    return path.rpartition("/")[2]


def answers(model: Any, inputs: Sequence[Any]) -> list[Any]:
    """What the writing framework computes, in its order of outputs."""
    import tensorflow as tf

    given = list(inputs) if len(inputs) > 1 else inputs[0]
    return [np.asarray(value) for value in tf.nest.flatten(model(given, training=False))]


def save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def converted(path: Path) -> Path:
    """The ONNX model, checked by onnx itself."""
    import onnx

    target = path.with_name(f"{path.name}.onnx")
    report = wtools.convert(path, target)
    assert report.summary["verified"]
    onnx.checker.check_model(str(target), full_check=True)
    return target


def run(path: Path, inputs: Sequence[Any]) -> list[Any]:
    """What onnxruntime computes; a warning of its optimizer is not ours to hear."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    found: list[Any] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def assert_close(wanted: Sequence[Any], found: Sequence[Any], rtol: float = 1e-5) -> None:
    """Within 1e-5 + rtol of the largest value, with the same shapes."""
    assert [w.shape for w in wanted] == [f.shape for f in found]
    for one, other in zip(wanted, found, strict=True):
        scale = max(1.0, float(np.abs(one[np.isfinite(one)]).max(initial=0)))
        np.testing.assert_allclose(other, one, rtol=rtol, atol=1e-5 * scale)


def assert_agrees(model: Any, batches: Sequence[Sequence[Any]], folder: Path) -> None:
    """The model, saved in each format and converted once, answers as Keras does on each batch."""
    randomise(model)
    wanted = [answers(model, inputs) for inputs in batches]
    assert any(np.abs(value).max(initial=0) > 1e-2 for value in wanted[0])
    for ending in FORMATS:
        target = converted(save(model, folder / f"model{ending}"))
        for inputs, values in zip(batches, wanted, strict=True):
            assert_close(values, run(target, inputs))
