"""A Sketch says what plain NumPy says, whatever the dtype, and sketches add up."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example as example_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sketch.reference import (
    FLOATS,
    NAMES,
    NARROW,
    assert_agree,
    assert_is_of,
    example,
    float32s,
    wide,
)

from wtools import dtypes
from wtools.errors import UsageError
from wtools.sketch import Sketch, sketch
from wtools.sketch.model import merge_all, total


@pytest.mark.parametrize("histogram", [True, False])
@pytest.mark.parametrize("dtype", NAMES)
def test_figures_are_those_of_numpy(dtype: str, histogram: bool) -> None:
    array = example(dtype, 30_011)
    assert_is_of(sketch(array, histogram=histogram), array)


@pytest.mark.parametrize("dtype", FLOATS)
def test_subnormals_are_those_of_the_dtype(dtype: str) -> None:
    import ml_dtypes

    array = example(dtype, 5_000)
    size = np.abs(array.astype(np.float64))
    least = float(ml_dtypes.finfo(array.dtype).smallest_normal)
    expected = np.count_nonzero((size > 0) & (size < least))
    for histogram in (True, False):
        assert sketch(array, histogram=histogram).subnormals == expected


@pytest.mark.parametrize("dtype", NARROW)
def test_quantiles_are_exact_up_to_16_bits(dtype: str) -> None:
    array = example(dtype, 3_001)
    x = wide(array)
    x = x[np.isfinite(x)]
    found = sketch(array)
    for q in (0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.9999, 1):
        assert found.quantile(q) == np.quantile(x, q, method="inverted_cdf")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint32", "uint64"])
def test_quantiles_of_wider_types_are_within_one_part_in_128(dtype: str) -> None:
    array = example(dtype, 20_000, special=False)
    found = sketch(array)
    for q in np.linspace(0, 1, 41):
        true = float(np.quantile(wide(array), q, method="inverted_cdf"))
        assert abs(found.quantile(q) - true) <= abs(true) / 128
    assert found.quantile(0) == float(found.min)
    assert found.quantile(1) == float(found.max)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex32"])
def test_complex_elements_count_by_their_magnitude(dtype: str) -> None:
    array = example(dtype, 2_000, special=False)
    array = array + 1j * array[::-1]
    found = sketch(array.astype(np.complex64 if dtype == "complex32" else dtype))
    true = float(np.quantile(wide(array), 0.5, method="inverted_cdf"))
    assert abs(found.quantile(0.5) - true) <= true / 128
    assert_is_of(found, array)


@given(float32s(1), st.floats(0, 1))
def test_any_quantile_of_any_float32(array: np.ndarray, q: float) -> None:
    x = array[np.isfinite(array)].astype(np.float64)
    found = binned(array).quantile(q)
    if not x.size:
        assert math.isnan(found)
    else:
        true = float(np.quantile(x, q, method="inverted_cdf"))
        assert abs(found - true) <= max(abs(true) / 128, 2.0**-133)


@given(float32s(1), st.floats(0, allow_nan=False, allow_infinity=False))
def test_the_fraction_below_a_threshold_lies_within_its_bounds(
    array: np.ndarray, threshold: float
) -> None:
    x = np.abs(array[np.isfinite(array)].astype(np.float64))
    found = binned(array)
    if x.size:
        true = np.count_nonzero(x < threshold) / x.size
        low, high = found.below_bounds(threshold)
        assert low - 1e-15 <= true <= high + 1e-15
        assert low <= found.below(threshold) <= high + 1e-15


@pytest.mark.parametrize("dtype", NARROW)
def test_the_fraction_below_is_exact_up_to_16_bits(dtype: str) -> None:
    array = example(dtype, 3_000)
    x = wide(array)
    x = np.abs(x[np.isfinite(x)])
    for threshold in (0.0, 1e-3, 0.5, 1.0, 2.0, 100.0, float("inf")):
        true = np.count_nonzero(x < threshold) / x.size
        assert sketch(array).below(threshold) == pytest.approx(true, abs=1e-15)
        assert sketch(array).below_bounds(threshold)[0] == pytest.approx(true, abs=1e-15)


def test_the_fraction_below_a_power_of_two_is_exact() -> None:
    array = example("float32", 10_000, special=False)
    for power in range(-8, 3):
        true = np.count_nonzero(np.abs(array) < 2.0**power) / array.size
        assert sketch(array).below(2.0**power) == true


class TestFarFromZero:
    """The mean may be far larger than the spread."""

    def test_float64(self) -> None:
        array = np.random.default_rng(0).standard_normal(50_000) + 1e9
        found = sketch(array)
        assert found.std == pytest.approx(array.std(), rel=1e-12)
        assert found.skewness == pytest.approx(0, abs=0.05)
        assert found.kurtosis == pytest.approx(0, abs=0.1)

    def test_int64_beyond_what_float64_holds(self) -> None:
        around = np.random.default_rng(0).integers(-100, 100, 50_000)
        found = sketch(around + (1 << 62))
        assert found.sum == int(around.sum()) + around.size * (1 << 62)
        assert found.min == int(around.min()) + (1 << 62)
        assert found.std == pytest.approx(around.std(), rel=1e-9)

    def test_a_constant_has_no_spread(self) -> None:
        for value in (0.1, 1e300, -3.7e-310, 1e-40):
            found = sketch(np.full(70_001, value))
            assert found.mean == value
            assert found.std == 0

    def test_int64_over_its_whole_range(self) -> None:
        ends = np.array([-(1 << 63), (1 << 63) - 1] * 5_000)
        found = sketch(ends)
        assert (found.sum, found.l1) == (-5_000, 5_000 * ((1 << 64) - 1))
        assert found.std == pytest.approx(2.0**63, rel=1e-12)

    def test_uint64_sums_are_exact(self) -> None:
        found = sketch(np.full(9_999, (1 << 64) - 1, np.uint64))
        assert found.sum == found.l1 == 9_999 * ((1 << 64) - 1)
        assert found.max == (1 << 64) - 1
        assert found.std == 0


class TestEdges:
    @pytest.mark.parametrize("dtype", NAMES)
    def test_nothing(self, dtype: str) -> None:
        found = sketch(np.empty((3, 0), dtypes.get(dtype).numpy))
        assert (found.count, found.finite, found.sum, found.l2) == (0, 0, 0, 0)
        assert math.isnan(found.mean)
        assert math.isnan(found.quantile(0.5))
        assert math.isnan(found.below(1))

    def test_a_scalar(self) -> None:
        found = sketch(np.float32(-2.5))
        assert (found.count, found.mean, found.std, found.l1) == (1, -2.5, 0, 2.5)
        assert found.quantile(0.3) == -2.5

    def test_only_nan_and_infinities(self) -> None:
        found = sketch(np.array([np.nan, np.inf, -np.inf, np.nan], np.float32))
        assert (found.nans, found.pos_infs, found.neg_infs, found.finite) == (2, 1, 1, 0)
        assert math.isnan(found.max)
        assert found.linf == 0
        assert math.isnan(found.quantile(0.5))

    def test_signed_zeros_are_zeros(self) -> None:
        found = sketch(np.array([0.0, -0.0, -0.0], np.float32))
        assert found.zeros == 3
        assert math.copysign(1, found.min) == math.copysign(1, found.max) == 1

    def test_order_and_stride_do_not_matter(self) -> None:
        array = example("float32", 10_000).reshape(100, 100)
        assert_agree(sketch(array[::2, ::-1]), sketch(array[::2, ::-1].copy()))
        assert_agree(sketch(array.T), sketch(array))

    def test_big_endian_arrays(self) -> None:
        for dtype in (">f4", ">f8", ">i8", ">u2", ">c8"):
            array = example("float32", 500, special=False).astype(dtype)
            native = array.astype(array.dtype.newbyteorder("="))
            assert sketch(array) == sketch(native)

    def test_a_quantile_is_between_0_and_1(self) -> None:
        with pytest.raises(UsageError, match="between 0 and 1"):
            sketch(np.ones(3)).quantile(1.5)
        with pytest.raises(UsageError, match="without a histogram"):
            sketch(np.ones(3), histogram=False).quantile(0.5)


class TestMerging:
    @pytest.mark.parametrize("histogram", [True, False])
    @pytest.mark.parametrize("dtype", NAMES)
    def test_splitting_anywhere_gives_the_same_sketch(self, dtype: str, histogram: bool) -> None:
        array = example(dtype, 10_000)
        whole = sketch(array, histogram=histogram)
        for cut in (0, 1, 17, 4_096, 5_001, 9_999, 10_000):
            left, right = (sketch(part, histogram=histogram) for part in np.split(array, [cut]))
            assert_agree(left + right, whole)

    @example_of(np.zeros(1, np.float32), -np.zeros(1, np.float32))
    @given(float32s(), float32s())
    def test_commutative(self, a: np.ndarray, b: np.ndarray) -> None:
        x, y = sketch(a), sketch(b)
        assert same(x + y, y + x)

    @given(float32s(), float32s(), float32s())
    def test_associative(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
        x, y, z = sketch(a), sketch(b), sketch(c)
        assert_agree((x + y) + z, x + (y + z))

    @settings(deadline=None)
    @given(st.data(), st.sampled_from(NARROW))
    def test_exactly_associative_up_to_16_bits(self, data: st.DataObject, dtype: str) -> None:
        array = example(dtype, 400, data.draw(st.integers(0, 1000)))
        cuts = sorted(data.draw(st.lists(st.integers(0, 400), max_size=6)))
        parts = [sketch(part) for part in np.split(array, cuts)]
        left = parts[0]
        for part in parts[1:]:
            left = left + part
        assert same(left, sketch(array))
        assert same(merge_all(dtype, parts), left)
        assert same(total(parts), left)
        assert same(total(parts * 4), left + left + left + left)

    @pytest.mark.parametrize("dtype", NAMES)
    def test_the_empty_sketch_changes_nothing(self, dtype: str) -> None:
        found, nothing = sketch(example(dtype, 300)), sketch(example(dtype, 300)[:0])
        assert same(found + nothing, found)
        assert same(nothing + found, found)

    def test_without_a_histogram_on_one_side_there_is_none(self) -> None:
        array = example("bfloat16", 300)
        assert (sketch(array) + sketch(array, histogram=False)).histogram is None

    def test_dtypes_do_not_mix(self) -> None:
        with pytest.raises(UsageError, match="float32 does not add to one of float64"):
            sketch(np.ones(3, np.float32)) + sketch(np.ones(3))


def binned(array: np.ndarray) -> Sketch:
    """The sketch of few elements with what many have: the histogram alone."""
    return dataclasses.replace(sketch(array), values=None)


def same(a: Sketch, b: Sketch) -> bool:
    """Equal in every field, NaN included."""
    if not np.array_equal(*(np.empty(0) if s.values is None else s.values for s in (a, b))):
        return False
    return a.histogram == b.histogram and repr(a) == repr(b)


def test_up_to_4096_elements_quantiles_are_exact_for_wide_types_too() -> None:
    for dtype in ("float32", "float64", "int32", "uint64", "complex64"):
        array = example(dtype, 4_096)
        x = wide(array)
        x = x[np.isfinite(x)]
        left, right = np.split(array, [1_500])
        for found in (sketch(array), sketch(left) + sketch(right)):
            assert found.exact
            for q in (0, 0.01, 0.25, 0.5, 0.77, 1):
                assert found.quantile(q) == np.quantile(x, q, method="inverted_cdf")
            near = found.quantile(0.6)
            assert found.below(abs(near)) == np.count_nonzero(np.abs(x) < abs(near)) / x.size
        more = sketch(array) + sketch(array[:1])
        assert not more.exact
        assert not (more + sketch(array[:0])).exact


def test_zero_is_a_quantile_where_enough_zeros_are() -> None:
    array = np.array([-1, -0.5, 0.0, -0.0, 0.0, -0.0, 0.5, 1], np.float32)
    assert [sketch(array).quantile(q / 8) for q in (3, 4, 5, 6)] == [0, 0, 0, 0]
    many = np.tile(array, 1_000)
    assert [sketch(many).quantile(q / 8) for q in (3, 4, 5, 6)] == [0, 0, 0, 0]
    tiny = sketch(many * np.float32(1e-44))  # these share the bins of the zeros
    assert all(abs(tiny.quantile(q / 8)) <= 2.0**-133 for q in range(9))


@pytest.mark.parametrize(
    "values",
    [
        [1.7976931348623157e308, 1.0],
        [1e308] * 10,
        [-1.7e308, 1.7e308, 1e308],
        [1e200, -3e200, 2.0, math.nan, math.inf],
        [1e-320, 0.0, 3e-310],
        [5e-324] * 17,
    ],
)
def test_squares_beyond_float64_do_not_spoil_what_float64_holds(values: list[float]) -> None:
    found = sketch(np.array(values))
    finite = np.array(values)[np.isfinite(values)]
    exact = finite.astype(np.longdouble)  # 15 bits of exponent where the platform has them
    if not np.isfinite(exact * exact).all() or not (exact * exact)[exact != 0].all():
        pytest.skip("no long double of more range here")
    for got, expected in [
        (found.mean, exact.mean()),
        (found.std, exact.std()),
        (found.rms, np.sqrt((exact * exact).mean())),
        (found.l2, np.sqrt((exact * exact).sum())),
    ]:
        assert got == pytest.approx(float(expected), rel=1e-12, abs=5e-324)


def test_many_such_elements_have_infinite_norms_never_nan() -> None:
    found = sketch(np.concatenate([np.full(5_000, 1e300), np.zeros(5_000)]))
    assert found.mean == pytest.approx(5e299)
    assert (found.l2, found.rms, found.std, found.var) == (math.inf,) * 4
