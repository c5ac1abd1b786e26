"""What both models are given: from their own input specifications, seeded."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..engines import Input
from ..errors import UsageError
from ..tree import Array

BATCHES = (1, 2, 5)
LENGTHS = (7, 12)  # of a series whose length is free
SIZES = (64, 96)  # of an image whose size is free
VOCABULARY = 10  # integers stay below it where no model says more


@dataclass(frozen=True)
class Case:
    """One run: `name` for people, an array for each input, in A's layout and in B's."""

    name: str
    a: tuple[Array, ...]
    b: tuple[Array, ...]


def given(text: str) -> Input:
    """ "1x3x224x224", "?x16x8:int64" as an Input; "?" is a free size. Raises UsageError."""
    shape, _, dtype = text.partition(":")
    sizes = shape.lower().split("x")
    if not all(size == "?" or (size.isdigit() and int(size)) for size in sizes):
        raise UsageError(f"{text!r} is no shape", advice="Write it as ?x224x224x3 or ?x16:int64.")
    return Input("", tuple(None if n == "?" else int(n) for n in sizes), dtype or "float32")


def paired(a: Sequence[Input], b: Sequence[Input]) -> list[tuple[Input, Input]]:
    """The inputs of A and of B that belong together: of the same name, else by position.

    Raises UsageError where their numbers differ or neither side says a shape.
    """
    if len(a) != len(b):
        raise UsageError(f"A has {len(a)} inputs and B has {len(b)}")
    names = {one.name: one for one in b}
    by_name = len(names) == len(b) and all(one.name in names for one in a)
    pairs = [(one, names[one.name] if by_name else b[i]) for i, one in enumerate(a)]
    for one, other in pairs:
        if one.shape is None and other.shape is None:
            raise UsageError(
                f"neither model says which shape its input {one.name!r} has",
                advice="--input ?x224x224x3 says it, once for each input.",
            )
    return pairs


def cases(
    pairs: Sequence[tuple[Input, Input]],
    *,
    seed: int = 0,
    batches: Sequence[int] = (),
    lengths: Sequence[int] = (),
) -> list[Case]:
    """A case for each batch size, the free lengths taking turns.

    Numbers are normal, integers at least 1 and below the smallest vocabulary, the ends of some
    rows 0 in the last case, as padding is.
    """
    rng = np.random.default_rng(seed)
    shapes = [_agreed(one, other) for one, other in pairs]
    fixed = {shape[0] for shape in shapes if shape and shape[0] is not None}
    if batches and fixed - set(batches):
        raise UsageError(f"the batch size of a model is fixed: {sorted(fixed)}")
    sizes = tuple(fixed) if fixed else tuple(batches or BATCHES)
    free = any(n is None for shape in shapes for n in shape[1:])
    turns = itertools.cycle(range(max(1, len(lengths) or 2)))
    found = []
    for number, (batch, turn) in enumerate(zip(sizes, turns, strict=False)):
        arrays = []
        for (one, other), shape in zip(pairs, shapes, strict=True):
            whole = _filled(shape, batch, turn, lengths)
            padded = number == len(sizes) - 1
            arrays.append(_array(rng, whole, one, other, padded=padded))
        long = f", length {_filled((None, None), batch, turn, lengths)[1]}" if free else ""
        long = long if not any(len(shape) > 3 for shape in shapes) or lengths else ""
        b = tuple(_for(array, two[1]) for array, two in zip(arrays, pairs, strict=True))
        a = tuple(_for(array, two[0]) for array, two in zip(arrays, pairs, strict=True))
        found.append(Case(f"batch {batch}{long}", a, b))
    return found


def _agreed(one: Input, other: Input) -> tuple[int | None, ...]:
    """A's shape, with sizes that B alone knows. Raises UsageError where they contradict."""
    if one.shape is None or other.shape is None:
        return one.shape or other.shape or ()
    shape = one.shape
    theirs = _moved_last(other.shape) if _is_turned(one.shape, other.shape) else other.shape
    if len(shape) != len(theirs):
        raise UsageError(f"input {one.name!r} is {shape} in A and {theirs} in B")
    agreed = []
    for mine, its in zip(shape, theirs, strict=True):
        if mine is not None and its is not None and mine != its:
            raise UsageError(f"input {one.name!r} is {shape} in A and {other.shape} in B")
        agreed.append(mine if mine is not None else its)
    return tuple(agreed)


def channels_first(inputs: Sequence[Input], others: Sequence[Input]) -> list[Input]:
    """`inputs` of a side that takes images channels-first, where it does not say so itself: with
    the shapes of the other side, turned."""
    return [
        replace(one, shape=_moved_first(other.shape))
        if one.shape is None and other.shape is not None and len(other.shape) > 2
        else one
        for one, other in zip(inputs, others, strict=False)
    ]


def _moved_last(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:], shape[1])


def _moved_first(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    return (shape[0], shape[-1], *shape[1:-1])


def _fits(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    return len(one) == len(other) and all(
        n is None or m is None or n == m for n, m in zip(one, other, strict=True)
    )


def _is_turned(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Is B's image channels-first where A's is channels-last?"""
    if len(one) < 3 or not _fits(_moved_first(one), other):
        return False
    free = one[1:-1] == other[2:] == (None,) * (len(one) - 2)
    return not _fits(one, other) or (free and one[-1] is not None and one[-1] == other[1])


def _for(array: Array, wanted: Input) -> Array:
    """The array as that side takes it: its dtype, its order of axes."""
    if wanted.shape is not None and _is_turned(array.shape, wanted.shape):
        array = np.moveaxis(array, -1, 1)
    return np.ascontiguousarray(array, wanted.dtype)


def _filled(
    shape: Sequence[int | None], batch: int, turn: int, lengths: Sequence[int]
) -> list[int]:
    usual = SIZES if len(shape) > 3 else LENGTHS
    length = (lengths or usual)[turn % len(lengths or usual)]
    return [n if n is not None else (batch if i == 0 else length) for i, n in enumerate(shape)]


def _array(
    rng: np.random.Generator, shape: Sequence[int], one: Input, other: Input, *, padded: bool
) -> Array:
    dtype = one.dtype if one.shape is not None else other.dtype
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        raise UsageError(f"input {one.name!r} is of {dtype}, which wtools cannot make") from None
    if kind == "b":
        return rng.random(shape) < 0.5
    highs = [n for n in (one.high, other.high) if n is not None]
    if kind == "f" and not highs:
        return rng.standard_normal(shape)
    high = min(highs, default=VOCABULARY)
    array = rng.integers(min(1, high - 1), max(1, high), shape)
    if padded and len(shape) == 2 and shape[1] > 2:
        for row in range(1, shape[0], 2):
            array[row, shape[1] - 1 - row % (shape[1] - 1) :] = 0
    return array
