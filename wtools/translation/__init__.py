"""Translating weights from one framework's conventions into another's.

canonical(tree)             the layers of a tree, whichever convention it follows
spelled(layer, "torch")     a layer's tensors as a framework stores them
translate(tree, "torch")    a whole tree, lazily; `translated` tells what was done to each tensor
"""

from __future__ import annotations

from .canonical import canonical, convention_of, stated
from .model import Canonical, CanonicalLayer, Part
from .spelling import Spelled, spelled
from .trees import Entry, Translation, translate, translated

__all__ = [
    "Canonical",
    "CanonicalLayer",
    "Entry",
    "Part",
    "Spelled",
    "Translation",
    "canonical",
    "convention_of",
    "spelled",
    "stated",
    "translate",
    "translated",
]
