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
