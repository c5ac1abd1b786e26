"""Are the elements of a matrix independent of their places? Training moves whole rows and columns.

A gradient is a sum of outer products: it shifts the sum and the energy of a unit's weights
together, long before the distribution of all weights shows it. Of independent elements with a known
distribution the sums of rows and columns, and of their squares, have known distributions too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tree import Tensor
from ..elements import reals
from ..passing import once
from .laws import Family, Law, moment
from .special import chi2_tail

Array = NDArray[Any]
_MOST = 1 << 22  # elements that are looked at, from the first
_FEW = 8  # elements of a row below which its sum tells little


@dataclass(frozen=True)
class Lines:
    """Of the rows, or of the columns: sums, sums of squares, and how many elements each has."""

    sums: Array
    squares: Array
    length: int


@dataclass(frozen=True)
class Structure:
    """By name of the axis. twins: how many rows repeat an earlier one exactly."""

    axes: dict[str, Lines]
    twins: int = 0


def structure(tensor: Tensor, skip_zero_row: bool = False) -> Structure:
    """The sums along the two axes that are not receptive field: the two longest of the shape."""
    if tensor.ndim < 2:
        return Structure({})
    shape = tensor.shape
    ends = sorted(sorted(range(len(shape)), key=lambda k: -shape[k])[:2])
    rows, inner = _part(shape)
    values = once(tensor, "first", first)
    if values.size < rows * inner:
        return Structure({})
    array = values.reshape(rows, *shape[1:])
    twins = rows - len(np.unique(array.reshape(rows, -1), axis=0)) if rows * inner <= 1 << 20 else 0
    if skip_zero_row:
        array = array[np.abs(array).reshape(rows, -1).max(axis=1) > 0]
    apart = {}
    for name, axis in zip(("first", "second"), ends, strict=True):
        others = tuple(k for k in range(array.ndim) if k != axis)
        if array.shape[axis] > 1 and array.size // array.shape[axis] >= _FEW:
            apart[name] = others
    sums = {name: array.sum(axis=others) for name, others in apart.items()}
    np.square(array, out=array)  # its own copy: no second one
    return Structure(
        {
            name: Lines(sums[name], array.sum(axis=others), array.size // sums[name].size)
            for name, others in apart.items()
        },
        twins,
    )


def _part(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many of the first rows are looked at, and the elements of each."""
    inner = math.prod(shape[1:])
    return max(1, min(shape[0], _MOST // max(1, inner))), inner


def first(tensor: Tensor) -> Array:
    """The elements that `structure` looks at, the first ones, as float64."""
    found, filled = np.empty(min(math.prod(_part(tensor.shape)), tensor.size), np.float64), 0
    for block in tensor.blocks():
        part = reals(block[: found.size - filled], tensor.dtype)
        found[filled : filled + part.size] = part
        filled += part.size
        if filled == found.size:
            break
    return found[:filled]


def independence(found: Structure, law: Law) -> dict[str, float]:
    """p-values by name: do sums and energies scatter as those of independent elements would?"""
    parts = {}
    for name, lines in found.axes.items():
        m, std = lines.length, law.std
        sums = lines.sums / (std * math.sqrt(m))
        parts[f"{name} axis sums"] = _scatter(sums, (moment(law.family, 4) - 3) / m)
        spread = math.sqrt(moment(law.family, 4) - 1)
        energies = (lines.squares / (std * std) - m) / (spread * math.sqrt(m))
        parts[f"{name} axis energies"] = _scatter(energies, _excess(law.family) / m)
    return parts


def _scatter(z: Array, excess: float) -> float:
    """How rare so large, or so small, a variance of standardized numbers is.

    excess: their excess kurtosis, which widens the distribution of their variance; a scaled
    chi-squared one with that mean and variance is taken for it.
    """
    freedom = z.size - 1
    total = float(np.square(z - z.mean()).sum())
    widened = max(0.1, 1 + excess / 2 * freedom / (freedom + 1))
    upper = chi2_tail(total / widened, freedom / widened)
    return min(1.0, 2 * min(upper, 1 - upper))


def _excess(family: Family) -> float:
    """The excess kurtosis of the square of an element: E[(x²-1)⁴] / E[(x²-1)²]² - 3."""
    m4, m6, m8 = (moment(family, power) for power in (4, 6, 8))
    return (m8 - 4 * m6 + 6 * m4 - 3) / (m4 - 1) ** 2 - 3
