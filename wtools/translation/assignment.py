"""Which layer of one model is which of another's: an assignment, with a confidence for each pair.

Only layers of one signature (kind and canonical sizes) can be a pair. Among them these speak for
one: the order of both models, as far as the two orders are seen to agree; words and numbers of
the names; the blocks that both stand in and the layers before and after them, once those are
assigned themselves. Each signature is an assignment problem of its own; they are solved in a few
rounds, since each says something of its neighbours. What a pair's confidence is made of is how
much the whole would lose without it; where it loses nothing, nothing tells the layers apart, and
they are named as ambiguous instead of assigned.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .matching import Matrix, best
from .ordering import Item, Side, order_of
from .similarity import Comparison, Names

__all__ = ["SURE", "Ambiguity", "Assignment", "Item", "Pair", "Side", "assign"]

SURE = 0.9  # measured: of pairs with at least this confidence nearly all are right
_WORDS, _NUMBERS, _BLOCK, _NEIGHBOURS, _ROLES = 0.5, 1.0, 0.8, 1.0, 0.1
_DECIDED = 0.7  # below it hardly more than half of the pairs are right: they are named instead
_ROUNDS = 5
_SCALE = 0.25  # a loss that makes a pair likely
_NOTHING = 0.04  # a loss that says nothing
_TELLING = 0.1  # a difference between names that decides by itself
_PARALLELS = 0.85  # at most, for parallel layers that only their order tells apart
_UNTESTED = 0.8  # at most, for one layer after another where all are alike
_MOST = 600  # layers of one signature that are weighed pair by pair
_PREFIXES = 6


@dataclass(frozen=True)
class Pair:
    """Items number `source` and `target` belong together. reason: what speaks for it."""

    source: int
    target: int
    confidence: float
    reason: str


@dataclass(frozen=True)
class Ambiguity:
    """Items of one signature that nothing tells apart."""

    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class Assignment:
    """pairs: in the order of the targets. order: trust in the models' orders, 0 to 1."""

    pairs: Sequence[Pair]
    ambiguities: Sequence[Ambiguity] = ()
    order: float = 0.0


@dataclass
class _Found:
    """What is assigned so far: the target of each source item, and how much that is worth."""

    target: dict[int, int] = field(default_factory=dict)
    weight: dict[int, float] = field(default_factory=dict)


Group = tuple[list[int], list[int]]


def assign(source: Side, target: Side, fixed: Mapping[int, int] | None = None) -> Assignment:
    """The pairs of two models' layers. fixed: source item -> target item, beyond doubt."""
    return _Assigning(source, target, dict(fixed or {})).run()


class _Assigning:
    def __init__(self, source: Side, target: Side, fixed: dict[int, int]) -> None:
        self.source, self.target, self.fixed = source, target, fixed
        self.names = Comparison(_names(source), _names(target))
        self.order = order_of(source, target)
        self.prefixes = _prefixes(source.items), _prefixes(target.items)
        self.groups = _groups(source.items, target.items, fixed)
        self.static = [self._static(*group) for group in self.groups]
        adjacency = self.order.trust if self.order.trust else 0.0
        self.neighbourly = _NEIGHBOURS
        for side in (source, target):  # neighbours in a file mean what its order means
            self.neighbourly *= 1.0 if side.graph else adjacency
        self.found = self._fixed()

    def _fixed(self) -> _Found:
        return _Found(dict(self.fixed), dict.fromkeys(self.fixed, 1.0))

    def run(self) -> Assignment:
        pairs: list[Pair] = []
        ambiguities: list[Ambiguity] = []
        for number in range(_ROUNDS):
            pairs, ambiguities = [], []
            found = self._fixed()
            votes = self._votes() if number else {}
            for group, static in zip(self.groups, self.static, strict=True):
                new, doubts = self._solve(group, static, votes, last=number > 0)
                pairs += new
                ambiguities += doubts
                for pair in new:
                    found.target[pair.source] = pair.target
                    found.weight[pair.source] = max(0.0, 2 * pair.confidence - 1)
            settled = number > 1 and found.target == self.found.target
            self.found = found
            if settled:
                break
        decided = [pair for pair in pairs if pair.confidence >= _DECIDED]
        decided.sort(key=lambda pair: pair.target)
        rows, columns = {p.source for p in decided}, {p.target for p in decided}
        told = {row for a in ambiguities for row in a.source}
        told |= {p.source for p in pairs if p.confidence < _DECIDED}
        open_ones = []
        for own, there in self.groups:
            left = tuple(row for row in own if row not in rows)
            if told & set(left):
                open_ones.append(Ambiguity(left, tuple(c for c in there if c not in columns)))
        return Assignment(decided, open_ones, self.order.trust)

    def _static(self, rows: list[int], columns: list[int]) -> dict[str, Matrix]:
        """What does not change from round to round; nothing where it would be too much."""
        if max(len(rows), len(columns)) > _MOST:
            return {}
        one, other = self.source.items, self.target.items
        roles = [[_alike(one[r].roles, other[c].roles) for c in columns] for r in rows]
        return {
            "order": self.order.among(rows, columns, self.source, self.target),
            "names": _WORDS * self.names.words(rows, columns)
            + _NUMBERS * self.names.numbers(rows, columns) ** 2,
            "roles": _ROLES * np.array(roles),
        }

    # --- what the assigned say of the others -----------------------------------------------------

    def _votes(self) -> dict[tuple[str, str], float]:
        """How much of a block of the source is in one of the target's: 0 to 1 for each two."""
        votes: dict[tuple[str, str], float] = defaultdict(float)
        counts = [Counter(prefix for own in side for prefix in own) for side in self.prefixes]
        for row, column in self.found.target.items():
            for a in self.prefixes[0][row]:
                for b in self.prefixes[1][column]:
                    votes[a, b] += self.found.weight[row]
        return {(a, b): 2 * vote / (counts[0][a] + counts[1][b]) for (a, b), vote in votes.items()}

    def _blocks(
        self, rows: list[int], columns: list[int], votes: Mapping[tuple[str, str], float]
    ) -> Matrix:
        found = np.zeros((len(rows), len(columns)))
        cache: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}
        for i, row in enumerate(rows):
            a = self.prefixes[0][row]
            for j, column in enumerate(columns):
                b = self.prefixes[1][column]
                if (a, b) not in cache:
                    cache[a, b] = _common(a, b, votes)
                found[i, j] = cache[a, b]
        return found

    def _neighbours(self, rows: list[int], columns: list[int]) -> Matrix:
        """Are the layers before, and those after, assigned to one another? One of many is less."""
        found = np.zeros((len(rows), len(columns)))
        place = {column: j for j, column in enumerate(columns)}
        for i, row in enumerate(rows):
            own = self.source.items[row]
            for near, before in ((own.before, True), (own.after, False)):
                gains: dict[int, float] = {}
                for other in near:
                    if other not in self.found.target:
                        continue
                    there = self.target.items[self.found.target[other]]
                    for column in there.after if before else there.before:
                        if column in place:
                            gain = self.found.weight[other] / len(near) ** 0.5
                            gains[column] = max(gains.get(column, 0.0), gain)
                for column, gain in gains.items():
                    found[i, place[column]] += 0.5 * gain
        return found

    # --- one signature ---------------------------------------------------------------------------

    def _solve(
        self,
        group: Group,
        static: Mapping[str, Matrix],
        votes: Mapping[tuple[str, str], float],
        *,
        last: bool,
    ) -> tuple[list[Pair], list[Ambiguity]]:
        rows, columns = group
        if not static:
            return [], [Ambiguity(tuple(rows), tuple(columns))]
        parts = dict(static)
        if last:
            parts["block"] = _BLOCK * self._blocks(rows, columns, votes)
            parts["neighbours"] = self.neighbourly * self._neighbours(rows, columns)
        scores = sum(parts.values(), np.zeros((len(rows), len(columns))))
        turned = len(rows) > len(columns)
        chosen, losses = best(scores.T if turned else scores)
        pairs, open_rows, open_columns = [], set(range(len(rows))), set(range(len(columns)))
        for i, (j, loss) in enumerate(zip(chosen, losses, strict=True)):
            if loss < _NOTHING:
                continue
            r, c = (int(j), i) if turned else (i, int(j))
            told = {name: float(part[r, c]) for name, part in parts.items()}
            told["telling"] = _margin(parts["names"], r, c)
            told["rivals"] = loss < np.inf and self._rivals(group, r, c, parts)
            if told["rivals"] and not self.order.tested:
                continue  # of parallel layers the order of the file alone is no evidence
            confidence = self._confidence(float(loss), told)
            pairs.append(Pair(rows[r], columns[c], confidence, _reason(told, float(loss))))
            open_rows.discard(r)
            open_columns.discard(c)
        if not (open_rows and open_columns):
            return pairs, []
        left = tuple(rows[r] for r in sorted(open_rows))
        return pairs, [Ambiguity(left, tuple(columns[c] for c in sorted(open_columns)))]

    def _confidence(self, loss: float, told: Mapping[str, float]) -> float:
        """0 to 1; measured on models whose answer is known, see docs/like.md."""
        if loss == np.inf:
            support = sum(told.get(n, 0.0) for n in ("order", "names", "block", "neighbours"))
            return 0.9 + 0.1 * min(1.0, support)
        sure = 1 - 0.5 * float(np.exp(-loss / _SCALE))
        if told["telling"] < _TELLING:  # then it rests on the order, and what came of it
            trusted = 0.5 + 0.5 * self.order.trust**4
            sure = min(sure, trusted if self.order.tested else _UNTESTED)
        return min(sure, _PARALLELS) if told["rivals"] else sure

    def _rivals(self, group: Group, r: int, c: int, parts: Mapping[str, Matrix]) -> bool:
        """Are there layers parallel to this one that only their order tells from it?"""
        found = np.zeros(parts["names"].shape)
        known = self.source.graph or self.target.graph
        for name in ("names", "neighbours") if known else ("names",):
            found = found + parts.get(name, 0.0)
        ways = (found, group[0], r, c, self.source), (found.T, group[1], c, r, self.target)
        for table, members, i, j, side in ways:
            if side.graph or not known:
                for k, member in enumerate(members):
                    near = k != i and side.parallel(members[i], member)
                    if near and table[k, j] > table[i, j] - _TELLING:
                        return True
        return False


def _names(side: Side) -> Names:
    return Names([item.path for item in side.items], [item.signature for item in side.items])


def _margin(names: Matrix, r: int, c: int) -> float:
    """How much more alike two names are than either is to any other's."""
    others = [np.delete(names[r], c), np.delete(names[:, c], r)]
    return float(names[r, c] - max(np.max(other, initial=0.0) for other in others))


def _reason(told: Mapping[str, float], loss: float) -> str:
    found = [name for name in ("names", "order", "block", "neighbours") if told.get(name, 0) > 0.3]
    if loss == np.inf:
        found.insert(0, "only one of its kind and sizes")
    return ", ".join(found) or "kind and sizes"


def _common(a: Sequence[str], b: Sequence[str], votes: Mapping[tuple[str, str], float]) -> float:
    if not a or not b:
        return 0.0
    forth = [max(votes.get((x, y), 0.0) for y in b) for x in a]
    back = [max(votes.get((x, y), 0.0) for x in a) for y in b]
    return (sum(forth) / len(forth) + sum(back) / len(back)) / 2


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    either = one | other
    return len(one & other) / len(either) if either else 1.0


def _groups(
    source: Sequence[Item], target: Sequence[Item], fixed: Mapping[int, int]
) -> list[Group]:
    """(source items, target items) of each signature that both have, without the fixed ones."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for i, item in enumerate(source):
        if i not in fixed:
            rows[item.signature].append(i)
    columns: dict[Hashable, list[int]] = defaultdict(list)
    taken = set(fixed.values())
    for j, item in enumerate(target):
        if j not in taken:
            columns[item.signature].append(j)
    return [(rows[key], columns[key]) for key in rows if key in columns]


def _prefixes(items: Sequence[Item]) -> list[tuple[str, ...]]:
    """The beginnings of each path that others have, too, but not all."""
    own = []
    for item in items:
        ends = [m.start() for m in re.finditer(r"[./_]", item.path)][:_PREFIXES]
        own.append([item.path[:end] for end in ends if end])
    counts = Counter(prefix for prefixes in own for prefix in prefixes)
    return [tuple(p for p in prefixes if 1 < counts[p] < len(items)) for prefixes in own]
