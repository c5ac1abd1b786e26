"""Elements from file bytes, in either byte order."""

from __future__ import annotations

import numpy as np
import pytest

from wtools import dtypes
from wtools.files import elements


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("name", ["int8", "int16", "float32", "float64", "complex64", "complex128"])
def test_big_endian_elements_are_turned_round(name: str, count: int) -> None:
    native = np.arange(count).astype(name)
    raw = np.frombuffer(native.astype(native.dtype.newbyteorder(">")).tobytes(), np.uint8)
    np.testing.assert_array_equal(elements(raw, count, dtypes.get(name), swapped=True), native)


@pytest.mark.parametrize("dtype", ["uint4", "int4", "float4_e2m1fn", "float32", "bool"])
@pytest.mark.parametrize("cuts", [[], [1], [7, 8], [3, 6, 9, 16, 17], [40]])
def test_packed_blocks_are_the_packed_whole_wherever_blocks_end(
    dtype: str, cuts: list[int]
) -> None:
    kind = dtypes.get(dtype)
    whole = np.random.default_rng(0).integers(0, 2, 41).astype(kind.numpy)
    blocks = np.split(whole, cuts)
    packed = [block.tobytes() for block in kind.packed_blocks(blocks)]
    assert b"".join(packed) == kind.pack(whole).tobytes()
