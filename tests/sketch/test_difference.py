"""The core's comparison of two tensors, by every instruction set that runs here, against NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sketch.reference import example

import wtools
from wtools.sketch import cores, difference
from wtools.tree import Tensor, WeightTree

COMPILED = [name for name in cores.cores() if name != "numpy"]

pytestmark = pytest.mark.skipif(not COMPILED, reason="there is no compiled core")


def expected(a: np.ndarray, b: np.ndarray) -> difference.Difference:
    words = f"u{a.dtype.itemsize}"
    changed = a.view(words) != b.view(words)
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    gone = int((changed & ~finite).sum())
    x, y = x[finite], y[finite]
    with np.errstate(over="ignore"):
        most = float(np.abs(y - x).max(initial=0))
        flips = int((np.sign(x) * np.sign(y) == -1).sum())
        sums = [math.fsum(p) for p in (x * x, y * y, x * y, (y - x) ** 2)]
    return difference.Difference(int(changed.sum()), gone, flips, most, *sums)


def pair(dtype: str, count: int, special: bool) -> tuple[np.ndarray, np.ndarray]:
    a = example(dtype, count, count)
    b = a.copy()
    rng = np.random.default_rng(count)
    moved = rng.random(count) < 0.5
    b[moved] = example(dtype, count, count + 1)[moved]
    if not special:
        for side in (a, b):
            side[~np.isfinite(side.astype(np.float64))] = 1
    return a, b


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("dtype", difference.DTYPES)
@pytest.mark.parametrize("name", COMPILED)
def test_what_differs(
    name: str, dtype: str, special: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTOOLS_CORE", name)
    for count in (0, 1, 7, 8, 9, 4_095, 4_096, 4_097, 20_000):
        a, b = pair(dtype, count, special)
        found, truth = difference.compare(a, b, dtype), expected(a, b)
        assert found[:4] == truth[:4]
        scale = math.sqrt(truth.aa * truth.bb)
        assert found[4:] == pytest.approx(truth[4:], rel=1e-12, abs=1e-12 * scale)


@pytest.mark.parametrize("dtype", difference.DTYPES)
def test_every_instruction_set_gives_the_same_to_the_last_bit(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair(dtype, 50_000, special=False)
    found = set()
    for name in COMPILED:
        monkeypatch.setenv("WTOOLS_CORE", name)
        found.add(difference.compare(a, b, dtype))
    assert len(found) == 1


def test_zeros_of_either_sign_differ_but_are_no_flip_of_sign() -> None:
    a, b = (
        np.array([0.0, -0.0, 0.0, 1.0], np.float32),
        np.array([-0.0, 0.0, -1.0, -1.0], np.float32),
    )
    found = difference.compare(a, b, "float32")
    assert (found.changed, found.flips, found.most) == (4, 1, 2.0)


def test_squares_beyond_float64() -> None:
    a = np.array([1e200, -1e300, 3.0])
    found = difference.compare(a, a * 0.5, "float64")
    assert (found.changed, found.nonfinite, found.aa) == (3, 0, math.inf)
    assert found.most == 5e299


@pytest.mark.parametrize("dtype", difference.DTYPES)
def test_files_are_compared_as_arrays_are(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 300_000  # more than are read at a time
    base = np.resize(example(dtype, 50_000), count)
    for first in (None, 0, 200_000, count - 1):  # where they begin to differ
        other = base.copy()
        if first is not None:
            other[first:] = np.roll(base, 17)[first:]
        trees: list[WeightTree] = []
        for name, array in (("a", base), ("b", other)):
            path = tmp_path / f"{name}.safetensors"
            wtools.convert(WeightTree([Tensor.of("w", array)]), path, overwrite=True)
            trees.append(wtools.open(path))
        rows: list[Any] = []
        for core in ("numpy", COMPILED[-1]):
            monkeypatch.setenv("WTOOLS_CORE", core)
            rows += wtools.diff(*trees, everything=True).rows
        numpy, compiled = rows
        assert compiled.status == numpy.status
        for field in ("changed", "sign_flips", "nonfinite_changes", "compared", "max_abs"):
            assert getattr(compiled, field) == getattr(numpy, field)
        for field in ("relative_l2", "cosine", "l2_a", "l2_b", "l2_change"):
            truth = getattr(numpy, field)  # None where not a bit differs
            near = truth if truth is None else pytest.approx(truth, rel=1e-12, nan_ok=True)
            assert getattr(compiled, field) == near


def test_misuse() -> None:
    compare, files = cores.compiled().compare, cores.compiled().compare_files
    some, scratch = np.zeros(16, np.uint8), np.zeros(1 << 17, np.uint8)
    for kind, isa in ((-1, 0), (4, 0), (99, 0), (0, -1), (0, 99)):
        with pytest.raises(ValueError, match="unknown kind"):
            compare(kind, isa, some, some)
        with pytest.raises(ValueError, match="unknown kind"):
            files(kind, isa, 0, 0, 0, 0, 8, scratch)
    with pytest.raises(ValueError, match="one size"):
        compare(1, 0, some, some[:8])
    with pytest.raises(ValueError, match="scratch"):
        files(1, 0, 0, 0, 0, 0, 8, some)
    with pytest.raises(OSError, match="descriptor"):
        files(1, 0, 99_999, 0, 99_999, 0, 8, scratch)
