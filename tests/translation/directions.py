"""What becomes of a configuration in each direction, run in the engines of both sides."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import wtools
from wtools.errors import WtoolsError

from .configurations import Config, Twin

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@dataclass(frozen=True)
class Outcome:
    """difference: the largest |a - b| of the two engines, for values within the tolerance; equal:
    is every |a - b| <= 1e-5 + 1e-5 |a|? home: did the way back restore every bit, was it announced
    that it cannot ("announced"), or neither ("")? refused: what the error says."""

    difference: float = 0.0
    equal: bool = True
    home: str = ""
    refused: str = ""


def compared(wanted: Any, found: Any, home: str) -> Outcome:
    wanted, found = np.asarray(wanted), np.asarray(found)
    assert wanted.shape == found.shape
    assert np.abs(wanted).max() > 1e-2  # what is nearly zero agrees with everything
    equal = bool(np.allclose(found, wanted, rtol=1e-5, atol=1e-5))
    return Outcome(float(np.abs(found - wanted).max()), equal, home)


# --- both sides ----------------------------------------------------------------------------------


def inputs(config: Config, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if config.integers:
        return rng.integers(0, config.integers, config.shape).astype("int32")
    return rng.normal(size=config.shape).astype("float32")


def keras_model(config: Config, seed: int) -> Any:
    import keras

    keras.utils.clear_session(free_memory=False)
    dtype = "int32" if config.integers else "float32"
    x = keras.Input(config.shape[1:], dtype=dtype)
    model = keras.Model(x, config.layer(keras.layers)(x))
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        drawn = rng.normal(size=tuple(weight.shape)) * 0.5
        weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.path else drawn)
    return model


def twin(config: Config, seed: int) -> Twin:
    generator = torch.Generator().manual_seed(seed)
    module = Twin(config).eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator) * 0.5
            factor = value.ndim == 1 and name.endswith("weight")  # of a norm: positive, as trained
            value.copy_(drawn.abs() + 0.5 if "running_var" in name or factor else drawn)
    return module


def run_torch(module: Any, x: Any) -> Any:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def run_onnx(path: Path, x: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def run_keras(path: Path, x: Any) -> Any:
    import keras

    return np.asarray(keras.models.load_model(path, compile=False)(x))


def save_keras(config: Config, path: Path, seed: int) -> Any:
    """The model's output is asked for as it is saved; its file has other weights for each seed."""
    model = keras_model(config, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return model


def export(module: Twin, path: Path, x: Any, *, dynamo: bool = False) -> None:
    options = {"external_data": False} if dynamo else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.from_numpy(x),), str(path), dynamo=dynamo, verbose=False, **options
        )


def bits(path: Path) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    with wtools.open(path) as tree:
        return {name: (t.shape, t.dtype, t.read(copy=True).tobytes()) for name, t in tree.items()}


def convert(*args: Any, **options: Any) -> list[str]:
    """What the conversion says that cannot be undone."""
    report = wtools.convert(*args, **options)
    assert report.summary["verified"]
    return [note for note in report.notes if note.startswith("lost:")]


def home(source: Path, back: Path, *said: list[str]) -> str:
    if bits(source) == bits(back):
        return "exact"
    return "announced" if any(said) else ""


# --- the directions ------------------------------------------------------------------------------


def keras_to_onnx(config: Config, folder: Path) -> Outcome:
    x, source = inputs(config), folder / "m.h5"
    wanted = save_keras(config, source, 1)(x)
    said = convert(source, folder / "m.onnx")
    more = convert(folder / "m.onnx", folder / "back.h5", like=str(source))
    found = run_onnx(folder / "m.onnx", x)
    return compared(wanted, found, home(source, folder / "back.h5", said, more))


def keras_to_module(config: Config, folder: Path) -> Outcome:
    x, source = inputs(config), folder / "m.keras"
    wanted = save_keras(config, source, 2)(x)
    said = convert(source, folder / "m.pt", module=folder / "m.py")
    more = convert(folder / "m.pt", folder / "back.keras", like=str(source))
    names: dict[str, Any] = {}
    exec(compile((folder / "m.py").read_text(), "m.py", "exec"), names)
    module = names["Model"]()
    module.load_state_dict(torch.load(folder / "m.pt", weights_only=True), strict=True)
    return compared(
        wanted, run_torch(module.eval(), x), home(source, folder / "back.keras", said, more)
    )


def keras_to_torch(config: Config, folder: Path) -> Outcome:
    x, source = inputs(config), folder / "m.h5"
    wanted = save_keras(config, source, 3)(x)
    said = convert(source, folder / "m.pt")
    more = convert(folder / "m.pt", folder / "back.h5")
    module = twin(config, 0)
    module.load_state_dict(torch.load(folder / "m.pt", weights_only=True), strict=True)
    return compared(wanted, run_torch(module, x), home(source, folder / "back.h5", said, more))


def torch_to_keras(config: Config, folder: Path) -> Outcome:
    """Into the names and the graph of a Keras file, whose own weights are others."""
    x, source = inputs(config), folder / "t.pt"
    module = twin(config, 4)
    torch.save(module.state_dict(), source)
    save_keras(config, folder / "like.h5", 5)
    said = convert(source, folder / "t.h5", like=str(folder / "like.h5"))
    more = convert(folder / "t.h5", folder / "back.pt")
    found = run_keras(folder / "t.h5", x)
    return compared(run_torch(module, x), found, home(source, folder / "back.pt", said, more))


def onnx_to_torch(config: Config, folder: Path) -> Outcome:
    """What torch exported goes back under the module's names."""
    x = inputs(config)
    module = twin(config, 6)
    export(module, folder / "m.onnx", x, dynamo=config.dynamo)
    wanted = run_onnx(folder / "m.onnx", x)
    said = convert(folder / "m.onnx", folder / "m.pt")
    again = twin(config, 0)
    again.load_state_dict(torch.load(folder / "m.pt", weights_only=True), strict=True)
    torch.save(module.state_dict(), folder / "t.pt")
    return compared(wanted, run_torch(again, x), home(folder / "t.pt", folder / "m.pt", said))


def torch_to_onnx(config: Config, folder: Path) -> Outcome:
    """Other weights into an exported graph."""
    x = inputs(config)
    export(twin(config, 7), folder / "like.onnx", x, dynamo=config.dynamo)
    module = twin(config, 8)
    torch.save(module.state_dict(), folder / "t.pt")
    said = convert(folder / "t.pt", folder / "m.onnx", like=str(folder / "like.onnx"))
    more = convert(folder / "m.onnx", folder / "back.pt")
    found = run_onnx(folder / "m.onnx", x)
    return compared(
        run_torch(module, x), found, home(folder / "t.pt", folder / "back.pt", said, more)
    )


Direction = Callable[[Config, Path], Outcome]
DIRECTIONS: dict[str, Direction] = {
    "Keras to ONNX": keras_to_onnx,
    "Keras to module": keras_to_module,
    "Keras to torch": keras_to_torch,
    "torch to Keras": torch_to_keras,
    "ONNX to torch": onnx_to_torch,
    "torch to ONNX": torch_to_onnx,
}
NEED_TWIN = frozenset(DIRECTIONS) - {"Keras to ONNX", "Keras to module", "Keras to torch"}


def applies(direction: str, config: Config) -> bool:
    """Has torch a module for it, or is it refused?"""
    if direction == "Keras to torch":
        return config.module is not None or bool(config.refused)
    return direction not in NEED_TWIN or (config.module is not None and not config.refused)


def outcome(direction: str, config: Config, folder: Path) -> Outcome:
    try:
        return DIRECTIONS[direction](config, folder)
    except WtoolsError as error:
        return Outcome(refused=str(error))
