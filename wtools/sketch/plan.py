"""How the elements of each dtype are put before the core, and its findings put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..tree import ArrayData, Raw, Tensor
from . import bins as binning
from .cores import Scanner, scanner
from .model import Histogram, Sketch, few, from_histogram, merge_all
from .twin import WORDS

Array = NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """How to sketch the elements of one dtype.

    packed: do the bytes hold several elements each, as in a file?
    """

    dtype: str
    histogram: bool
    packed: bool = False

    @property
    def kind(self) -> str:
        """The kind of elements (of cores.KINDS) that the core sees."""
        dtype = dtypes.get(self.dtype)
        if dtype.kind == "complex":
            return "float64"  # the magnitudes
        if dtype.bits > 8 or (self.dtype in WORDS and not self.histogram):
            return self.dtype
        return "bytes"

    @property
    def counted(self) -> bool:
        """Is the histogram all that is needed? It is the exact distribution of a narrow type."""
        return self.kind == "bytes" or (self.histogram and binning.of(self.dtype).exact)

    def scanner(self) -> Scanner:
        counted = self.counted
        return scanner(self.kind, histogram=counted or self.histogram, moments=not counted)

    def result(
        self,
        parts: Sequence[Sketch],
        histograms: Sequence[Histogram],
        kept: Sequence[NDArray[np.uint8]] | None,
    ) -> Sketch:
        """The whole sketch, from the moments of the parts in order and from all counts.

        kept: the bytes of all elements, if there are FEW of a wide type.
        """
        if not self.counted:
            whole = merge_all(self.kind, parts)
            counts = Histogram.sum(histograms) if self.histogram else None
            values = None
            if kept is not None:
                word = WORDS[self.kind]
                words = [raw.view(word.newbyteorder("<")).astype(f"{word.kind}8") for raw in kept]
                values = few(self.dtype, whole.count, words)
            return replace(whole, dtype=self.dtype, histogram=counts, values=values)
        counts = Histogram.sum(histograms)
        return from_histogram(self.dtype, counts, keep=self.histogram)

    def elements(self, counts: Histogram) -> Histogram:
        """Counts of what the core saw -> counts of elements."""
        return fold(counts, self.dtype, packed=self.packed) if self.kind == "bytes" else counts


def plain(tensor: Tensor) -> Raw | None:
    """The tensor's bytes in its file, where the core can read them as they lie."""
    dtype = dtypes.get(tensor.dtype)
    if dtype.kind == "complex" or dtype.bits == 6:
        return None
    return tensor.raw


def in_memory(tensor: Tensor) -> NDArray[np.uint8] | None:
    """The bytes of an array in memory, where the core can read them as they lie."""
    if not isinstance(tensor.data, ArrayData):
        return None
    array = tensor.data.array
    if not array.flags.c_contiguous or array.dtype.kind == "c" or not array.dtype.isnative:
        return None
    return array.reshape(-1).view(np.uint8)


def fold(counts: Histogram, dtype: str, *, packed: bool) -> Histogram:
    """Counts of bytes -> counts of the elements that they hold."""
    kind = dtypes.get(dtype)
    if kind.bits == 8 and kind.kind != "bool":
        return counts
    width = kind.bits if packed else 8
    folded = np.zeros(1 << binning.of(dtype).bits, np.int64)
    for shift in range(0, 8, width):
        field = counts.bins >> np.uint32(shift)
        field = field != 0 if kind.kind == "bool" else field & np.uint32((1 << kind.bits) - 1)
        np.add.at(folded, field.astype(np.intp), counts.counts)
    return Histogram.dense(folded)


def last_fields(byte: int, dtype: str, count: int) -> Histogram:
    """The `count` elements in a tensor's last byte, where they do not fill it."""
    bits = dtypes.get(dtype).bits
    fields = [byte >> (number * bits) & ((1 << bits) - 1) for number in range(count)]
    return Histogram.dense(np.bincount(fields, minlength=1 << bits))


def as_bytes(array: Array) -> NDArray[np.uint8]:
    """The elements of an array, in C order, as the bytes that a Scanner takes."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind == "c":
        with np.errstate(over="ignore", invalid="ignore"):
            flat = np.hypot(flat.real.astype(np.float64), flat.imag.astype(np.float64))
    if flat.dtype.itemsize > 1:
        flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    return flat.view(np.uint8)
