"""Translating weights from one framework's conventions into another's.

canonical(tree)             the layers of a tree, whichever convention it follows
spelled(layer, "torch")     a layer's tensors as a framework stores them
translate(tree, "torch")    a whole tree, lazily, with what was done to each tensor
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .canonical import canonical, convention_of
    from .model import Canonical, CanonicalLayer, Part
    from .spelling import Spelled, spelled
    from .translate import Entry, Translation, mapping, translate, translated

_HOME = {
    "Canonical": "model",
    "CanonicalLayer": "model",
    "Part": "model",
    "canonical": "canonical",
    "convention_of": "canonical",
    "Spelled": "spelling",
    "spelled": "spelling",
    "Entry": "translate",
    "Translation": "translate",
    "mapping": "translate",
    "translate": "translate",
    "translated": "translate",
}

__all__ = [
    "Canonical",
    "CanonicalLayer",
    "Entry",
    "Part",
    "Spelled",
    "Translation",
    "canonical",
    "convention_of",
    "mapping",
    "spelled",
    "translate",
    "translated",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
