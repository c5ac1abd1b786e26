"""Whether one tensor is the other, rounded: to the dtype it has or to one it has gone through.

A grid is the set of values of a dtype. B is A rounded when every element of B is the nearest of
one grid to that of A, whatever dtype either is stored in: a float32 file that went through
bfloat16 holds values of bfloat16's grid. All is computed in float64, where rounding to a grid is
`rint` between two scalings by a power of two, exact and to nearest even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes

Array = NDArray[Any]

_EXPONENT = np.uint64(0x7FF0000000000000)


@dataclass(frozen=True)
class Grid:
    """The values of a floating-point type: `digits` of mantissa after the first, normal from
    2**least up to `most`; `cut`: reached by cutting digits off, not by rounding to nearest.
    """

    name: str
    dtype: str
    digits: int
    least: int
    most: float
    cut: bool = False

    def units(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distance of neighbours on the grid around each of x, which are finite."""
        power = (x.view(np.uint64) & _EXPONENT).view(np.float64)
        power *= 2.0**-self.digits
        return np.maximum(power, 2.0 ** (self.least - self.digits), out=power)

    def rounded(self, x: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
        """x on the grid; beyond `most`, infinite."""
        scaled = x / units
        (np.trunc if self.cut else np.rint)(scaled, out=scaled)
        scaled *= units
        if self.most < 3e38:
            beyond = np.abs(scaled) > self.most
            if beyond.any():
                scaled[beyond] = np.copysign(np.inf, scaled[beyond])
        return scaled


# IEEE 754; bfloat16: float32's exponent; OCP 8-bit Floating Point 1.0.
GRIDS = (
    Grid("float32", "float32", 23, -126, float(np.finfo(np.float32).max)),
    Grid("float16", "float16", 10, -14, 65504.0),
    Grid("bfloat16", "bfloat16", 7, -126, float(np.float32(255 * 2.0**120))),
    Grid("bfloat16, digits cut off", "bfloat16", 7, -126, math.inf, cut=True),
    Grid("float8_e4m3fn", "float8_e4m3fn", 3, -6, 448.0),
    Grid("float8_e5m2", "float8_e5m2", 2, -14, 57344.0),
)


@dataclass(frozen=True)
class Fit:
    """How A and B fit one grid. Parts add up.

    forward: is B what A rounds to? backward: is A what B rounds to? per_unit: the sum of 1 / unit
    over B's elements, while forward. off: how many elements of B lie beside A's, squares: the sum
    of their squared distances in units, while backward. kept, flushed: elements that are zero on
    neither side, and on one, while either.
    """

    forward: bool = True
    backward: bool = True
    per_unit: float = 0.0
    off: int = 0
    squares: float = 0.0
    kept: int = 0
    flushed: int = 0

    @property
    def credible(self) -> bool:
        """Not a tensor of zeros from one of small numbers: nobody stores that."""
        return self.kept > self.flushed

    def __add__(self, other: Fit) -> Fit:
        return Fit(
            self.forward and other.forward,
            self.backward and other.backward,
            self.per_unit + other.per_unit,
            self.off + other.off,
            self.squares + other.squares,
            self.kept + other.kept,
            self.flushed + other.flushed,
        )


@dataclass(frozen=True)
class Casts:
    """The fits to each of GRIDS; `close`: does B lie within both dtypes' rounding of A?"""

    fits: tuple[Fit, ...] = (Fit(),) * len(GRIDS)
    close: bool = True

    def __add__(self, other: Casts) -> Casts:
        added = tuple(x + y for x, y in zip(self.fits, other.fits, strict=True))
        return Casts(added, self.close and other.close)

    @property
    def over(self) -> bool:
        """Can nothing more be found?"""
        return not self.close and not any(fit.forward or fit.backward for fit in self.fits)


_NOTHING = Casts((Fit(False, False),) * len(GRIDS), close=False)


def casts(x: Array, y: Array, a: str, b: str, so_far: Casts) -> Casts:
    """The fits of some more elements x of A and y of B, as reals; dtypes a and b.

    so_far: the sum of the fits of elements before, so that no refuted fit is tried again.
    """
    kinds = {dtypes.get(a).kind, dtypes.get(b).kind}
    if so_far.over or kinds != {"float"}:
        return _NOTHING
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        return _with_infinities(x, y, a, b, so_far, finite)
    widest = max(dtypes.get(a).bits, dtypes.get(b).bits)
    with np.errstate(all="ignore"):
        fits = tuple(
            _fit(x, y, grid, known if dtypes.get(grid.dtype).bits <= widest else Fit(False, False))
            for grid, known in zip(GRIDS, so_far.fits, strict=True)
        )
        return Casts(fits, so_far.close and _close(x, y, a, b))


def _fit(x: Array, y: Array, grid: Grid, known: Fit) -> Fit:
    forward, backward = known.forward, known.backward and not grid.cut
    per_unit, off, squares = 0.0, 0, 0.0
    if forward:
        forward = bool(np.array_equal(grid.rounded(x, grid.units(x)), y))
        per_unit = float((1.0 / grid.units(y)).sum()) if forward else 0.0
    if backward:
        units = grid.units(y)
        backward = bool(np.array_equal(grid.rounded(y, units), x))
        if backward:
            away = (y - x) / units
            off, squares = int(np.count_nonzero(away)), float(away @ away)
    if not (forward or backward):
        return Fit(False, False)
    zeros = np.count_nonzero((x == 0) | (y == 0))
    flushed = zeros - np.count_nonzero((x == 0) & (y == 0))
    return Fit(forward, backward, per_unit, off, squares, x.size - int(zeros), int(flushed))


def _with_infinities(
    x: Array, y: Array, a: str, b: str, so_far: Casts, finite: NDArray[np.bool_]
) -> Casts:
    """Elements that are not finite on both sides fit where they are the same, or overflowed."""
    p, q = x[~finite], y[~finite]
    same = (p == q) | (np.isnan(p) & np.isnan(q))
    rest = casts(x[finite], y[finite], a, b, so_far) if finite.any() else so_far
    if same.all():
        return rest
    with np.errstate(all="ignore"):
        beyond = [
            (
                bool((same | (np.abs(p) > grid.most) & ~np.isfinite(q)).all()),
                bool((same | (np.abs(q) > grid.most) & ~np.isfinite(p)).all()),
            )
            for grid in GRIDS
        ]
    fits = tuple(
        replace(fit, forward=fit.forward and up, backward=fit.backward and down)
        for fit, (up, down) in zip(rest.fits, beyond, strict=True)
    )
    return Casts(fits, close=False)


def _close(x: Array, y: Array, a: str, b: str) -> bool:
    """Two dtypes, both narrow, and no element farther apart than both may have rounded it?"""
    grids = {grid.dtype: grid for grid in GRIDS if not grid.cut}
    if a == b or "float32" in (a, b) or a not in grids or b not in grids:
        return False
    reach = (grids[a].units(x) + grids[b].units(y)) / 2
    return bool((np.abs(y - x) <= reach).all())


# --- what follows ------------------------------------------------------------------------------

ENOUGH = 64  # elements off the grid from which the spread of their distances tells rounding
_SPREAD = 1 / 12  # the mean square of a number uniform in [-1/2, 1/2], its variance is 1/180
_SIGMAS = 5.0
_SLACK = 0.01  # wider types have few digits more: their distances are steps, not a continuum


def spread(fit: Fit) -> bool | None:
    """Are the distances of B's elements to A's spread as rounding spreads them? None: too few.

    What rounding cuts off is uniform between minus and plus half a unit. A step of training is
    not: it is of one size whatever the unit, most often far below half of it.
    """
    if not fit.off:
        return None
    mean = fit.squares / fit.off
    allowed = _SIGMAS * math.sqrt(1 / 180 / fit.off)
    if abs(mean - _SPREAD) > allowed + _SLACK:
        return False
    return True if fit.off >= ENOUGH else None


def hidden_step(fit: Fit) -> float:
    """The step of all elements that rounding to the grid hides with a chance of 5 % at most.

    An element moved by s rounds to another value with the chance s / unit, so that none of
    many does with a chance below exp(-s * sum of 1 / unit).
    """
    return -math.log(0.05) / fit.per_unit if fit.per_unit else math.inf
