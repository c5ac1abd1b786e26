"""The rank of a change: is it a low-rank adapter that was merged, or training of every weight?

By randomized range finding (Halko, Martinsson and Tropp, "Finding structure with randomness",
2011): D times a random matrix of K columns has the rank of D, or K. From a bounded number of
rows: those of a matrix of low rank have its rank, too, unless they are few.

What is full rank but small is not the change but rounding: the result of an addition is rounded
to its dtype, which leaves in each element an error of the variance unit**2 / 12. A singular value
below what a matrix of such errors has is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...tree import Tensor
from ..casts import GRIDS
from ..elements import part, reals

Matrix = NDArray[np.float64]

MOST = 64  # the highest rank that is told
_PROBES = MOST + 16
_ROWS = 256  # rows that are looked at
_ELEMENTS = 1 << 21  # and elements, all in all
_MARGIN = 2.0  # times the largest singular value that rounding alone is expected to have
_CLEAR = 0.5  # of the change's energy that has to stand above rounding


@dataclass(frozen=True)
class Rank:
    """rank: of the change, None where it is above MOST. full: the highest that it could have been,
    by the rows and columns looked at.
    """

    rank: int | None
    full: int

    @property
    def low(self) -> bool:
        """So low that a low-rank adapter explains it?"""
        return self.rank is not None and self.rank <= self.full // 4


def rank_of_change(a: Tensor, b: Tensor, shape: tuple[int, int], seed: int = 0) -> Rank | None:
    """The numerical rank of b - a seen as a matrix of that shape; None if it cannot be told.

    Reads at most 256 rows and 2 M elements where the bytes lie plainly in the file. Raises
    WtoolsError where a tensor cannot be read.
    """
    m, n = shape
    if min(m, n) < 2 or n > _ELEMENTS or a.shape != b.shape:
        return None
    rng = np.random.default_rng(seed)
    count = min(m, _ROWS, max(2, _ELEMENTS // n))
    rows = np.sort(rng.choice(m, count, replace=False))
    x, y = _rows(a, rows, n), _rows(b, rows, n)
    change = y - x
    if not np.isfinite(change).all() or not change.any():
        return None
    noise = _noise(y, change, a.dtype, b.dtype)
    probes = rng.standard_normal((n, min(_PROBES, n)))
    values = np.linalg.svd(change @ probes, compute_uv=False)
    floor = _MARGIN * noise * math.sqrt(n) * (math.sqrt(count) + math.sqrt(probes.shape[1]))
    energy = np.square(values)
    rank = int(np.count_nonzero(values > floor))
    if energy[:rank].sum() < _CLEAR * energy.sum():  # most of it may be rounding
        return None
    return Rank(rank if rank <= MOST else None, min(count, n))


def _rows(tensor: Tensor, rows: NDArray[Any], n: int) -> Matrix:
    """Some rows of a tensor of n columns, in order."""
    found = np.empty((len(rows), n))
    if tensor.raw is not None and n % 8 == 0:
        for i, row in enumerate(rows):
            start = int(row) * n
            blocks = [reals(x, tensor.dtype) for x in part(tensor, start, start + n)]
            found[i] = np.concatenate(blocks)
        return found
    flat = found.reshape(-1)
    position = 0
    for block in tensor.blocks():
        stop = position + block.size
        for i in range(*np.searchsorted(rows, (position // n, -(-stop // n)))):
            first, last = max(rows[i] * n, position), min((rows[i] + 1) * n, stop)
            at = i * n + first - rows[i] * n
            flat[at : at + last - first] = reals(
                block[first - position : last - position], tensor.dtype
            )
        position = stop
    return found


def _noise(y: Matrix, change: Matrix, a: str, b: str) -> float:
    """The root mean square of what rounding added: to the result, and to an update as narrow."""
    grids = {grid.dtype: grid for grid in GRIDS if not grid.cut}
    narrow = min((a, b), key=lambda name: dtypes.get(name).bits)
    grid = grids.get(narrow)
    if grid is None:
        return 0.0
    squares = sum(float(np.square(grid.units(v)).mean()) for v in (y, change))
    return math.sqrt(squares / 12)
