"""Tensors kept in memory while several analyses look at them, so that a file is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from .. import dtypes
from ..errors import WtoolsError
from ..sketch.runner import Result, sketches
from ..threads import in_order
from ..tree import BLOCK, Array, ArrayData, Data, Tensor, WeightTree, split, tie_key
from .passing import PassingData

TOGETHER = 1 << 26  # bytes in memory of the tensors that are held at a time
LARGEST = 1 << 27  # of one that is held alone; a larger one is looked at in passing


class HeldData:
    """A tensor's data, which may be in memory for a while: reading it then reads no file."""

    def __init__(self, tensor: Tensor) -> None:
        self.source: Data = tensor.data
        self.original = tensor
        self.array: Array | None = None
        self._cuts: list[int] = []

    def read(self) -> Array:
        return self.source.read() if self.array is None else self.array

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        """While held in the same blocks as from the file: figures do not depend on it."""
        if self.array is None:
            yield from self.source.blocks(nbytes)
        elif nbytes != BLOCK or not self._cuts:
            yield from split(self.array, nbytes)
        else:
            yield from (self.array[start:stop] for start, stop in pairwise(self._cuts))

    def hold(self) -> None:
        """Read the elements into memory. Raises what reading raises."""
        tensor, dtype = self.original, dtypes.get(self.original.dtype)
        if tensor.raw is not None:
            buffer = np.empty(tensor.nbytes, np.uint8)
            tensor.raw.readinto(buffer, 0)
            self.array = dtype.unpack(buffer, tensor.size)
            return
        array, cuts = np.empty(tensor.size, dtype.numpy), [0]
        for block in self.source.blocks():
            cuts.append(cuts[-1] + block.size)
            array[cuts[-2] : cuts[-1]] = block
        self.array, self._cuts = array, cuts

    def release(self) -> None:
        self.array, self._cuts = None, []

    def to_sketch(self) -> Tensor:
        """What the sketch runner takes, and finds the same figures in as in the original."""
        if self.array is None:
            return self.original
        plain = self.original.raw is not None
        return replace(self.original, data=ArrayData(self.array) if plain else self)


def holdable(tree: WeightTree) -> WeightTree:
    """The tree with tensors that can be held, or are looked at as they pass where they are too
    large for that; but for those in memory already."""
    known: dict[object, HeldData | PassingData] = {}

    def held_data(tensor: Tensor) -> Tensor:
        if isinstance(tensor.data, ArrayData):
            return tensor
        wanted = PassingData if _in_memory(tensor) > LARGEST else HeldData
        return replace(tensor, data=known.setdefault(tie_key(tensor), wanted(tensor)))

    return tree.map(held_data)


def is_held(tensor: Tensor) -> bool:
    """Is it in memory now, or what was expected of it, but not later?"""
    data = tensor.data
    if isinstance(data, PassingData):
        return data.passed
    return isinstance(data, HeldData) and data.array is not None


def held_sketches(
    tree: WeightTree,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """`sketches` of a holdable tree's distinct tensors, each held until the next is asked for.

    As many tensors as TOGETHER allows are read together, so that the threads pay.
    """
    for batch in _batches(tree.distinct()):
        held = [tensor.data for tensor in batch if isinstance(tensor.data, HeldData)]
        try:
            for _ in in_order(_hold, held, threads):
                pass
            originals = [_to_sketch(tensor) for tensor in batch]
            found = sketches(originals, threads=threads, progress=progress)
            for tensor, (_, result) in zip(batch, found, strict=True):
                yield tensor, result
                if isinstance(tensor.data, (HeldData, PassingData)):
                    tensor.data.release()
        finally:
            for data in held:
                data.release()


def _hold(data: HeldData) -> None:
    try:
        data.hold()
    except WtoolsError:
        data.release()  # the sketch runner comes upon the same error, and tells it


def _to_sketch(tensor: Tensor) -> Tensor:
    data = tensor.data
    return data.to_sketch() if isinstance(data, (HeldData, PassingData)) else tensor


def _in_memory(tensor: Tensor) -> int:
    """Bytes of the elements as an array: narrow types take a byte each."""
    return tensor.size * dtypes.get(tensor.dtype).itemsize


def _batches(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of tensors of no more than TOGETHER; a larger one is alone."""
    batch: list[Tensor] = []
    nbytes = 0
    for tensor in tensors:
        size = _in_memory(tensor)
        if batch and nbytes + size > TOGETHER:
            yield batch
            batch, nbytes = [], 0
        batch.append(tensor)
        nbytes += size
    if batch:
        yield batch
