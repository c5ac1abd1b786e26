"""Where the elements of a role lie, and how they become another tensor: lazily, in one move.

A Piece says that a stored tensor, or a part of one, is some role of a layer, and how its axes
and gates lie. What is made of pieces reads them when it is read, and not before; where nothing
moves it is the stored tensor itself, whose bytes are copied as they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import UnsupportedError
from ..layouts.axes import parse, permutation, rearrange, reorder_gates, sizes
from ..tree import BLOCK, Array, Quantization, Storage, Tensor


@dataclass(frozen=True, eq=False)
class Computed:
    """Elements computed as a whole when asked for, and given out row by row.

    The result may be a turned view: only the rows of one block are ever copied.
    """

    compute: Callable[[], Array]

    def read(self) -> Array:
        return self.compute()

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        array = self.compute()
        if not array.ndim:
            yield array.reshape(-1)
            return
        most = max(1, nbytes // array.dtype.itemsize)
        step = max(1, nbytes * len(array) // max(1, array.nbytes))
        for start in range(0, len(array), step):
            rows = contiguous(array[start : start + step]).reshape(-1)
            yield from (rows[i : i + most] for i in range(0, rows.size, most))


_TILE = 256  # elements of the last axis that are copied at a time: their lines stay in the cache


def contiguous(array: Array) -> Array:
    """`array` in C order, itself if it is; a matrix that is turned is copied tile by tile."""
    if array.flags.c_contiguous or array.ndim < 2:
        return np.ascontiguousarray(array)
    out = np.empty(array.shape, array.dtype)
    for at in range(0, array.shape[-1], _TILE):
        out[..., at : at + _TILE] = array[..., at : at + _TILE]
    return out


@dataclass(frozen=True, eq=False)
class Piece:
    """A stored tensor, or a part of it, as a role of a layer.

    axes: of the whole stored tensor, see `wtools.layouts.axes`. sizes: of all its letters.
    gates: their order in it, "i f c o"; "" where it has none. at: the index along some letters
    (a direction n, one of two biases b, query/key/value p) that the piece stands at.
    order: a letter -> the letters that it runs over and the order of these that is wanted
    instead: ("i", "h w c", "c h w"), a dense kernel after a Flatten.
    """

    tensor: Tensor
    axes: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    gates: str = ""
    at: tuple[tuple[str, int], ...] = ()

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the piece in stored order."""
        picked = {letter for letter, _ in self.at}
        return tuple(name for name in flat(self.axes) if name not in picked)

    def taken(self, axes: str, gates: str) -> Array:
        """The elements with these axes, and the gates in this order. Reads."""
        # not the mapped file: its pages would count as the process' own for as long as it is open
        whole = self.tensor.read(copy=self.tensor.raw is not None)
        array = rearrange(whole, self.axes, " ".join(flat(self.axes)), self.sizes)
        left = list(flat(self.axes))
        for letter, index in self.at:
            array = array.take(index, axis=left.index(letter))
            left.remove(letter)
        if self.gates and gates and self.gates != gates:
            array = reorder_gates(array, left.index("g"), self.gates, gates)
        return rearrange(array, " ".join(left), axes, self.sizes)

    def moved(self, axes: str, gates: str = "") -> Tensor:
        """The piece as a tensor of these axes and gates, lazily.

        Raises UsageError where it has other axes, UnsupportedError for scales along them.
        """
        permutation(" ".join(self.letters), axes)  # does it have these axes?
        shape = shape_of(axes, self.sizes)
        if not self.at and self._stays(axes, gates):
            return self._reshaped(shape)
        source = self.tensor
        if source.dtype.startswith(("int4", "uint4", "int2", "uint2")) and source.quantization:
            raise UnsupportedError(
                "is packed with its scales along an axis",
                place=repr(source.name),
                advice="--dequantize writes the real values",
            )
        return replace(
            source,
            shape=shape,
            data=Computed(lambda: self.taken(axes, gates)),
            storage=self._strided(axes, gates),
            quantization=self._quantization(axes, gates),
        )

    def _stays(self, axes: str, gates: str) -> bool:
        """Do the elements stand in the same order?"""
        if self.gates and gates and self.gates != gates:
            return False
        before = [name for name in self.letters if self.sizes.get(name) != 1]
        return before == [name for name in flat(axes) if self.sizes.get(name) != 1]

    def _reshaped(self, shape: tuple[int, ...]) -> Tensor:
        if shape == self.tensor.shape:
            return self.tensor
        if self.tensor.quantization is not None and self.tensor.quantization.axis is not None:
            raise _quantized(self.tensor)
        return replace(self.tensor, shape=shape)

    def _strided(self, axes: str, gates: str) -> Storage | None:
        """The place in the file, where the elements are only turned: so ties stay ties."""
        storage = self.tensor.storage
        if storage is None or storage.strides or self.at or (self.gates and gates != self.gates):
            return None
        if any(len(group) > 1 for group in parse(axes)):
            return None
        step, steps = 1, {}
        for name in reversed(self.letters):
            steps[name], step = step, step * self.sizes[name]
        strides = (steps[group[0]] if group else 1 for group in parse(axes))
        return replace(storage, strides=tuple(strides))

    def _quantization(self, axes: str, gates: str) -> Quantization | None:
        """Scale and zero point, along the axis that theirs has become."""
        known = self.tensor.quantization
        if known is None or known.axis is None:
            return known
        group = parse(self.axes)[known.axis]
        there = parse(axes)
        if self.at or (self.gates and gates != self.gates) or group not in there:
            raise _quantized(self.tensor)
        return replace(known, axis=there.index(group))


def _quantized(tensor: Tensor) -> UnsupportedError:
    return UnsupportedError(
        "its scales lie along an axis that is no axis of the other framework's tensor",
        place=repr(tensor.name),
        advice="--dequantize writes the real values",
    )


def flat(axes: str) -> tuple[str, ...]:
    """All letters of a description of axes: "(g u) 1 i" -> ("g", "u", "i")."""
    return tuple(name for group in parse(axes) for name in group)


def shape_of(axes: str, known: Mapping[str, int]) -> tuple[int, ...]:
    """The shape that axes have with these sizes."""
    return tuple(math.prod(known[name] for name in group) for group in parse(axes))


def stacked(pieces: Sequence[Array], before: str, after: str, known: Mapping[str, int]) -> Array:
    """Arrays of equal axes, one after another along the first letters of `before`, as `after`."""
    array = np.stack(pieces)
    lead = len(flat(before)) - pieces[0].ndim
    shape = [known[name] for name in flat(before)[:lead]] + list(pieces[0].shape)
    return rearrange(array.reshape(shape), before, after, known)


__all__ = ["Computed", "Piece", "flat", "permutation", "shape_of", "sizes", "stacked"]
