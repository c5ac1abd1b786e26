"""What `wtools ls` says of a tree, beside its rows."""

from __future__ import annotations

import numpy as np

from wtools.analyzers.listing import listing
from wtools.tree import ArrayData, Tensor, WeightTree


def tensor(name: str, size: int = 2, trainable: bool | None = None) -> Tensor:
    values = np.ones(size, np.float32)
    return Tensor(name, values.shape, "float32", ArrayData(values), trainable=trainable)


def tree(*tensors: Tensor, **more: object) -> WeightTree:
    return WeightTree(tensors, format="memory", **more)  # type: ignore[arg-type]


def test_what_stays_apart_is_told_once_and_counted_in_words() -> None:
    apart = {"one": tree(tensor("a")), "two": tree(tensor("a"), tensor("b"))}
    assert listing(tree(tensor("w"), apart=apart)).notes == [
        "also holds 'one': 1 tensor, not counted here (--root one)",
        "also holds 'two': 2 tensors, not counted here (--root two)",
    ]


def test_parameters_that_no_flag_speaks_of_are_not_passed_over() -> None:
    some = listing(tree(tensor("a", 3, True), tensor("b", 5, False), tensor("c", 7))).summary
    assert some["trainable_parameters"] == 3
    assert some["frozen_parameters"] == 5
    assert some["unflagged_parameters"] == 7
    assert "unflagged_parameters" not in listing(tree(tensor("a", 3, True))).summary
    assert "trainable_parameters" not in listing(tree(tensor("c", 7))).summary
