"""Shapes that follow from shapes, as Keras computes them, whatever a model is exported to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .values import Dim, Laid, Shape


def product(sizes: Sequence[Dim]) -> Dim:
    known = [n for n in sizes if n is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def broadcast(*shapes: Sequence[Dim]) -> Shape:
    """The shape of an elementwise result."""
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    found: list[Dim] = []
    for sizes in zip(*full, strict=True):
        others = [n for n in sizes if n != 1]
        known = [n for n in others if n is not None]
        found.append(known[0] if known else (None if others else 1))
    return tuple(found)


def joined(shapes: Sequence[Shape], axis: int) -> Shape:
    """The shape of tensors of one rank, one after the other along `axis`."""
    sizes = [shape[axis] for shape in shapes]
    found = [*shapes[0]]
    for other in shapes[1:]:
        found = [n if n is not None else m for n, m in zip(found, other, strict=True)]
    found[axis] = None if None in sizes else sum(n for n in sizes if n is not None)
    return tuple(found)


def reduced(shape: Shape, axes: Sequence[int], keep: bool) -> Shape:
    """Without `axes`, or with one element there."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)


def axes_of(axis: Any, rank: int) -> list[int]:
    """Axes in Keras' order, positive and sorted; all of them for None."""
    if axis is None:
        return list(range(rank))
    listed = axis if isinstance(axis, (list, tuple)) else [axis]
    return sorted(int(a) % rank for a in listed)


def same(size: Dim, kernel: int, stride: int) -> tuple[int, int] | None:
    """What `same` adds before and after an axis: more after. None: it depends on the size."""
    if size is None and stride > 1:
        return None
    last = (-(-size // stride) - 1) * stride if size is not None else 0
    total = max(0, last + kernel - size) if size is not None else kernel - 1
    return total // 2, total - total // 2


def valid(size: Dim, kernel: int, stride: int) -> Dim:
    return None if size is None else (size - kernel) // stride + 1


def padded(shape: Shape, around: Mapping[int, tuple[int, int]]) -> Shape:
    """With so many elements before and after axes."""
    more = [sum(around.get(axis, (0, 0))) for axis in range(len(shape))]
    return tuple(None if n is None else n + extra for n, extra in zip(shape, more, strict=True))


def numbers(value: Any, *, unknown: bool = False) -> bool:
    """Is it a list of integers, with None for `unknown` ones?"""
    listed = isinstance(value, (list, tuple))
    return listed and all(type(n) is int or (unknown and n is None) for n in value)


def expanded(shape: Shape, axis: Any) -> tuple[list[int], Shape]:
    """(the new axes, the shape) with an axis of one element at `axis`, or at each."""
    listed = axis if isinstance(axis, (list, tuple)) else [axis]
    rank = len(shape) + len(listed)
    axes = sorted(int(a) % rank for a in listed)
    sizes = iter(shape)
    return axes, tuple(1 if i in axes else next(sizes) for i in range(rank))


def squeezed(shape: Shape, axis: Any) -> tuple[list[int], Shape]:
    """(the axes, the shape without them) at `axis`; None: wherever one element is."""
    ones = [i for i, n in enumerate(shape) if n == 1]
    axes = ones if axis is None else axes_of(axis, len(shape))
    return axes, tuple(n for i, n in enumerate(shape) if i not in axes)


def dot_equation(left: Laid, right: Laid, pair: Sequence[int]) -> tuple[str, Shape]:
    """(einsum's equation, the shape) of the batches' products, summed over one axis of each
    (keras: `batch_dot`)."""
    one, other = pair[0] % left.rank, pair[1] % right.rank
    letters = iter("abcdefghijklmnopq")
    mine = ["z", *(next(letters) for _ in range(left.rank - 1))]
    its = ["z", *(next(letters) for _ in range(right.rank - 1))]
    mine[one] = its[other] = "y"
    out = [x for x in mine if x != "y"] + [x for x in its[1:] if x != "y"]
    sizes = dict(zip(mine + its, [*left.shape, *right.shape], strict=True))
    equation = f"{''.join(mine)},{''.join(its)}->{''.join(out)}"
    return equation, tuple(sizes[letter] for letter in out)
