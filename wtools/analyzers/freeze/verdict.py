"""What became of one tensor in fine-tuning, from the figures of its change alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...errors import WtoolsError
from ...tree import Tensor
from ..casts import GRIDS, Fit, Grid, hidden_step, spread
from ..change import Change

TINY = 1e-6  # relative L2: some sixteen units of float32's rounding

# what can only be said to have stayed, what has moved, what cannot be compared
STATES = (
    *("identical", "rounding", "ambiguous", "tiny", "moved"),
    *("resized", "added", "missing", "unreadable"),
)
STAYED = frozenset({"identical", "rounding"})
MOVED = frozenset({"tiny", "moved"})
_USUAL = frozenset({"float32", "float16", "bfloat16"})  # values of fewer bits are rarely kept so
_EVIDENCE = 32  # elements that no chance lets fit a grid


@dataclass(frozen=True)
class Verdict:
    """state: one of STATES. grid: the rounding that explains it. hidden: the step of every
    element that this rounding hides with a chance of at most 5 %. why: in words, where that helps.
    """

    state: str
    grid: str = ""
    hidden: float | None = None
    why: str = ""


def verdict(
    x: Tensor,
    y: Tensor,
    change: Change | WtoolsError,
    tiny: float = TINY,
    seen: Collection[str] = (),
) -> Verdict:
    """Of the elements that were compared; the shapes may differ.

    seen: grids that explain larger tensors of the same model. A grid on which weights are rarely
    kept explains a few elements by chance; they need such company.
    """
    if isinstance(change, WtoolsError):
        return Verdict("unreadable", why=change.reason)
    if not change.changed:
        if x.dtype == y.dtype:
            return Verdict("identical")
        return Verdict("rounding", grid=y.dtype, why="the same values in another dtype")
    fits = [
        (grid, fit)
        for grid, fit in zip(GRIDS, change.casts.fits, strict=True)
        if fit.credible and (_usual(grid, x, y) or fit.kept >= _EVIDENCE or grid.name in seen)
    ]
    for grid, fit in fits:
        if fit.forward:
            return Verdict("rounding", grid.name, hidden_step(fit))
    for grid, fit in fits:
        if fit.backward and (_usual(grid, x, y) or spread(fit)):
            return _backward(grid.name, fit, change, tiny)
    if change.casts.close:
        both = f"{x.dtype} and {y.dtype}"
        return Verdict("ambiguous", both, why="within what rounding to either dtype may have done")
    return Verdict(_size(change, tiny))


def _usual(grid: Grid, x: Tensor, y: Tensor) -> bool:
    return not grid.cut and (grid.dtype in _USUAL or grid.dtype in (x.dtype, y.dtype))


def unusual_grids(x: Tensor, y: Tensor, change: Change | WtoolsError) -> set[str]:
    """The rarely used grids that explain a tensor beyond chance."""
    if not isinstance(change, Change) or not change.changed:
        return set()
    fits = zip(GRIDS, change.casts.fits, strict=True)
    return {
        grid.name
        for grid, fit in fits
        if not _usual(grid, x, y) and fit.forward and fit.kept >= _EVIDENCE
    }


def _backward(grid: str, fit: Fit, change: Change, tiny: float) -> Verdict:
    """BASE is TUNED rounded: a copy of fewer digits, or a movement of less than half a unit?"""
    spreads = spread(fit)
    if spreads:
        return Verdict("rounding", grid, why=f"BASE is TUNED rounded to {grid}")
    if spreads is None:
        why = f"BASE is TUNED rounded to {grid}, or moved by less than half a unit: too few to tell"
        return Verdict("ambiguous", grid, why=why)
    why = f"by less than half a unit of {grid}, but not as rounding spreads"
    return Verdict(_size(change, tiny), why=why)


def _size(change: Change, tiny: float) -> str:
    return "moved" if change.nonfinite or not change.relative_l2 <= tiny else "tiny"
