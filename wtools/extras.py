"""Every optional import, in one place, with the line that installs what is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingExtraError

_EXTRA = {
    "torch": "torch",
    "tensorflow": "keras",
    "keras": "keras",
    "onnxruntime": "verify",
    "onnx": "onnx",
    "matplotlib": "plot",
    "pandas": "pandas",
    "scipy": "scipy",
    "sklearn": "sklearn",
    "skops": "sklearn",
}


def need(name: str, purpose: str) -> ModuleType:
    """The module `name`, or MissingExtraError that says what it is for and how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        extra = _EXTRA.get(package, package)
        raise MissingExtraError(
            f"{purpose} needs the package {package!r} ({error})",
            advice=f"Install it with: pip install 'wtools[{extra}]'",
        ) from error
