"""Two sequences of layers beside one another: which pairs agree with the order of both.

Layers are compared by what they are (kind and sizes, as numbers that are equal or not). Over all
ways to lay the sequences side by side, longer agreements count for more, exponentially: a pair
that every best way has gets 1, one of two equally good ways 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GAIN = 10.0  # of one more agreeing pair, in nats: only equally long agreements share
_CHANCES = 5  # shuffled sequences that tell how long an agreement is by chance

Matrix = NDArray[np.float64]
Numbers = Sequence[int] | NDArray[np.int64]


def longest(one: Numbers, other: Numbers) -> int:
    """The length of the longest common subsequence."""
    a, b = np.asarray(one), np.asarray(other)
    if not len(a) or not len(b):
        return 0
    row = np.zeros(len(b) + 1, np.int64)
    for value in a:
        found = np.maximum(row[1:], row[:-1] + (b == value))
        row[1:] = np.maximum.accumulate(found)
    return int(row[-1])


def trust(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Do the two run in the same order? 0 where no more than shuffled ones, 1 where wholly.

    None where the sequences cannot tell, because nearly all of it is alike.
    """
    most = min(len(one), len(other))
    if not most:
        return None
    rng = np.random.default_rng(len(one) * 7919 + len(other))
    chance = float(np.mean([longest(rng.permutation(one), other) for _ in range(_CHANCES)]))
    if most - chance < max(2.0, 0.05 * most):
        return None
    return float(np.clip((longest(one, other) - chance) / (most - chance), 0.0, 1.0))


def agreement(one: Sequence[int], other: Sequence[int]) -> Matrix:
    """(n, m): the share of each pair in all ways to lay the sequences side by side."""
    a, b = np.asarray(one), np.asarray(other)
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    same = a[:, None] == b[None, :]
    forward = _sums(same)
    backward = _sums(same[::-1, ::-1])[::-1, ::-1]
    whole = forward[-1, -1]
    through = forward[:-1, :-1] + _GAIN + backward[1:, 1:] - whole
    return np.where(same, np.exp(np.minimum(through, 0.0)), 0.0)


def _sums(same: NDArray[np.bool_]) -> Matrix:
    """(n + 1, m + 1): the logarithm of the sum over all ways up to each corner.

    Cells of one anti-diagonal depend on the two before it alone, and are computed at once. Of
    the ways that differ in nothing but the order of their gaps one is counted: those in which a
    gap in `other` is not followed by one in `one`.
    """
    n, m = same.shape
    least = -1e30
    paired = np.full((n + 1, m + 1), least)  # the last step was a pair (or nothing yet)
    passed = np.full((n + 1, m + 1), least)  # ... a layer of the first without one
    skipped = np.full((n + 1, m + 1), least)  # ... a layer of the second without one
    paired[0, 0] = 0.0
    for diagonal in range(1, n + m + 1):
        i = np.arange(max(0, diagonal - m), min(n, diagonal) + 1)
        j = diagonal - i
        inner, up, left = (i > 0) & (j > 0), i > 0, j > 0
        x, y = i[inner], j[inner]
        before = np.logaddexp(
            np.logaddexp(paired[x - 1, y - 1], passed[x - 1, y - 1]), skipped[x - 1, y - 1]
        )
        paired[x, y] = np.where(same[x - 1, y - 1], before + _GAIN, least)
        x, y = i[up], j[up]
        passed[x, y] = np.logaddexp(paired[x - 1, y], passed[x - 1, y])
        x, y = i[left], j[left]
        skipped[x, y] = np.logaddexp(
            np.logaddexp(paired[x, y - 1], passed[x, y - 1]), skipped[x, y - 1]
        )
    return np.logaddexp(np.logaddexp(paired, passed), skipped)
