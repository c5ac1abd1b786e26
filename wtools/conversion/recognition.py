"""Which layers of a model are which of a template's: names, rules, a mapping file, inference.

In this order: pairs that a mapping file gives; those of a rule file for a known architecture;
layers of equal names, where nearly all are; an assignment of the rest (`translation.assignment`);
and where nothing tells layers apart, or little, their values, if both files hold the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import WtoolsError
from ..layers import TensorRole, layer_map
from ..translation.assignment import SURE, Side, assign
from ..translation.likeness import Graph, Loose, Unit, loose_sides, side, units
from ..translation.model import Canonical, Part
from ..tree import Tensor, WeightTree
from .wiring import Wiring, wiring

EQUAL = "equal values"
_ALONE = 0.85  # confidence of a tensor without its layer, at most
_SAME_NAMES = 0.8  # share of the layers of a model whose names are the template's


@dataclass(frozen=True)
class Told:
    """Why two are taken for one another, and how sure that is."""

    confidence: float
    reason: str


@dataclass(frozen=True, eq=False)
class Model:
    """One of the two: its layers as units, and its graph where the file says it."""

    tree: WeightTree
    canonical: Canonical
    units: Sequence[Unit]
    wiring: Wiring | None
    side: Side
    owner: Mapping[str, int]  # name of a tensor -> its unit

    @cached_property
    def roles(self) -> Mapping[str, TensorRole]:
        """What `wtools layers` tells of each tensor."""
        return layer_map(self.tree).tensors

    @classmethod
    def of(cls, tree: WeightTree, canonical: Canonical) -> Model:
        found = units(canonical.layers)
        owner: dict[str, int] = {}
        for i, unit in enumerate(found):
            for name in unit.stored:
                owner.setdefault(name, i)
        wired = wiring(tree, owner)
        graph = Graph(wired.place, wired.after) if wired else None
        return cls(tree, canonical, found, wired, side(found, graph), owner)


@dataclass(eq=False)
class Recognition:
    """pairs: target unit -> source unit, told: why. loose: name of a template's tensor -> the
    source's part for it, with why. ambiguities: (paths in the source, paths in the template).
    rules: names of the rule files that were used. order: trust in the order of the files.
    """

    source: Model
    target: Model
    pairs: dict[int, int] = field(default_factory=dict)
    told: dict[int, Told] = field(default_factory=dict)
    loose: dict[str, tuple[Loose, Told]] = field(default_factory=dict)
    ambiguities: list[tuple[list[str], list[str]]] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    order: float = 0.0

    def add(self, source: int, target: int, told: Told) -> None:
        if target not in self.pairs and source not in self.pairs.values():
            self.pairs[target] = source
            self.told[target] = told


Pairs = Iterable[tuple[int, int, str]]  # source unit, target unit, the reason


def recognize(
    source: Model,
    target: Model,
    given: Pairs = (),
    rules: Callable[[Model, Model], tuple[Pairs, Sequence[str]]] | None = None,
) -> Recognition:
    """The pairs of units. given: those of a mapping file. rules: see `architectures`."""
    found = Recognition(source, target)
    for one, other, reason in given:
        found.add(one, other, Told(1.0, reason))
    if rules is not None:
        known, names = rules(source, target)
        found.rules = list(names)
        for one, other, reason in known:
            found.add(one, other, Told(1.0, reason))
    for one, other, reason in _same_names(source, target):
        found.add(one, other, Told(1.0, reason))
    _assign(found)
    return found


def _same_names(source: Model, target: Model) -> Pairs:
    """Units of equal paths and signatures, where nearly all of a model's have one; of one side
    maybe all below a module (`bert`, `module`)."""
    best: list[tuple[int, int, str]] = []
    for prefix, of_source in [("", True), *_prefixes(source, True), *_prefixes(target, False)]:
        here = _paths(source, prefix if of_source else "")
        there = _paths(target, "" if of_source else prefix)
        reason = f"same name below {prefix.strip('/')!r}" if prefix else "same name"
        pairs = [
            (i, there[path], reason)
            for path, i in here.items()
            if path in there
            and target.side.items[there[path]].signature == source.side.items[i].signature
        ]
        if len(pairs) > len(best):
            best = pairs
    enough = _SAME_NAMES * min(len(source.units), len(target.units))
    return best if len(best) >= enough else []


def _paths(model: Model, prefix: str) -> dict[str, int]:
    paths = ((item.path, i) for i, item in enumerate(model.side.items))
    return {path.removeprefix(prefix): i for path, i in paths if path.startswith(prefix)}


def _prefixes(model: Model, of_source: bool) -> list[tuple[str, bool]]:
    """The outermost modules, and those just below them."""
    counts: Counter[str] = Counter()
    for item in model.side.items:
        parts = item.path.split("/")
        counts.update("/".join(parts[:n]) + "/" for n in (1, 2) if len(parts) > n)
    return [(prefix, of_source) for prefix, _ in counts.most_common(6)]


def _assign(found: Recognition) -> None:
    """What is left, by inference; then by values where that leaves doubts."""
    source, target = found.source, found.target
    fixed = {one: other for other, one in found.pairs.items()}
    result = assign(source.side, target.side, fixed)
    found.order = result.order
    doubtful: list[tuple[list[int], list[int]]] = [
        (list(a.source), list(a.target)) for a in result.ambiguities
    ]
    unsure = defaultdict(list)
    for pair in result.pairs:
        if pair.confidence < SURE:
            unsure[source.side.items[pair.source].signature].append(pair)
    by_value: dict[int, int] = {}
    for group in unsure.values():
        by_value |= _same_values(found, [p.source for p in group], [p.target for p in group])
    taken = set(by_value.values())
    for other, one in by_value.items():
        found.add(one, other, Told(1.0, EQUAL))
    for pair in result.pairs:
        if pair.target not in by_value and pair.source not in taken:
            found.add(pair.source, pair.target, Told(pair.confidence, pair.reason))
    for rows, columns in doubtful:
        same = _same_values(found, rows, columns)
        for other, one in same.items():
            found.add(one, other, Told(1.0, EQUAL))
        rows = [row for row in rows if row not in same.values()]
        columns = [column for column in columns if column not in same]
        for one, other in _interchangeable(found, rows, columns):
            found.add(one, other, Told(1.0, "one of several that are equal in content"))
            rows.remove(one)
            columns.remove(other)
        if rows and columns:
            ours = [source.side.items[i].path for i in rows]
            found.ambiguities.append((ours, [target.side.items[j].path for j in columns]))


def _same_values(found: Recognition, rows: Sequence[int], columns: Sequence[int]) -> dict[int, int]:
    """Target -> source unit, where one unit of each side alone holds the same elements."""
    there = [_prints(found.target.units[column].parts) for column in columns]
    here = [_prints(found.source.units[row].parts) for row in rows]
    pairs: dict[int, int] = {}
    wanted = Counter(frozenset(p.items()) for p in there)
    for print_, column in zip(there, columns, strict=True):
        common = [
            row
            for own, row in zip(here, rows, strict=True)
            if own.keys() & print_.keys()
            and all(own[role] == print_[role] for role in own.keys() & print_.keys())
        ]
        if len(common) == 1 and wanted[frozenset(print_.items())] == 1:
            pairs[column] = common[0]
    counts = Counter(pairs.values())
    return {column: row for column, row in pairs.items() if counts[row] == 1}


def _interchangeable(
    found: Recognition, rows: Sequence[int], columns: Sequence[int]
) -> list[tuple[int, int]]:
    """Pairs in order, where all the source's units of a group hold the same."""
    prints = {frozenset(_prints(found.source.units[row].parts).items()) for row in rows}
    if len(prints) != 1 or len(rows) < len(columns):
        return []
    return list(zip(list(rows), list(columns), strict=False))


_COMPARED = (
    *("kernel", "recurrent_kernel", "bias", "recurrent_bias", "embeddings", "alpha"),
    *("gamma", "beta", "moving_mean", "moving_variance"),
)


def _prints(parts: Mapping[str, Part]) -> dict[str, int]:
    """Role -> a number that is equal for equal elements, in whatever order they are stored."""
    found = {}
    for role in _COMPARED:
        part = parts.get(role)
        if part is not None and all(part.piece.sizes.get(n) == 1 for n, _ in part.piece.at):
            found[role] = print_of(part.piece.tensor)
    return found


def print_of(tensor: Tensor) -> int:
    """The sum of scrambled bit patterns: the same for the same elements in any order.

    SplitMix64 scrambles (Steele, Lea and Flood, 2014). Reads the tensor. -1 where that fails.
    """
    total = np.uint64(0)
    try:
        for block in tensor.blocks():
            if block.dtype.itemsize not in (1, 2, 4, 8):
                return -1
            bits = np.ascontiguousarray(block).view(f"u{block.dtype.itemsize}").astype(np.uint64)
            bits = (bits + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits ^= bits >> np.uint64(27)
            total += np.add.reduce(bits, dtype=np.uint64)
    except WtoolsError:
        return -1
    return int(total)


# --- parts that no layer takes --------------------------------------------------------------------


def assign_loose(found: Recognition, wanted: Sequence[Loose], offered: Sequence[Loose]) -> None:
    """Which of the source's parts go into which of the template's tensors, by themselves.

    What order and names say of single tensors is little: values go first.
    """
    if not wanted or not offered:
        return
    places = tuple(
        [min(order[name] for name in unit.stored) for unit in model.units]
        for model in (found.source, found.target)
        for order in ({name: at for at, name in enumerate(model.tree)},)
    )
    pairs = {one: other for other, one in found.pairs.items()}
    one, other, fixed = loose_sides(
        found.source.side, found.target.side, (places[0], places[1]), pairs, (offered, wanted)
    )
    result = assign(one[0], other[0], fixed)
    sure = {
        (one[1][p.source], other[1][p.target]): p
        for p in result.pairs
        if p.source in one[1] and p.target in other[1]
    }
    open_ones: dict[object, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for a in result.ambiguities:
        for i in a.source:
            open_ones[one[0].items[i].signature][0].append(one[1][i])
        for j in a.target:
            open_ones[other[0].items[j].signature][1].append(other[1][j])
    for s, t in sure:
        key = offered[s].signature()
        open_ones[key][0].append(s)
        open_ones[key][1].append(t)
    for rows, columns in open_ones.values():
        same = _equal_parts(offered, wanted, rows, columns)
        for t, s in same.items():
            found.loose[wanted[t].path] = offered[s], Told(1.0, EQUAL)
        low = [(s, t) for s, t in sure if s in rows and t in columns]
        for s, t in low:
            if t not in same and s not in same.values():
                told = Told(_ALONE * sure[s, t].confidence, sure[s, t].reason)
                found.loose[wanted[t].path] = offered[s], told
        low_ones = {s for s, _ in low}, {t for _, t in low}
        left = [s for s in rows if s not in same.values() and s not in low_ones[0]]
        open_columns = [t for t in columns if t not in same and t not in low_ones[1]]
        if left and open_columns:
            found.ambiguities.append(
                ([offered[s].path for s in left], [wanted[t].path for t in open_columns])
            )


def _equal_parts(
    offered: Sequence[Loose], wanted: Sequence[Loose], rows: Sequence[int], columns: Sequence[int]
) -> dict[int, int]:
    here = {s: print_of(offered[s].part.piece.tensor) for s in rows}
    there = {t: print_of(wanted[t].part.piece.tensor) for t in columns}
    ones, others = Counter(here.values()), Counter(there.values())
    return {
        t: s
        for t, own in there.items()
        for s, print_ in here.items()
        if own == print_ != -1 and ones[print_] == others[own] == 1
    }
