"""Linear models and scalers of scikit-learn: by the class that a file gives, or by `coef_`."""

from __future__ import annotations

from dataclasses import replace

from ..layouts.sklearn import LAYOUTS
from .model import Group, Meaning

KINDS = {name: kind for kind, layout in LAYOUTS.items() for name in layout.classes}
_GUESS = 0.95  # hardly anything else calls its weights so


def stated_estimator(kind: str, leaf: str, group: Group) -> Meaning | None:
    """What an attribute is of an estimator of that class; None for other classes."""
    layout = LAYOUTS.get(KINDS.get(kind, ""))
    if layout is None:
        return None
    role = layout.role_of(leaf)
    axes = layout.roles[role].axes if role else ""
    return Meaning(KINDS[kind], role or leaf, _axes(axes, leaf, group), evidence="config")


def linear_model(group: Group) -> dict[str, Meaning]:
    """`coef_` and `intercept_` beside each other, whatever file they are in."""
    if "coef_" not in group.members:
        return {}
    found = {leaf: stated_estimator("Ridge", leaf, group) for leaf in ("coef_", "intercept_")}
    return {
        leaf: replace(meaning, evidence="name+shape", confidence=_GUESS)
        for leaf, meaning in found.items()
        if meaning is not None and leaf in group.members
    }


def _axes(axes: str, leaf: str, group: Group) -> str:
    """Of one output `i` alone, and no axis for its intercept."""
    rank = len(group.shape(leaf) or ())
    letters = axes.split()
    return " ".join(letters[-rank:]) if 0 < rank <= len(letters) else ""
