"""Two models of different frameworks, as one of the two would store both."""

from __future__ import annotations

from ..errors import WtoolsError
from ..translation import stated, translated
from ..tree import WeightTree

_TARGETS = ("keras", "torch")


def alike(a: WeightTree, b: WeightTree) -> tuple[WeightTree, WeightTree, list[str]]:
    """Both in one convention, where theirs are known to differ, and notes on that. Reads no data.

    B is translated into A's convention or A into B's, whichever gives more of the other's tensors:
    biases that one framework keeps apart can only be added, not taken apart again.
    """
    here, there = stated(a), stated(b)
    if not here or not there or here == there:
        return a, b, []
    found = [(_shared(a, b), a, b)]
    for tree, to in ((b, here), (a, there)):
        if to not in _TARGETS:
            continue
        try:
            other = translated(tree, to)
        except WtoolsError:
            continue
        if not other.problems:
            pair = (a, other.tree) if tree is b else (other.tree, b)
            found.append((_shared(*pair), *pair))
    _, left, right = max(found, key=lambda one: one[0])
    if left is a and right is b:
        return a, b, []
    side, to = ("B", here) if left is a else ("A", there)
    return (
        left,
        right,
        [f"{side} is compared as {to} stores it: the layouts are {here} and {there}"],
    )


def _shared(a: WeightTree, b: WeightTree) -> float:
    """The fraction of all tensors that have one of the same name and shape on the other side."""
    own = {(tensor.name, tensor.shape) for tensor in a.values()}
    its = {(tensor.name, tensor.shape) for tensor in b.values()}
    return len(own & its) / max(1, len(own | its))
