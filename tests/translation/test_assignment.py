"""The assignment of layers: exact where names or order tell, and honest where they do not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtools.translation.assignment import Item, Side, assign
from wtools.translation.matching import best
from wtools.translation.sequences import agreement, longest, trust
from wtools.translation.similarity import Comparison, Names, numbers_of, words_of

small = st.integers(1, 5).flatmap(
    lambda n: st.integers(n, 5).flatmap(
        lambda m: st.lists(
            st.lists(st.integers(0, 6).map(float), min_size=m, max_size=m), min_size=n, max_size=n
        )
    )
)


def brute(scores: np.ndarray, without: tuple[int, int] | None = None) -> float:
    n, m = scores.shape
    sums = [
        sum(scores[i, c] for i, c in enumerate(columns))
        for columns in permutations(range(m), n)
        if without is None or columns[without[0]] != without[1]
    ]
    return max(sums, default=-np.inf)


@given(small)
def test_the_best_assignment_and_what_is_lost_without_each_pair(rows: list[list[float]]) -> None:
    scores = np.array(rows)
    columns, losses = best(scores)
    whole = brute(scores)
    assert len(set(columns.tolist())) == len(columns)
    assert sum(scores[i, c] for i, c in enumerate(columns)) == pytest.approx(whole)
    for i, (column, loss) in enumerate(zip(columns, losses, strict=True)):
        assert loss == pytest.approx(whole - brute(scores, (i, int(column))))


@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 3), max_size=7))
def test_the_longest_common_subsequence(one: list[int], other: list[int]) -> None:
    def slow(a: list[int], b: list[int]) -> int:
        if not a or not b:
            return 0
        same = slow(a[1:], b[1:]) + 1 if a[0] == b[0] else 0
        return max(same, slow(a[1:], b), slow(a, b[1:]))

    assert longest(one, other) == slow(one, other)
    table = agreement(one, other)
    assert table.shape == (len(one), len(other))
    assert ((table >= 0) & (table <= 1 + 1e-9)).all()
    assert table.sum() == pytest.approx(slow(one, other), abs=0.05)


def test_an_order_is_trusted_as_far_as_it_agrees() -> None:
    rng = np.random.default_rng(0)
    sequence = rng.integers(0, 12, 80)
    assert trust(sequence, sequence) == 1
    assert trust(sequence, rng.permutation(sequence)) < 0.3
    assert trust([1] * 20, [1] * 20) is None  # nothing to see it by


def test_a_gap_among_equals_could_be_anywhere() -> None:
    table = agreement([1, 1], [1, 1, 1])
    assert table[0] == pytest.approx([2 / 3, 1 / 3, 0], abs=1e-3)


def test_names_taken_apart() -> None:
    assert words_of("encoder/layer/0/selfAttn/q_proj") == {
        *("encoder", "layer", "self", "attention", "query", "projection")
    }
    assert numbers_of("conv2d_3") == ([3], ["conv_"])  # the 2 of a Conv2D is no number
    assert numbers_of("block2a/conv1")[0] == [2, 0, 1]


def test_who_counts_from_what_is_seen_from_the_layers() -> None:
    sizes = [64, 128, 256, 512]
    one = Names([f"conv{n}_block1_1_conv" for n in (2, 3, 4, 5)], sizes)
    other = Names([f"layer{n}/0/conv1" for n in (1, 2, 3, 4)], sizes)
    table = Comparison(one, other).numbers(range(4), range(4))
    assert (table.argmax(1) == range(4)).all() and (np.diag(table) == 1).all()


def chain(paths: list[str], signature: object = "same") -> Side:
    """Layers one after another in a graph."""
    count = len(paths)
    return Side(
        [
            Item(
                path,
                "dense",
                signature,
                place=i,
                before=frozenset({i - 1} if i else ()),
                after=frozenset({i + 1} if i + 1 < count else ()),
            )
            for i, path in enumerate(paths)
        ],
        graph=True,
    )


def test_equal_layers_one_after_another_in_a_graph_have_their_order() -> None:
    found = assign(chain(["a", "b", "c", "d"]), chain(["p", "q", "r", "s"]))
    assert [(p.source, p.target) for p in found.pairs] == [(i, i) for i in range(4)]
    assert all(0.7 <= pair.confidence < 0.9 for pair in found.pairs)


def test_equal_layers_side_by_side_are_ambiguous() -> None:
    def parallel(paths: list[str]) -> Side:
        return Side([Item(p, "dense", "same", place=i) for i, p in enumerate(paths)], graph=True)

    found = assign(parallel(["a", "b", "c"]), parallel(["p", "q", "r"]))
    assert not found.pairs
    [doubt] = found.ambiguities
    assert doubt.source == doubt.target == (0, 1, 2)


def test_names_settle_what_order_does_not() -> None:
    one = Side([Item(p, "dense", "same") for p in ("left/query", "left/key", "left/value")])
    other = Side([Item(p, "dense", "same") for p in ("l/v_proj", "l/q_proj", "l/k_proj")])
    found = assign(one, other)
    assert {(p.source, p.target) for p in found.pairs} == {(0, 1), (1, 2), (2, 0)}


def test_what_is_fixed_stays_and_tells_of_its_neighbours() -> None:
    paths = ["a", "b", "c"]
    found = assign(chain(paths), chain(["p", "q", "r"]), {0: 2})
    assert all(pair.source != 0 and pair.target != 2 for pair in found.pairs)


@given(st.permutations(range(6)))
def test_only_layers_of_one_signature_are_pairs(order: list[int]) -> None:
    one = Side([Item(f"layer{i}", "dense", i % 3) for i in range(6)])
    other = Side([Item(f"part{i}", "dense", i % 3) for i in order])
    found = assign(one, other)
    for pair in found.pairs:
        assert one.items[pair.source].signature == other.items[pair.target].signature
    assert len({p.target for p in found.pairs}) == len(found.pairs)
    taken = {p.source for p in found.pairs}
    for doubt in found.ambiguities:
        assert not taken & set(doubt.source)


def test_models_without_layers() -> None:
    assert not assign(Side([]), chain(["a"])).pairs
    assert not assign(Side([]), Side([])).pairs
