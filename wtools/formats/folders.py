"""Which model a folder holds, and what else in it belongs to that model.

A folder as transformers, diffusers, PEFT or Keras leave it: a weights file or an index with its
shards, a config.json, a tokenizer, sometimes the same weights in a second format, sometimes the
optimizer of a training run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MissingError, UsageError, WtoolsError
from ..files import Source
from ..tree import WeightTree
from . import shards

# In the order in which transformers and diffusers themselves look for them.
_KNOWN = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "tf_model.h5",
    "model.onnx",
)
# What a training run leaves beside the model.
_ASIDE = ("optimizer.", "scheduler.", "scaler.", "rng_state", "training_args.bin", "trainer_state")
_CONFIG = 1 << 20  # bytes of config.json that are read at most


@dataclass(frozen=True)
class Model:
    """One model of a folder: a file, or shards without an index (then `shards` names them)."""

    name: str
    shards: tuple[str, ...] = ()


def open_folder(folder: str, *, format: str | None = None, root: str | None = None) -> WeightTree:
    """The folder's model. Raises MissingError and UsageError as `choose` does."""
    from . import open

    model, beside = choose(folder)
    if model.shards:
        tree = shards.read_set(folder, model.shards, root=root)
    else:
        index = model.name.endswith(shards.EXTENSIONS)
        tree = open(os.path.join(folder, model.name), format=None if index else format, root=root)
    notes = list(tree.notes)
    if beside:
        notes.append(f"{model.name} was opened; beside it: {', '.join(beside)}")
    architecture = tree.architecture
    if architecture is None:
        architecture, note = _config(folder)
        notes += note
    return tree.replace(tree.values(), notes=notes, architecture=architecture)


def choose(folder: str) -> tuple[Model, list[str]]:
    """The folder's model, and the names of others that are the same one in another form.

    Raises MissingError where there is none, UsageError where there are several and nothing says
    which is meant.
    """
    models = _models(_files(folder))
    if not models:
        raise MissingError("the folder holds no weights file", path=folder)
    by_name = {model.name: model for model in models}
    known = [name for name in _KNOWN if name in by_name]
    safe = [name for name in by_name if ".safetensors" in name]
    if len(models) == 1:
        chosen = models[0]
    elif known or len(safe) == 1:
        chosen = by_name[(known or safe)[0]]
    else:
        raise UsageError(
            f"holds {len(models)} models: {', '.join(sorted(by_name)[:8])}",
            path=folder,
            advice="Name one of them.",
        )
    return chosen, [name for name in by_name if name != chosen.name]


def _files(folder: str) -> list[str]:
    """Names of the regular files (and links to such) in the folder, hidden ones left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_file() and not e.name.startswith("."))
    except OSError as error:
        raise MissingError(f"cannot be listed: {error.strerror}", path=folder) from error


def _models(files: Sequence[str]) -> list[Model]:
    """The models among `files`: indexes, sets of shards without one, single files."""
    indexes = [file for file in files if file.endswith(shards.EXTENSIONS)]
    covered = {_without(file, shards.EXTENSIONS) for file in indexes}
    weights = [f for f in files if f.endswith(_extensions()) and f not in indexes]
    singles: list[Model] = []
    sets: dict[str, Model] = {}
    for file in weights:
        series = shards.series(file)
        if series is None or not series.total:
            if series is None or series.stem not in covered:
                singles.append(Model(file))
        elif series.stem + series.end not in covered:
            names = series.names()
            sets[names[0]] = Model(names[0], tuple(names))
    found = [*map(Model, indexes), *sets.values()]
    main = [model for model in singles if not model.name.startswith(_ASIDE)]
    return found + (main if main or found else singles)


def _without(file: str, endings: Sequence[str]) -> str:
    return next((file[: -len(ending)] for ending in endings if file.endswith(ending)), file)


def _extensions() -> tuple[str, ...]:
    from . import formats

    return tuple({ending for format in formats() for ending in format.EXTENSIONS})


def _config(folder: str) -> tuple[Any, list[str]]:
    """What the folder says of the architecture, by the library that wrote it; and notes."""
    for file, keys, library in (
        ("config.json", ("model_type", "architectures"), "transformers"),
        ("config.json", ("_class_name",), "diffusers"),
        ("adapter_config.json", ("peft_type",), "peft"),
    ):
        path = os.path.join(folder, file)
        if not os.path.exists(path):
            continue
        try:
            with Source(path) as source:
                if source.size > _CONFIG:
                    return None, [f"{file} of {source.size} bytes was not read"]
                value = json.loads(source.pread(0, source.size))
        except (WtoolsError, ValueError, RecursionError):
            return None, [f"{file} is no readable JSON"]
        if isinstance(value, dict) and any(key in value for key in keys):
            return {library: value}, []
    return None, []
