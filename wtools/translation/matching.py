"""The best assignment in a table of scores, and how much worse the best one without a pair is.

Shortest augmenting paths (Jonker and Volgenant, 1987) for the assignment; for the second
question, the shortest cycle through each pair in the reduced costs (Floyd and Warshall).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]


def best(scores: Matrix) -> tuple[Indices, Matrix]:
    """(column of each row, loss of each row) of the assignment with the largest sum.

    scores: (n, m), n at most m. The loss of a row is what the sum loses if the row may not have
    its column: 0 where another assignment is as good; inf where there is no other (1 x 1).
    """
    n, m = scores.shape
    cost = np.zeros((m, m))  # rows that stand for no layer take the columns that are left
    cost[:n] = -scores
    columns, slack = _assigned(cost)
    return columns[:n], _losses(slack[:, columns])[:n]


def _assigned(cost: Matrix) -> tuple[Indices, Matrix]:
    """(column of each row, reduced costs) of the cheapest assignment of a square table."""
    size = len(cost)
    by_row, by_column = np.zeros(size), np.zeros(size + 1)
    owner = np.full(size + 1, -1)  # row of each column; the last column is where a row begins
    for row in range(size):
        owner[size], at = row, size
        shortest = np.full(size, np.inf)
        came_from = np.full(size, size)
        used = np.zeros(size + 1, bool)
        while True:
            used[at] = True
            free = ~used[:size]
            reduced = cost[owner[at]] - by_row[owner[at]] - by_column[:size]
            better = free & (reduced < shortest)
            shortest[better] = reduced[better]
            came_from[better] = at
            step = np.where(free, shortest, np.inf)
            following = int(step.argmin())
            delta = step[following]
            by_row[owner[used]] += delta
            by_column[used] -= delta
            shortest[free] -= delta
            at = following
            if owner[at] < 0:
                break
        while at != size:
            owner[at] = owner[came_from[at]]
            at = int(came_from[at])
    columns = np.empty(size, np.int64)
    columns[owner[:size]] = np.arange(size)
    slack = cost - by_row[:, None] - by_column[None, :size]
    return columns, np.maximum(slack, 0.0)


def _losses(exchange: Matrix) -> Matrix:
    """The cheapest cycle of exchanges through each row; exchange[i, k]: i takes what k has."""
    step = exchange.copy()
    np.fill_diagonal(step, np.inf)
    paths = step.copy()
    for via in range(len(paths)):
        np.minimum(paths, paths[:, via, None] + paths[None, via], out=paths)
    return np.asarray(np.diagonal(paths).copy())
