"""The order of two models' layers: which order of each to go by, and how far to trust it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from .matching import Matrix
from .sequences import agreement, longest, trust

_UNTESTED = 0.6  # trust in an order where the sequences cannot tell
_LEAST = 0.5  # an agreement below is chance
_FOLLOWED = 4000  # layers of a graph whose ways are followed
_CELLS = 1_500_000  # of a table of two sequences
_PARALLEL, _NEAR = 0.3, 0.5  # what remains of an order between layers that may well be exchanged
_WINDOW = 4  # layers this near one another in a file without a graph may be parallel


@dataclass(frozen=True)
class Item:
    """A layer to be assigned.

    signature: equal for layers that could be one another's. place: where it stands in the graph,
    -1 where none is known. before, after: numbers of the items whose outputs it takes, or which
    take its own; without a graph, its neighbours in the file. roles: what it has of what layers
    of its kind may have.
    """

    path: str
    kind: str
    signature: Hashable
    place: int = -1
    before: frozenset[int] = frozenset()
    after: frozenset[int] = frozenset()
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Side:
    """One model's layers. graph: are their neighbours those of a graph?"""

    items: Sequence[Item]
    graph: bool = False
    _below: list[int] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def parallel(self, one: int, other: int) -> bool:
        """Is neither in the other's way, as far as the graph tells? Without one: are they near?"""
        if not self.graph or len(self) > _FOLLOWED:
            return abs(one - other) < _WINDOW
        below = self._reached()
        return not (below[one] >> other & 1 or below[other] >> one & 1)

    def _reached(self) -> list[int]:
        """For each item the items that its output comes to, as bits."""
        if not self._below:
            self._below.extend([0] * len(self.items))
            by_place = sorted(range(len(self)), key=lambda i: -self.items[i].place)
            for i in by_place:
                for j in self.items[i].after:
                    self._below[i] |= 1 << j | self._below[j]
        return self._below


@dataclass(frozen=True)
class Order:
    """table: for each pair the share of the ways to lay both orders side by side that have it.
    trust: 0 where the orders have nothing to do with one another, to 1. tested: could it be seen,
    or are nearly all layers alike?
    """

    table: Matrix
    trust: float
    tested: bool = True

    def among(self, rows: Sequence[int], columns: Sequence[int], one: Side, other: Side) -> Matrix:
        """The part of the table for layers of one signature.

        Where two of them are parallel their order means little: each then has most of what
        speaks for the other.
        """
        if not self.table.size or not self.trust:
            return np.zeros((len(rows), len(columns)))
        own = self.table[np.ix_(rows, columns)]
        if len(rows) == len(columns):
            own = np.maximum(own, 0.5 * np.eye(len(rows)))
        by_row, by_column = _exchanged(own, rows, one), _exchanged(own.T, columns, other).T
        if one.graph != other.graph:  # the side that has a graph knows
            loose = by_row if one.graph else by_column
        else:
            loose = np.minimum(by_row, by_column) if one.graph else by_row
        left = _PARALLEL if one.graph or other.graph else _NEAR
        return self.trust * (left * own + (1 - left) * loose)


def _exchanged(table: Matrix, rows: Sequence[int], side: Side) -> Matrix:
    """Each row as the best of its own and those of its parallels."""
    found = table.copy()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            if i != j and side.parallel(one, other):
                np.maximum(found[i], table[j], out=found[i])
    return found


def order_of(one: Side, other: Side) -> Order:
    """By the orders of both that agree best.

    A model's order is that of its graph, of its file, or of the numbers by which Keras tells
    layers apart that were given no name, kind by kind.
    """
    if not len(one) or not len(other) or len(one) * len(other) > _CELLS:
        return Order(np.zeros((0, 0)), 0.0)
    known = {item.signature for item in one.items} & {item.signature for item in other.items}
    number = {signature: i for i, signature in enumerate(sorted(known, key=repr))}
    best: tuple[int, list[int], list[int]] = (-1, [], [])
    for by_kind in (False, True):
        for rows, columns in product(_ways(one, by_kind), _ways(other, by_kind)):
            rows = [i for i in rows if one.items[i].signature in known]
            columns = [j for j in columns if other.items[j].signature in known]
            length = longest(_numbers(one, rows, number), _numbers(other, columns, number))
            if length > best[0]:
                best = length, rows, columns
    _, rows, columns = best
    a, b = _numbers(one, rows, number), _numbers(other, columns, number)
    trusted = trust(a, b)
    table = np.zeros((len(one), len(other)))
    table[np.ix_(rows, columns)] = agreement(a, b)
    sure = _UNTESTED if trusted is None else trusted
    return Order(table, sure if sure >= _LEAST else 0.0, trusted is not None)


def _numbers(side: Side, rows: Sequence[int], number: dict[Hashable, int]) -> list[int]:
    return [number[side.items[i].signature] for i in rows]


def _ways(side: Side, by_kind: bool) -> Iterator[list[int]]:
    """Ways to put a model in order: the file's, the graph's, that of numbers in the names."""
    items = side.items
    kinds = [item.kind if by_kind else "" for item in items]
    everything = range(len(items))
    yield sorted(everything, key=lambda i: (kinds[i], i))
    if side.graph:
        yield sorted(everything, key=lambda i: (kinds[i], items[i].place, i))
    if by_kind:
        found = [re.search(r"_(\d{1,9})$", item.path) for item in items]
        counted = [int(match[1]) if match else -1 for match in found]
        if sum(match is not None for match in found) > len(items) / 2:
            yield sorted(everything, key=lambda i: (kinds[i], counted[i], i))
