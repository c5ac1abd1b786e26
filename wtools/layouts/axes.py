"""Axes of a stored tensor as text, and the way from one text to another.

"h w i o" names the axes from first to last. "(g u) i" has two axes, the first of which runs over
gates and, within each, over units. "1" is an axis of size one that means nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import UsageError
from ..tree import Array


def parse(axes: str) -> tuple[tuple[str, ...], ...]:
    """The letters of each axis: "(g u) 1 i" -> (("g", "u"), (), ("i",)). Raises UsageError."""
    if not re.fullmatch(r"( *(\w+|\( *\w+( +\w+)* *\)))* *", axes):
        raise UsageError(f"not a description of axes: {axes!r}")
    groups = [part.strip("() ").split() for part in re.findall(r"\([^)]*\)|\w+", axes)]
    found = tuple(tuple(name for name in group if name != "1") for group in groups)
    names = [name for group in found for name in group]
    if len(set(names)) != len(names):
        raise UsageError(f"an axis is named twice in {axes!r}")
    return found


def sizes(axes: str, shape: Sequence[int], **known: int) -> dict[str, int]:
    """The size of each named axis of a tensor of that shape.

    known: sizes that the shape cannot tell: one of two in a fused axis (`g=4`, `m=1`, `H=12`).
    Raises UsageError where they do not fit.
    """
    groups = parse(axes)
    if len(groups) != len(shape):
        raise UsageError(f"axes {axes!r} do not fit shape {tuple(shape)}")
    found: dict[str, int] = {}
    for group, size in zip(groups, shape, strict=True):
        open_names = [name for name in group if name not in known]
        rest = math.prod(known[name] for name in group if name in known)
        found.update((name, known[name]) for name in group if name in known)
        if len(open_names) > 1:
            raise UsageError(f"the sizes of {', '.join(open_names)} in {axes!r} are not known")
        if (rest <= 0 or size % rest) if open_names else size != rest:
            raise UsageError(f"axes {axes!r} with {known} do not fit shape {tuple(shape)}")
        if open_names:
            found[open_names[0]] = size // rest
    return found


def permutation(source: str, target: str) -> tuple[int, ...]:
    """For `np.transpose`: which axis of `source` stands at each place of `target`.

    Over single letters, fused axes taken apart, "1" left out. Raises UsageError where the two do
    not name the same axes.
    """
    before = [name for group in parse(source) for name in group]
    after = [name for group in parse(target) for name in group]
    if sorted(before) != sorted(after):
        raise UsageError(f"{source!r} and {target!r} do not name the same axes")
    return tuple(before.index(name) for name in after)


def rearrange(
    array: Array, source: str, target: str, known: Mapping[str, int] | None = None
) -> Array:
    """`array`, whose axes are `source`, with its axes as `target` says; a view where it can be.

    known: see `sizes`. Exact and undone by exchanging source and target. Raises UsageError.
    """
    order = permutation(source, target)
    size = sizes(source, array.shape, **{k: v for k, v in (known or {}).items() if k in source})
    apart = array.reshape([size[name] for group in parse(source) for name in group])
    shape = [math.prod(size[name] for name in group) for group in parse(target)]
    return np.transpose(apart, order).reshape(shape)


def reorder_gates(array: Array, axis: int, source: str, target: str) -> Array:
    """`array` with the gates along `axis` (their axis alone, taken apart) in another order.

    source, target: the gates' letters, "i f c o". Raises UsageError where they differ.
    """
    before, after = source.split(), target.split()
    if sorted(before) != sorted(after) or array.shape[axis] != len(before):
        raise UsageError(f"gates {source!r} cannot become {target!r}")
    return array.take([before.index(gate) for gate in after], axis=axis)
