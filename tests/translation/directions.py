"""What becomes of a configuration in each direction, run in the engines of both sides."""

from __future__ import annotations

import os
import re
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
    is every |a - b| <= 1e-5 + 1e-5 |a|? home: did the way back restore every bit ("exact"), was it
    announced that it cannot ("announced"), refused ("one way"), or none of these ("")? refused:
    what the error says."""

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
    """What the conversion says of the layer that cannot be undone."""
    report = wtools.convert(*args, **options)
    assert report.summary["verified"]
    return [note for note in report.notes if re.search(r"lost: '?it\b|folded", note)]


def home(source: Path, said: list[str], there: Path, back: Path, **options: Any) -> str:
    """Convert `there` to `back`, and compare it with what was the source of `there`."""
    try:
        said = said + convert(there, back, **options)
    except WtoolsError:
        return "one way"
    if bits(source) == bits(back):
        return "exact"
    return "announced" if said else ""


# --- the directions ------------------------------------------------------------------------------


def keras_to_onnx(config: Config, folder: Path) -> Outcome:
    x, source, target = inputs(config), folder / "m.h5", folder / "m.onnx"
    wanted = save_keras(config, source, 1)(x)
    said = convert(source, target)
    found = run_onnx(target, x)
    way = home(source, said, target, folder / "back.h5", like=str(source))
    return compared(wanted, found, way)


def keras_to_module(config: Config, folder: Path) -> Outcome:
    x, source, target = inputs(config), folder / "m.keras", folder / "m.pt"
    wanted = save_keras(config, source, 2)(x)
    said = convert(source, target, module=folder / "m.py")
    names: dict[str, Any] = {}
    exec(compile((folder / "m.py").read_text(), "m.py", "exec"), names)
    module = names["Model"]()
    module.load_state_dict(torch.load(target, weights_only=True), strict=True)
    way = home(source, said, target, folder / "back.keras", like=str(source))
    return compared(wanted, run_torch(module.eval(), x), way)


def keras_to_torch(config: Config, folder: Path) -> Outcome:
    x, source, target = inputs(config), folder / "m.h5", folder / "m.pt"
    wanted = save_keras(config, source, 3)(x)
    said = convert(source, target)
    module = twin(config, 0)
    module.load_state_dict(torch.load(target, weights_only=True), strict=True)
    return compared(wanted, run_torch(module, x), home(source, said, target, folder / "back.h5"))


def torch_to_keras(config: Config, folder: Path) -> Outcome:
    """Into the names and the graph of a Keras file, whose own weights are others."""
    x, source, target = inputs(config), folder / "t.pt", folder / "t.h5"
    module = twin(config, 4)
    torch.save(module.state_dict(), source)
    save_keras(config, folder / "like.h5", 5)
    said = convert(source, target, like=str(folder / "like.h5"))
    way = home(source, said, target, folder / "back.pt")
    return compared(run_torch(module, x), run_keras(target, x), way)


def onnx_to_torch(config: Config, folder: Path) -> Outcome:
    """What torch exported goes back under the module's names."""
    x, source, target = inputs(config), folder / "m.onnx", folder / "m.pt"
    module = twin(config, 6)
    export(module, source, x, dynamo=config.dynamo)
    convert(source, target)
    again = twin(config, 0)
    again.load_state_dict(torch.load(target, weights_only=True), strict=True)
    torch.save(module.state_dict(), folder / "t.pt")
    way = "exact" if bits(folder / "t.pt") == bits(target) else ""
    return compared(run_onnx(source, x), run_torch(again, x), way)


def torch_to_onnx(config: Config, folder: Path) -> Outcome:
    """Other weights into an exported graph."""
    x, source, target = inputs(config), folder / "t.pt", folder / "m.onnx"
    export(twin(config, 7), folder / "like.onnx", x, dynamo=config.dynamo)
    module = twin(config, 8)
    torch.save(module.state_dict(), source)
    said = convert(source, target, like=str(folder / "like.onnx"))
    way = home(source, said, target, folder / "back.pt")
    return compared(run_torch(module, x), run_onnx(target, x), way)


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
