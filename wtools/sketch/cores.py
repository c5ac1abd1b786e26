"""Which core runs, and how a dtype's elements are put before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..tree import Tensor
from . import bins as binning
from . import twin
from .model import Histogram, Sketch, from_histogram, merge_all

Array = NDArray[Any]


def core() -> str:
    """The core that runs: "avx512", "avx2", "baseline" (SSE2), "neon", or "numpy"."""
    return "numpy"


def scanner(dtype: str, *, histogram: bool, moments: bool) -> twin.Scanner:
    return twin.Scanner(dtype, histogram=histogram, moments=moments)


@dataclass(frozen=True)
class Plan:
    """How to sketch elements of `dtype`.

    word: the name the core knows the elements by (see twin.WORDS); "bytes" for all types of
        8 bits and less, of which only the histogram of bytes is taken.
    packed: do the bytes hold several elements each, as in a file?
    """

    dtype: str
    histogram: bool
    packed: bool = False

    @property
    def word(self) -> str:
        kind = dtypes.get(self.dtype)
        if kind.kind == "complex":
            return "float64"
        return "bytes" if kind.bits <= 8 else self.dtype

    @property
    def counted(self) -> bool:
        """Is the histogram all that is needed?"""
        return self.word == "bytes" or (self.histogram and binning.of(self.dtype).exact)

    def scanner(self) -> twin.Scanner:
        counted = self.counted
        return scanner(self.word, histogram=counted or self.histogram, moments=not counted)

    def result(self, parts: list[Sketch], histograms: list[Histogram]) -> Sketch:
        """The whole sketch, from the moments of the parts in order and all counts."""
        counts = _add(histograms) if self.counted or self.histogram else None
        if not self.counted:
            whole = merge_all(self.word, parts)
            return replace(whole, dtype=self.dtype, histogram=counts)
        assert counts is not None
        if self.word == "bytes":
            counts = fold(counts, self.dtype, packed=self.packed)
        return from_histogram(self.dtype, counts, keep=self.histogram)


def _add(histograms: list[Histogram]) -> Histogram:
    if not histograms:
        return Histogram(np.empty(0, np.uint32), np.empty(0, np.int64))
    whole = histograms[0]
    for histogram in histograms[1:]:
        whole += histogram
    return whole


def fold(counts: Histogram, dtype: str, *, packed: bool) -> Histogram:
    """Counts of bytes -> counts of the elements that they hold."""
    kind = dtypes.get(dtype)
    bits = kind.bits if packed else 8
    folded = np.zeros(1 << binning.of(dtype).bits, np.int64)
    for shift in range(0, 8, bits):
        field = counts.bins >> np.uint32(shift)
        field = field != 0 if kind.kind == "bool" else field & np.uint32((1 << kind.bits) - 1)
        np.add.at(folded, field.astype(np.intp), counts.counts)
    return Histogram.dense(folded)


def last_byte(byte: int, dtype: str, fields: int) -> Histogram:
    """The elements in the lowest `fields` fields of a tensor's last, partly used byte."""
    bits = dtypes.get(dtype).bits
    folded = np.zeros(1 << bits, np.int64)
    for field in range(fields):
        folded[byte >> (field * bits) & ((1 << bits) - 1)] += 1
    return Histogram.dense(folded)


def as_bytes(array: Array) -> NDArray[np.uint8]:
    """The elements of `array` in C order as the bytes that a scanner takes."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind == "c":
        with np.errstate(over="ignore", invalid="ignore"):
            flat = np.hypot(flat.real.astype(np.float64), flat.imag.astype(np.float64))
    if flat.dtype.itemsize > 1:
        flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    return flat.view(np.uint8)


def sketch(data: Tensor | Array, *, histogram: bool = True, threads: int | None = None) -> Sketch:
    """The sketch of one tensor or array (any dtype of `wtools.dtypes`, any strides).

    threads: how many read and compute at once, None for one per core; the result is the same.
    Raises the error that reading the tensor raises.
    """
    from .runner import sketches

    tensor = data if isinstance(data, Tensor) else Tensor.of("array", data)
    ((_, result),) = sketches([tensor], histogram=histogram, threads=threads)
    if isinstance(result, Sketch):
        return result
    raise result
