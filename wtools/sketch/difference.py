"""How the elements of two tensors of one floating-point dtype differ, by the compiled core.

Where it was not built, or for other dtypes, analyses compute the same in NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tree import Raw
from . import cores, twin

Bytes = NDArray[np.uint8]

DTYPES = ("float64", "float32", "float16", "bfloat16")
SCRATCH = 1 << 18  # bytes of both files read at a time: they stay in the second-level cache


class Difference(NamedTuple):
    """changed: elements with other bits. nonfinite: of those, with NaN or an infinity on either
    side. The rest is over elements that are finite on both sides: flips of the sign, the largest
    |b - a|, and the sums of a*a, b*b, a*b and (b - a)**2 in float64.
    """

    changed: int
    nonfinite: int
    flips: int
    most: float
    aa: float
    bb: float
    ab: float
    dd: float


def computed(dtype: str) -> bool:
    """Does the core that runs compare elements of this dtype?"""
    return dtype in DTYPES and cores.core() != "numpy"


def compare(a: NDArray[Any], b: NDArray[Any], dtype: str) -> Difference:
    """The difference of two arrays of as many elements, of a dtype that is `computed`."""
    x, y = np.ascontiguousarray(a), np.ascontiguousarray(b)
    found = cores.compiled().compare(*_codes(dtype), x.view(np.uint8), y.view(np.uint8))
    return Difference(*found)


def compare_files(
    a: Raw, b: Raw, dtype: str, start: int, stop: int
) -> tuple[int, Difference] | None:
    """The difference of elements [start, stop) of two tensors as they lie in their files.

    The first number is how many elements before the first difference are equal; those are not in
    the sums. None where either file has become shorter.
    """
    width = twin.WORDS[dtype].itemsize
    offset, nbytes = start * width, (stop - start) * width
    scratch = np.empty(SCRATCH, np.uint8)
    sides = (a.fd, a.offset + offset, b.fd, b.offset + offset)
    done, equal, found = cores.compiled().compare_files(*_codes(dtype), *sides, nbytes, scratch)
    return (equal, Difference(*found)) if done == nbytes else None


def _codes(dtype: str) -> tuple[int, int]:
    """The core's numbers for a dtype and for the instruction set that runs."""
    return cores.KINDS.index(dtype), cores.cores().index(cores.core()) - 1
