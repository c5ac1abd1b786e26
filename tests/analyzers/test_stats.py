"""Statistics against NumPy in float64: every dtype, every kind of odd number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wtools
from wtools import dtypes
from wtools.errors import NameNotFoundError, UsageError
from wtools.tree import Quantization, Tensor, WeightTree

Array = np.ndarray[Any, np.dtype[Any]]
EXACT = {"float64", "complex128"} | {
    name for name, dtype in dtypes.DTYPES.items() if dtype.kind in ("int", "uint", "bool")
}


def random_array(name: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Random bits where every pattern is a number, else normal numbers with odd ones among them."""
    rng = np.random.default_rng(seed)
    dtype = dtypes.get(name)
    if dtype.kind in ("int", "uint"):
        low = -(2 ** (dtype.bits - 1)) if dtype.kind == "int" else 0
        high = 2 ** (dtype.bits - (dtype.kind == "int"))
        wide = rng.integers(low, high, shape, np.int64 if dtype.kind == "int" else np.uint64)
        return wide.astype(dtype.numpy)
    if dtype.kind == "bool":
        return rng.random(shape) < 0.3
    if dtype.kind == "complex":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype.numpy)
    return rng.normal(size=shape).astype(dtype.numpy)


def odd(name: str, array: Array) -> Array:
    """The array with NaN, infinities, zeros of both signs, subnormals and extremes where it can."""
    dtype = dtypes.get(name)
    if dtype.kind not in ("float", "complex"):
        return array
    flat = array.copy().reshape(-1)
    tiny = 5e-324 if name == "float64" else 1e-45 if name == "float32" else 6e-8
    with np.errstate(all="ignore"):
        specials = np.array(
            [np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, 1e4, -1e4, 3.0], np.float64
        ).astype(dtype.numpy)
    flat[: specials.size] = specials
    return flat.reshape(array.shape)


def reference(array: Array) -> dict[str, float]:
    """The same figures by NumPy, in float64 (object integers where float64 is too narrow)."""
    wide = np.abs(array.astype(np.complex128)) if array.dtype.kind == "c" else widened(array)
    finite = wide[np.isfinite(wide.astype(np.float64))]
    numbers = finite.astype(np.float64)
    n = finite.size
    total = float(sum(finite.tolist())) if finite.dtype == object else math.fsum(numbers.tolist())
    mean = total / n if n else math.nan
    square = math.fsum((numbers * numbers).tolist())
    return {
        "count": wide.size,
        "mean": mean,
        "std": float(np.std(numbers)) if n else math.nan,
        "min": float(numbers.min()) if n else math.nan,
        "max": float(numbers.max()) if n else math.nan,
        "l1": math.fsum(np.abs(numbers).tolist()),
        "l2": math.sqrt(square),
        "linf": float(np.abs(numbers).max()) if n else 0.0,
        "rms": math.sqrt(square / n) if n else math.nan,
        "zeros": int((numbers == 0).sum()),
        "zero_fraction": float((numbers == 0).sum()) / wide.size if wide.size else math.nan,
        "nans": int(np.isnan(wide.astype(np.float64)).sum()),
        "infs": int(np.isinf(wide.astype(np.float64)).sum()),
    }


def widened(array: Array) -> Array:
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        return array.astype(object)
    return array.astype(np.float64)


def row_of(array: Array, **fields: Any) -> Any:
    tree = WeightTree([Tensor.of("x", array, **fields)])
    return wtools.stats(tree).rows[0]


def check(row: Any, array: Array, name: str) -> None:
    expected = reference(array)
    tolerance = 1e-12 if name in EXACT else 1e-6
    scale = max(abs(expected["linf"]), 1e-300)
    for figure, value in expected.items():
        ours = getattr(row, figure)
        # a mean may cancel to nothing: it is held against the size of what was added
        slack = tolerance * scale if figure in ("mean", "std") else 0
        assert ours == pytest.approx(value, rel=tolerance, abs=slack, nan_ok=True), figure


@pytest.mark.parametrize("name", dtypes.DTYPES)
@pytest.mark.parametrize("shape", [(7, 11, 13), (0, 4), (), (40_000,)])
def test_every_dtype_and_shape(name: str, shape: tuple[int, ...]) -> None:
    array = np.asarray(random_array(name, shape))
    if array.size > 100:
        array = odd(name, array)
    check(row_of(array), array, name)


@pytest.mark.parametrize("name", dtypes.DTYPES)
def test_every_pattern_of_narrow_types(name: str) -> None:
    """All bit patterns of the types of 16 bits and less: each counts as NumPy says it does."""
    dtype = dtypes.get(name)
    if dtype.bits > 16 or dtype.kind in ("bool", "complex"):
        return
    patterns = np.arange(2**dtype.bits)
    array = dtype.unpack(pack(patterns, dtype.bits), patterns.size)
    row = row_of(array)
    check(row, array, name)
    finite = np.sort(array.astype(np.float64)[np.isfinite(array.astype(np.float64))])
    for figure, q in (("q01", 0.01), ("q25", 0.25), ("q50", 0.5), ("q75", 0.75), ("q99", 0.99)):
        assert getattr(row, figure) == np.quantile(finite, q, method="inverted_cdf")


def pack(patterns: Array, bits: int) -> Array:
    planes = (patterns[:, None] >> np.arange(bits)) & 1
    return np.packbits(planes.reshape(-1).astype(np.uint8), bitorder="little")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32), max_size=300),
    st.sampled_from(["float32", "float64"]),
)
def test_any_floats(values: list[float], name: str) -> None:
    array = np.array(values, name)
    big = np.abs(array[np.isfinite(array)]).max(initial=0) > 1e150  # squares overflow in float64
    if not big:
        check(row_of(array), array, name)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=100))
def test_any_integers(values: list[int]) -> None:
    array = np.array(values, np.int64)
    check(row_of(array), array, "int64")


def test_a_mean_far_from_zero_does_not_spoil_the_deviation() -> None:
    rng = np.random.default_rng(1)
    array = 1e8 + rng.normal(size=100_000)
    assert row_of(array).std == pytest.approx(np.std(array - 1e8), rel=1e-9)


@pytest.mark.parametrize("name", ["float32", "float64", "int32", "complex64"])
def test_quantiles_of_wide_types_are_within_one_part_in_128(name: str) -> None:
    array = random_array(name, (50_000,), seed=5)
    numbers = np.abs(array) if array.dtype.kind == "c" else array.astype(np.float64)
    row = row_of(array)
    for figure, q in (("q01", 0.01), ("q25", 0.25), ("q50", 0.5), ("q75", 0.75), ("q99", 0.99)):
        true = np.quantile(numbers, q, method="inverted_cdf")
        assert abs(getattr(row, figure) - true) <= abs(true) / 128


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_a_digit(threads: int, tmp_path: Path) -> None:
    array = random_array("float32", (3_000_000,))
    path = tmp_path / "x.npz"
    np.savez(path, x=array, y=array[:1000])
    with wtools.open(path) as tree:
        one = wtools.stats(tree, threads=1).to_dict()
        assert wtools.stats(tree, threads=threads).to_dict() == one


def test_tied_tensors_count_once() -> None:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file.name, a=np.ones(10, np.float32), b=np.ones(5, np.float32))
        with wtools.open(file.name) as tree:
            tied = WeightTree([*tree.values(), tree["a"].rename("c")])
            report = wtools.stats(tied)
            assert report.summary["count"] == 15 and report.summary["l1"] == 15
            assert [row.tied_to for row in report.rows] == [None, None, "a"]
            assert any("a = c" in note for note in report.notes)
            layers = wtools.stats(tied, by="layer").rows
            assert sum(row.count for row in layers) == 15


def test_totals_are_of_the_weights_not_of_counters() -> None:
    tree = WeightTree(
        [
            Tensor.of("bn/gamma", np.float32([1, 3])),
            Tensor.of("bn/steps", np.array(10**9)),
            Tensor.of("ids", np.arange(5)),
        ]
    )
    report = wtools.stats(tree)
    assert report.summary["mean"] == 2 and report.summary["count"] == 8
    assert any("bn/steps, ids" in note for note in report.notes)
    rows = {row.name: row for row in wtools.stats(tree, by="layer").rows}
    assert rows["bn"].mean == 2 and rows["bn"].dtype == "float32"
    assert rows["(no layer)"].mean == 2 and rows["(no layer)"].dtype == "int64"


def test_a_layer_of_two_float_types_has_moments_but_no_quantiles() -> None:
    tree = WeightTree([Tensor.of("d/a", np.float32([1, 3])), Tensor.of("d/b", np.float16([5, 7]))])
    row = wtools.stats(tree, by="layer").rows[0]
    assert (row.dtype, row.mean, row.count, row.q50) == ("float32+float16", 4, 4, None)


def test_dequantized_figures() -> None:
    scale = Tensor.of("s", np.float32([0.5, 2.0]))
    stored = np.int8([[2, 4], [1, -1]])
    tensor = Tensor.of("w", stored, quantization=Quantization(scale, axis=0))
    tree = WeightTree([tensor])
    assert wtools.stats(tree).rows[0].max == 4
    assert any("--dequantize" in note for note in wtools.stats(tree).notes)
    real = wtools.stats(tree, dequantize=True)
    assert (real.rows[0].max, real.rows[0].min, real.rows[0].dtype) == (2, -2, "float32")
    assert not any("--dequantize" in note for note in real.notes)


def test_an_empty_tree() -> None:
    report = wtools.stats(WeightTree([]))
    assert not report.rows and report.summary["count"] == 0


def test_merged_parts_of_one_tensor_are_that_tensor(tmp_path: Path) -> None:
    array = random_array("float32", (1000,))
    whole = WeightTree([Tensor.of("w", array)])
    for k, part in enumerate(np.split(array, [137])):
        wtools.stats(WeightTree([Tensor.of("w", part)]), sketch_out=tmp_path / str(k))
    row = wtools.merged([tmp_path / "0", tmp_path / "1"]).rows[0]
    expected = wtools.stats(whole).rows[0]
    assert (row.count, row.q50, row.min, row.max, row.shape) == (
        *(1000, expected.q50, expected.min, expected.max),
        (1000,),
    )
    assert row.std == pytest.approx(expected.std, rel=1e-14)


def test_merging_what_does_not_add_up(tmp_path: Path) -> None:
    for k, dtype in enumerate([np.float32, np.float16]):
        tree = WeightTree([Tensor.of("w", np.ones(3, dtype))])
        wtools.stats(tree, sketch_out=tmp_path / str(k))
    with pytest.raises(UsageError, match="float16"):
        wtools.merged([tmp_path / "0", tmp_path / "1"])


def test_looks() -> None:
    tree = WeightTree([Tensor.of("dense/kernel", np.ones((3, 4), np.float32))], path="m.h5")
    assert repr(tree) == "<WeightTree memory m.h5: 1 tensors, 12 parameters, 48 bytes>"
    assert repr(tree["dense/kernel"]) == "<Tensor 'dense/kernel' float32 3×4>"
    assert "dense/kernel" in tree._repr_html_() and "<table>" in tree._repr_html_()
    assert "dense/kernel" in repr(wtools.stats(tree)) and len(wtools.stats(tree)) == 1
    with pytest.raises(NameNotFoundError, match="dense/kernel"):
        tree["dense/kernl"]
