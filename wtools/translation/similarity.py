"""How alike the names of two models' layers are: their words, and the numbers in them.

No name of any model is known here. A word counts by how few layers of its model have it, so that
what all names share says nothing. Numbers are counted from 0 here and from 1 there: which number
is which is seen from the signatures of the layers that have them, so that `conv2_block1` is
`layer1.0` where the layers of the one are like those of the other.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Words = frozenset[str]

# One thing under several names, in every framework; kinds and roles are told elsewhere.
_SAME = {
    **dict.fromkeys(("q", "wq"), "query"),
    **dict.fromkeys(("k", "wk"), "key"),
    **dict.fromkeys(("v", "wv"), "value"),
    **dict.fromkeys(("o", "out", "wo"), "output"),
    **dict.fromkeys(("attn", "mha"), "attention"),
    **dict.fromkeys(("enc",), "encoder"),
    **dict.fromkeys(("dec",), "decoder"),
    **dict.fromkeys(("emb", "embed", "embeddings"), "embedding"),
    **dict.fromkeys(("bn", "ln", "normalization", "layernorm", "batchnorm"), "norm"),
    **dict.fromkeys(("fc", "linear"), "dense"),
    **dict.fromkeys(("convolution",), "conv"),
    **dict.fromkeys(("shortcut", "skip", "proj", "projection"), "projection"),
    **dict.fromkeys(("classifier", "predictions", "logits"), "head"),
    **dict.fromkeys(("dw", "dwconv"), "depthwise"),
}
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_DIMENSION = re.compile(r"(?<=[a-zA-Z])[123][dD](?![a-z])")  # of conv2d: no number of a layer
_NUMBER = re.compile(r"(\d{1,9})(?:([a-z])(?![a-zA-Z]))?")
_COLUMNS = 8  # numbers of a name that are looked at
_SHIFTS = 3  # how far two ways to count may be apart


@lru_cache(maxsize=65536)
def words_of(path: str) -> Words:
    """The words of a path, each under its usual name."""
    found = (word.lower() for word in _WORD.findall(_DIMENSION.sub("", path)))
    return frozenset(_SAME.get(word, word) for word in found)


def numbers_of(path: str) -> tuple[list[int], list[str]]:
    """(the numbers of a path, what stands before each, other numbers as {}).

    One letter after a number is a number, too: `block2a` is `block` 2, 0.
    """
    plain = _DIMENSION.sub("", path)
    numbers: list[int] = []
    before: list[str] = []
    prefix, at = "", 0
    for match in _NUMBER.finditer(plain):
        prefix += plain[at : match.start()]
        numbers.append(int(match[1]))
        before.append(prefix)
        prefix += "{}"
        if match[2]:
            numbers.append(ord(match[2]) - ord("a"))
            before.append(prefix)
            prefix += "{a}"
        at = match.end()
    return numbers[:_COLUMNS], before[:_COLUMNS]


@dataclass(frozen=True)
class Names:
    """The names of one model's layers, taken apart."""

    paths: Sequence[str]
    signatures: Sequence[Hashable]

    @cached_property
    def words(self) -> list[Words]:
        return [words_of(path) for path in self.paths]

    @cached_property
    def weight(self) -> dict[str, float]:
        """How much a word tells: 0 for one that every name has."""
        counts = Counter(word for words in self.words for word in words)
        total = max(2, len(self.paths))
        return {word: math.log(total / count) / math.log(total) for word, count in counts.items()}

    @cached_property
    def numbers(self) -> list[tuple[list[int], list[str]]]:
        return [numbers_of(path) for path in self._numbered()]

    def _numbered(self) -> list[str]:
        """Paths, with the 0 that Keras leaves out: `dense`, `dense_1`."""
        known = set(self.paths)
        counted = {path.rpartition("_")[0] for path in known if re.search(r"_\d+$", path)}
        return [f"{path}_0" if path in counted else path for path in self.paths]

    @cached_property
    def values(self) -> dict[str, Counter[tuple[int, Hashable]]]:
        """What stands before a number -> how often each number is there, by signature."""
        found: dict[str, Counter[tuple[int, Hashable]]] = defaultdict(Counter)
        for (numbers, before), signature in zip(self.numbers, self.signatures, strict=True):
            for number, prefix in zip(numbers, before, strict=True):
                found[prefix][number, signature] += 1
        return found


def _shared(a: Words, b: Words, one: Names, other: Names) -> float:
    def weight(words: Words) -> float:
        return math.fsum(max(one.weight.get(w, 0.0), other.weight.get(w, 0.0)) for w in words)

    total = weight(a | b)
    return weight(a & b) / total if total else 0.0


class Comparison:
    """The names of two models, compared pair by pair; what was found is kept."""

    def __init__(self, source: Names, target: Names) -> None:
        self.source, self.target = source, target
        self._words: dict[tuple[Words, Words], float] = {}
        self._ways: dict[tuple[str, str], dict[int, int]] = {}

    def words(self, rows: Sequence[int], columns: Sequence[int]) -> Matrix:
        """Similarity of the words, for each pair."""
        found = np.zeros((len(rows), len(columns)))
        for i, row in enumerate(rows):
            a = self.source.words[row]
            for j, column in enumerate(columns):
                b = self.target.words[column]
                if (a, b) not in self._words:
                    self._words[a, b] = _shared(a, b, self.source, self.target)
                found[i, j] = self._words[a, b]
        return found

    def numbers(self, rows: Sequence[int], columns: Sequence[int]) -> Matrix:
        """Agreement of the numbers, for each pair; 0 where either has none."""
        found = np.zeros((len(rows), len(columns)))
        for i, row in enumerate(rows):
            a = self.source.numbers[row]
            for j, column in enumerate(columns if a[0] else ()):
                found[i, j] = self._agreement(a, self.target.numbers[column])
        return found

    def _agreement(self, a: tuple[list[int], list[str]], b: tuple[list[int], list[str]]) -> float:
        n, m = len(a[0]), len(b[0])
        shorter = min(n, m)
        if not shorter:
            return 0.0
        starts = {(0, 0), (n - shorter, m - shorter)}
        best = max(
            sum(
                self._same(a[0][i + k], a[1][i + k], b[0][j + k], b[1][j + k])
                for k in range(shorter)
            )
            for i, j in starts
        )
        return best / max(n, m)

    def _same(self, x: int, before_x: str, y: int, before_y: str) -> bool:
        key = before_x, before_y
        if key not in self._ways:
            self._ways[key] = _way(self.source.values[before_x], self.target.values[before_y])
        return self._ways[key].get(x) == y


def _way(
    one: Counter[tuple[int, Hashable]], other: Counter[tuple[int, Hashable]]
) -> dict[int, int]:
    """Which number of one side is which of the other's: as most layers of one signature agree.

    The same, else those of the same place among all, else shifted by a few.
    """
    own, there = sorted({n for n, _ in one}), sorted({n for n, _ in other})
    ways = [{x: x for x in own}]
    if len(own) == len(there):
        ways.append(dict(zip(own, there, strict=True)))
    ways += [{x: x + shift for x in own} for n in range(1, _SHIFTS + 1) for shift in (-n, n)]

    def agreeing(way: dict[int, int]) -> int:
        return sum(min(n, other[way[x], signature]) for (x, signature), n in one.items())

    return max(ways, key=agreeing)
