"""Which engine runs a file, told from its content; and whether it may."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import formats
from ..errors import MissingError, UnsafeError, UsageError
from ..tree import WeightTree


@dataclass(frozen=True)
class Runnable:
    """A model that an engine can run: `path`, and for bare weights the `module` that takes them
    (a Python file, and after a colon the class or function in it). shown: the path as it was
    given.
    """

    path: str
    engine: str
    module: str = ""
    shown: str = ""


def runnable(path: str | os.PathLike[str], module: str | None = None) -> Runnable:
    """How to run the model at `path`.

    module: "model.py" or "model.py:Class", a file of the user's own, which is executed with the
    weights of `path`. It is ignored for a file that holds a whole model.

    Raises UsageError for weights without a module, UnsafeError for a Keras model with code in it,
    MissingError for a module file that is not there, and what `formats.open` raises.
    """
    shown, path = os.fspath(path), os.path.abspath(path)
    with formats.open(shown) as tree:
        if tree.format == "onnx":
            return Runnable(path, "onnxruntime", shown=shown)
        if tree.format == "skops":
            return Runnable(path, "sklearn", shown=shown)
        if tree.format == "keras" and _config(tree) is not None:
            _refuse_code(tree)
            return Runnable(path, "keras", shown=shown)
        if tree.format == "pytorch" and "torchscript" in tree.variant.lower():
            return Runnable(path, "torch", shown=shown)
    if module is None:
        raise UsageError(
            f"holds weights ({tree.format}), not a model that could be run",
            path=shown,
            advice="--module model.py[:Class] names the PyTorch module that takes them.",
        )
    file, colon, name = module.rpartition(":")
    if not colon or "/" in name or name.endswith(".py"):
        file, name = module, ""
    if not os.path.isfile(file):
        raise MissingError("no such module file", path=file)
    return Runnable(path, "torch", f"{os.path.abspath(file)}:{name}", shown)


def _config(tree: WeightTree) -> Any:
    known = tree.architecture
    return known.get("keras") if isinstance(known, Mapping) else None


def _refuse_code(tree: WeightTree) -> None:
    """Raise UnsafeError where loading the model would run code of its file, or import by name.

    Keras has its own check (`safe_mode`); this one does not depend on its version, nor on the
    format: before 3.11.3 legacy .h5 files went past Keras' (CVE-2025-9905).
    """
    for entry in _entries(_config(tree)):
        kind, module = entry.get("class_name"), entry.get("module")
        name = str(kind).rpartition(">")[2]
        if name in ("Lambda", "__lambda__", "__callable__"):
            raise UnsafeError(
                f"has a {name} with code in it, which loading it in Keras would run",
                path=tree.path or None,
                place=_named(entry),
            )
        if isinstance(module, str) and module.partition(".")[0] not in ("keras", "builtins", ""):
            raise UnsafeError(
                f"has {name} of the module {module!r}, which loading it in Keras would import",
                path=tree.path or None,
                place=_named(entry),
            )


def _named(entry: Mapping[str, Any]) -> str | None:
    config = entry.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    return f"layer {name!r}" if isinstance(name, str) else None


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object with a class_name in a config, however deep."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, Mapping):
            if "class_name" in one:
                yield one
            stack += one.values()
        elif isinstance(one, (list, tuple)):
            stack += one
