"""What the zeros of one weight are structured by, from one pass over it in slabs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tree import Tensor
from ..channels import slabs
from ..elements import reals
from .views import View

Array = NDArray[Any]
Mask = NDArray[np.bool_]

BLOCKS = ((1, 4), (4, 1), (1, 16), (16, 1), (4, 4), (8, 8), (16, 16))  # outputs x inputs
GROUPS = (4, 8, 16)
SMALL = 0.03  # of the rms of what is not zero: what a spike around zero is made of
ZEROS = 0.02  # fraction of zeros below which they may be chance
_ALIGN = 16  # of the slabs, so that neither blocks nor groups are cut
_TOO_WIDE = 1 << 26  # elements of 16 indexes above which a weight is not looked at
ROWS, COLUMNS = 512, 8192  # outputs and inputs kept to estimate what a permutation gains
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Structure:
    """outputs, inputs: not-zero elements of each unit; *_max: its largest magnitude.

    groups: M -> how many groups of M consecutive inputs (of one output, at one place) have
    0, 1, ... M elements that are not zero; a last group of fewer than M counts as one.
    blocks: (outputs, inputs) of a block -> (all blocks, those of zeros only); a block that the
    edge cuts counts as one. sample: not zero? for some outputs against inputs, at one place.
    sums: of each input, (4, inputs): its weights, their signs, their squares, how many have a
    sign; where asked for.
    """

    count: int
    zeros: int
    outputs: NDArray[np.int64]
    inputs: NDArray[np.int64]
    output_max: Array
    input_max: Array
    groups: Mapping[int, NDArray[np.int64]]
    blocks: Mapping[tuple[int, int], tuple[int, int]]
    sample: Mask
    sums: Array | None = None

    @property
    def dead_outputs(self) -> int:
        """Units none of whose weights is other than zero."""
        return int(np.count_nonzero(self.outputs == 0))

    @property
    def dead_inputs(self) -> int:
        return int(np.count_nonzero(self.inputs == 0))

    def satisfied(self, n: int, m: int) -> float | None:
        """The fraction of groups of m inputs with at most n elements that are not zero."""
        counts = self.groups.get(m)
        return None if counts is None else float(counts[: n + 1].sum() / counts.sum())

    @property
    def pattern(self) -> tuple[int, int] | None:
        """The sparsest (n, m) that all groups keep to and that accounts for the zeros: there are
        hardly more of them than it asks for. The shorter m of equal ones."""
        most = [(int(np.flatnonzero(counts)[-1]), m) for m, counts in self.groups.items()]
        kept = [(n, m) for n, m in most if 0 < n < m and self.zeros < (1.1 - n / m) * self.count]
        return min(kept, key=lambda pair: (pair[0] / pair[1], pair[1]), default=None)

    @property
    def block(self) -> tuple[int, int] | None:
        """The largest block that at least 90 % of the zeros come in."""
        fits = [
            size
            for size, (_, empty) in self.blocks.items()
            if self.zeros and empty * size[0] * size[1] >= 0.9 * self.zeros
        ]
        return max(fits, key=lambda size: size[0] * size[1], default=None)


def structure(
    tensor: Tensor, view: View, threshold: float = 0.0, *, signs: bool = False
) -> Structure | None:
    """The structure of the elements whose magnitude is not above `threshold`; with sums of real
    numbers and of their signs if `signs` says so.

    None where sixteen rows of the weight are too long for bounded memory. Raises what reading
    the tensor raises.
    """
    before, x, between, y, after = view.shape
    row = between * y * after
    if row * _ALIGN > _TOO_WIDE:
        return None
    counter = _Counter(view, signs and not tensor.dtype.startswith("complex"))
    for first, slab in slabs(tensor, (before, x, row), _ALIGN):
        plain = slab.dtype in (np.float32, np.float64)
        values = slab if plain else reals(slab.reshape(-1), tensor.dtype)
        values = values.reshape(*slab.shape[:2], between, y, after)
        counter.add(first, values, threshold)
    return counter.result(tensor.size)


class _Counter:
    """The running counts of one weight."""

    def __init__(self, view: View, signs: bool) -> None:
        self.view = view
        x, y = view.shape[1], view.shape[3]
        self.signs_from: float | None = None
        self.sums = np.zeros((4, view.inputs)) if signs else None
        self.counts = np.zeros(x, np.int64), np.zeros(y, np.int64)
        self.largest = np.zeros(x), np.zeros(y)
        sizes = [m for m in GROUPS if view.reduced and m <= view.inputs]
        self.groups = {m: np.zeros(m + 1, np.int64) for m in sizes}
        tiled = view.reduced and min(view.inputs, view.outputs) >= GROUPS[0]
        self.blocks = {size: (0, 0) for size in BLOCKS if tiled}
        self.sample: list[Mask] = []
        self.sampled = 0

    def add(self, first: int, values: Array, threshold: float) -> None:
        """`values`: real numbers, or complex ones, of (before, some of X from `first`, ...)."""
        magnitude = np.abs(values)
        mask = ~(magnitude <= threshold)
        here = slice(first, first + values.shape[1])
        for largest, others in (
            (self.largest[0][here], (0, 2, 3, 4)),
            (self.largest[1], (0, 1, 2, 4)),
        ):
            np.fmax(largest, magnitude.max(axis=others), out=largest)
        if self.sums is not None:
            self._sum(here, values, magnitude)
        if mask.all():
            self._full(here, mask.shape)
        else:
            self._count(here, mask.view(np.uint8))
        place = mask[0, :, 0, :, 0]
        self._keep(place if self.view.outputs_first else place.T)

    def _full(self, here: slice, shape: tuple[int, ...]) -> None:
        """Nothing is zero, which is the same as counting, and fast."""
        size = math.prod(shape)
        self.counts[0][here] += size // shape[1]
        self.counts[1][:] += size // shape[3]
        outputs, inputs = (1, 3) if self.view.outputs_first else (3, 1)
        for m, counts in self.groups.items():
            whole, rest = divmod(shape[inputs], m)
            counts[m] += size // shape[inputs] * whole
            counts[rest] += size // shape[inputs] * bool(rest)
        places = size // (shape[1] * shape[3])
        for (r, c), (tiles, empty) in self.blocks.items():
            more = places * -(-shape[outputs] // r) * -(-shape[inputs] // c)
            self.blocks[r, c] = tiles + more, empty

    def _count(self, here: slice, kept: NDArray[np.uint8]) -> None:
        sums = {axis: _sums(kept, axis) for axis in (1, 3)}
        self.counts[0][here] += sums[3][16].sum(axis=(0, 2, 3, 4), dtype=np.int64)
        self.counts[1][:] += sums[1][16].sum(axis=(0, 1, 2, 4), dtype=np.int64)
        outputs, inputs = (1, 3) if self.view.outputs_first else (3, 1)
        for m, counts in self.groups.items():
            counts += np.bincount(sums[inputs][m].reshape(-1), minlength=m + 1)
        for (r, c), any_kept in _tiles(kept, outputs, inputs) if self.blocks else ():
            tiles, empty = self.blocks[r, c]
            empty += any_kept.size - int(np.count_nonzero(any_kept))
            self.blocks[r, c] = tiles + any_kept.size, empty

    def _sum(self, here: slice, values: Array, magnitude: Array) -> None:
        assert self.sums is not None
        if self.signs_from is None:
            self.signs_from = _signs_from(magnitude)
        alive = magnitude > self.signs_from
        inputs_last = self.view.outputs_first
        others = (0, 1, 2, 4) if inputs_last else (0, 2, 3, 4)
        with np.errstate(over="ignore", invalid="ignore"):  # weights that are not finite
            parts = values, np.where(alive, np.sign(values), 0), magnitude**2, alive
            for k, part in enumerate(parts):
                into = self.sums[k] if inputs_last else self.sums[k, here]
                into += part.sum(axis=others, dtype=np.float64)

    def _keep(self, place: Mask) -> None:
        """Some outputs of the first place, as far as they have come."""
        along = 0 if self.view.outputs_first else 1
        whole = self.view.shape[1]
        wanted = min(whole, ROWS) if self.view.outputs_first else min(whole, COLUMNS)
        if self.sampled < wanted and self.groups:
            part = place[:ROWS, :COLUMNS]
            part = part[: wanted - self.sampled] if along == 0 else part[:, : wanted - self.sampled]
            self.sample.append(part.copy())
            self.sampled += part.shape[along]

    def result(self, count: int) -> Structure:
        x, y = self.counts
        first = self.view.outputs_first
        along = 0 if first else 1
        empty = np.zeros((0, 0), np.bool_)
        return Structure(
            count=count,
            zeros=count - int(x.sum()),
            outputs=x if first else y,
            inputs=y if first else x,
            output_max=self.largest[0 if first else 1],
            input_max=self.largest[1 if first else 0],
            groups=self.groups,
            blocks=self.blocks,
            sample=np.concatenate(self.sample, axis=along) if self.sample else empty,
            sums=self.sums,
        )


def _signs_from(magnitude: Array) -> float:
    """The magnitude above which a weight is alive, told from the first slab so that one reading is
    enough: where hardly any is zero, what is no spike."""
    if np.count_nonzero(magnitude == 0) >= ZEROS * magnitude.size:
        return 0.0
    finite = magnitude[np.isfinite(magnitude)].astype(np.float64)
    with np.errstate(over="ignore"):
        return SMALL * math.sqrt(np.mean(finite**2)) if finite.size else 0.0


def _sums(x: NDArray[np.uint8], axis: int) -> dict[int, NDArray[np.uint8]]:
    """m -> how many of each m along `axis` are 1; the last may be of fewer than m."""
    fours = _folded(x, axis, 4, np.add)
    eights = _folded(fours, axis, 2, np.add)
    return {4: fours, 8: eights, 16: _folded(eights, axis, 2, np.add)}


def _tiles(
    x: NDArray[np.uint8], outputs: int, inputs: int
) -> Iterator[tuple[tuple[int, int], NDArray[np.uint8]]]:
    """Each size of BLOCKS with which of its blocks hold anything."""
    rows, columns = (_folded(x, axis, 4, np.bitwise_or) for axis in (inputs, outputs))
    square = _folded(rows, outputs, 4, np.bitwise_or)
    yield (1, 4), rows
    yield (4, 1), columns
    yield (1, 16), _folded(rows, inputs, 4, np.bitwise_or)
    yield (16, 1), _folded(columns, outputs, 4, np.bitwise_or)
    yield (4, 4), square
    for size in (8, 16):
        square = _folded(_folded(square, outputs, 2, np.bitwise_or), inputs, 2, np.bitwise_or)
        yield (size, size), square


def _folded(x: NDArray[np.uint8], axis: int, k: int, join: np.ufunc) -> NDArray[np.uint8]:
    """Each k along `axis` joined into one; what is missing in the last counts as 0."""
    missing = -x.shape[axis] % k
    if missing:
        x = np.pad(x, [(0, missing if a == axis else 0) for a in range(x.ndim)])
    parts = x.reshape(*x.shape[:axis], -1, k, *x.shape[axis + 1 :])
    at: list[Any] = [slice(None)] * parts.ndim
    at[axis + 1] = 0
    found: NDArray[np.uint8] = parts[tuple(at)].copy()
    for n in range(1, k):
        at[axis + 1] = n
        join(found, parts[tuple(at)], out=found)
    return found


def permuted(sample: Mask, n: int = 2, m: int = 4) -> tuple[float, float]:
    """The fraction of groups of m inputs with at most n not zero: as stored, and by a permutation
    of the inputs that dense ones are spread by and swaps improve (a lower bound of the best)."""
    whole = sample[:, : sample.shape[1] // m * m]
    if not whole.size:
        return 0.0, 0.0
    order = np.argsort(-whole.sum(axis=0), kind="stable").reshape(m, -1)
    order[1::2] = order[1::2, ::-1]  # the densest with the least dense
    groups = order.T.copy()
    rng = np.random.default_rng(0)
    counts = whole[:, groups].sum(axis=2)
    for _ in range(_ROUNDS):
        pairs = rng.permutation(len(groups))
        pairs = pairs[: len(pairs) // 2 * 2].reshape(2, -1)
        places = rng.integers(0, m, pairs.shape)
        one, other = groups[pairs[0], places[0]], groups[pairs[1], places[1]]
        change = whole[:, other].astype(np.int8) - whole[:, one]
        left, right = counts[:, pairs[0]] + change, counts[:, pairs[1]] - change
        gain = (left <= n).sum(0) + (right <= n).sum(0)
        gain -= (counts[:, pairs[0]] <= n).sum(0) + (counts[:, pairs[1]] <= n).sum(0)
        kept = gain > 0
        groups[pairs[0][kept], places[0][kept]] = other[kept]
        groups[pairs[1][kept], places[1][kept]] = one[kept]
        counts[:, pairs[0][kept]], counts[:, pairs[1][kept]] = left[:, kept], right[:, kept]
    return float((_grouped(whole, m) <= n).mean()), float((counts <= n).mean())


def _grouped(mask: Mask, m: int) -> NDArray[np.intp]:
    counts: NDArray[np.intp] = mask.reshape(len(mask), -1, m).sum(axis=2)
    return counts
