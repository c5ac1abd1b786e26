"""The core in NumPy: used where the compiled one was not built, and to check that one.

`measure` gives the moments of an array, `bin_numbers` the histogram bin of each element.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bins as binning
from .model import Histogram, Sketch, merge_all

Array = NDArray[Any]
BLOCK = 1 << 15  # elements whose float64 copies stay in the second-level cache

# dtypes without a NumPy type of their own are scanned as the integers that hold their patterns
WORDS: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "int64": np.dtype(np.int64),
    "uint64": np.dtype(np.uint64),
    "int32": np.dtype(np.int32),
    "uint32": np.dtype(np.uint32),
    "int16": np.dtype(np.int16),
    "uint16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
}


class Scanner:
    """One thread's pass over the elements of one dtype (a key of WORDS, or "bytes").

    `scan` returns the moments of what it is given and adds to the counts, which `drain`
    hands over. With `moments` off only the counts are kept; "bytes" has no moments.
    """

    def __init__(self, dtype: str, *, histogram: bool, moments: bool) -> None:
        self.dtype, self.histogram, self.moments = dtype, histogram, moments
        bits = 8 if dtype == "bytes" else binning.of(dtype).bits
        self._counts = np.zeros(1 << bits, np.int64) if histogram else None

    def scan(self, raw: NDArray[np.uint8]) -> Sketch | None:
        """`raw`: little-endian elements, contiguous, at any alignment."""
        if self.dtype == "bytes":
            assert self._counts is not None
            self._counts += np.bincount(raw, minlength=256)
            return None
        words = raw.view(WORDS[self.dtype].newbyteorder("<"))
        parts = []
        for start in range(0, words.size, BLOCK):
            block = words[start : start + BLOCK]
            if self._counts is not None:
                numbers, counts = np.unique(bin_numbers(block, self.dtype), return_counts=True)
                self._counts[numbers] += counts
            if self.moments:
                parts.append(measure(block, self.dtype))
        return merge_all(self.dtype, parts) if self.moments else None

    def scan_file(
        self, fd: int, offset: int, nbytes: int, scratch: NDArray[np.uint8]
    ) -> tuple[int, Sketch | None]:
        """`scan` over a part of a file, and how many bytes of it there were."""
        parts, done = [], 0
        while done < nbytes:
            buffer = scratch[: min(scratch.size, nbytes - done)]
            got = _read_fully(fd, buffer, offset + done)
            if got < buffer.size:
                break
            part = self.scan(buffer)
            if part is not None:
                parts.append(part)
            done += got
        return done, merge_all(self.dtype, parts) if self.moments else None

    def drain(self) -> Histogram:
        """The counts since the last call."""
        assert self._counts is not None
        histogram = Histogram.dense(self._counts)
        self._counts[histogram.bins] = 0
        return histogram


def _read_fully(fd: int, buffer: NDArray[np.uint8], offset: int) -> int:
    done = 0
    while done < buffer.size and (got := os.preadv(fd, [buffer[done:].data], offset + done)):
        done += got
    return done


def bin_numbers(words: Array, dtype: str) -> Array:
    """The bin of each element; `words` as in WORDS."""
    if dtype == "float64":
        numbers: Array = words.view(np.uint64) >> np.uint64(45)
        return numbers
    if dtype == "float32":
        return words.view(np.uint32) >> np.uint32(16)
    if words.dtype.itemsize == 2:
        return words.view(np.uint16)
    # The value cut to float32 by way of float64, which holds 53 bits of it: cut to those first.
    negative = words < 0
    magnitude = words.astype(np.uint64)
    magnitude = np.where(negative, np.uint64(0) - magnitude, magnitude)
    large = magnitude >> np.uint64(53) != 0
    magnitude = np.where(large, magnitude & ~np.uint64(0x7FF), magnitude)
    pattern = magnitude.astype(np.float64).view(np.uint64) >> np.uint64(45)
    number: Array = np.where(magnitude > 0, pattern - np.uint64((1023 - 127) << 7), np.uint64(0))
    number |= negative.astype(np.uint64) << np.uint64(15)
    return number


def measure(words: Array, dtype: str) -> Sketch:
    """The sketch of a block, without a histogram."""
    words = words.astype(words.dtype.newbyteorder("="), copy=False)
    if words.dtype.kind in "iu" and dtype != "bfloat16":
        return _measure_integers(words, dtype)
    if dtype == "bfloat16":
        words = (words.astype(np.uint32) << np.uint32(16)).view(np.float32)
    finite = np.isfinite(words)
    tiny = np.finfo(words.dtype).tiny
    with np.errstate(invalid="ignore"):
        magnitude = np.abs(words)
    zeros = int(np.count_nonzero(words == 0))
    fields: dict[str, Any] = {
        "count": words.size,
        "zeros": zeros,
        "nans": int(np.count_nonzero(np.isnan(words))),
        "pos_infs": int(np.count_nonzero(words == np.inf)),
        "neg_infs": int(np.count_nonzero(words == -np.inf)),
        "subnormals": int(np.count_nonzero(magnitude < tiny)) - zeros,
    }
    x = words[finite].astype(np.float64)
    if not x.size:
        return Sketch(dtype, **fields, sum=0.0, l1=0.0)
    with np.errstate(over="ignore"):
        total, l1 = float(x.sum()), float(np.abs(x).sum())
    low, high = float(x.min()), float(x.max())
    center = min(max(total / x.size, low), high)  # exact for a constant
    fields |= {"sum": total, "l1": l1, "center": center, "min": low + 0.0, "max": high + 0.0}
    return Sketch(dtype, **fields, **_central(x - center))


def _measure_integers(x: Array, dtype: str) -> Sketch:
    fields: dict[str, Any] = {"count": x.size, "zeros": int(np.count_nonzero(x == 0))}
    if not x.size:
        return Sketch(dtype, **fields)
    low, high = int(x.min()), int(x.max())
    total = _exact_sum(x)
    l1 = total if low >= 0 else _exact_sum(x[x > 0]) - _exact_sum(x[x < 0])
    center = total // x.size
    if high - low < 1 << 63:  # differences wrap, but those from the center fit
        wide = x.astype(np.int64 if x.dtype.kind == "i" else np.uint64)
        distance = (wide - wide.dtype.type(center)).view(np.int64).astype(np.float64)
    else:
        distance = x.astype(np.float64) - float(center)
    fields |= {"sum": total, "l1": l1, "min": low, "max": high}
    return Sketch(dtype, **fields, **(_central(distance) | {"offset": 0.0}))


def _exact_sum(x: Array) -> int:
    if x.dtype.itemsize < 8:
        return int(x.sum(dtype=np.int64))
    low = (x.view(np.uint64) & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64)
    return int(low) + (int((x >> 32).sum()) << 32)


def _central(distance: Array) -> dict[str, Any]:
    """m2, m3, m4 from distances to a point near the mean."""
    with np.errstate(over="ignore", invalid="ignore"):
        n, square = distance.size, distance * distance
        a = float(distance.sum()) / n
        s2, s3 = float(square.sum()), float((square * distance).sum())
        s4 = float((square * square).sum())
    m2 = max(s2 - n * a * a, 0.0)
    m3 = s3 - 3 * a * s2 + 2 * n * a * a * a
    m4 = max(s4 - 4 * a * s3 + 6 * a * a * s2 - 3 * n * a * a * a * a, 0.0)
    return {"m2": m2, "m3": m3, "m4": m4, "offset": a}
