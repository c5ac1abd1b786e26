"""What `wtools.diff` says of two models, held against NumPy in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from analyzers.test_stats import odd, random_array
from hypothesis import given, settings
from hypothesis import strategies as st

import wtools
from wtools import dtypes
from wtools.analyzers.diff import DiffRow
from wtools.errors import CorruptError
from wtools.tree import LazyData, Quantization, Storage, Tensor, WeightTree

Array = np.ndarray[Any, np.dtype[Any]]


def tree(separator: str = "/", **arrays: Any) -> WeightTree:
    return WeightTree([Tensor.of(n, a) for n, a in arrays.items()], separator=separator)


def row_of(a: Array, b: Array, **options: Any) -> DiffRow:
    return wtools.diff(tree(w=a), tree(w=b), everything=True, **options).rows[0]


def statuses(report: Any) -> dict[str, str]:
    return {row.name: row.status for row in report.rows}


# --- the size of a change ------------------------------------------------------------------------


def expected(a: Array, b: Array) -> dict[str, float]:
    """The figures by NumPy, over what is finite on both sides."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    x, y = a.astype(wide), b.astype(wide)
    finite = np.isfinite(x) & np.isfinite(y)
    other = np.array([p.tobytes() != q.tobytes() for p, q in zip(a.flat, b.flat, strict=True)])
    gone = int((other & ~finite.reshape(-1)).sum())
    x, y = x[finite], y[finite]
    norm = np.linalg.norm
    flips = 0 if a.dtype.kind == "c" else int((np.sign(x) * np.sign(y) == -1).sum())
    return {
        "relative_l2": norm(y - x) / norm(x) if norm(x) else math.inf,
        "max_abs": float(np.abs(y - x).max()),
        "cosine": float(np.vdot(x, y).real / norm(x) / norm(y)),
        "changed_fraction": other.mean(),
        "changed": int(other.sum()),
        "sign_flips": flips,
        "nonfinite_changes": gone,
        "compared": a.size,
        "l2_a": norm(x),
        "l2_b": norm(y),
        "l2_change": norm(y - x),
    }


@pytest.mark.parametrize("name", dtypes.DTYPES)
def test_every_dtype(name: str) -> None:
    if name in ("bool", "float8_e8m0fnu"):  # cosine and flips of what has no sign: below
        return
    a = odd(name, random_array(name, (37, 11), seed=1))
    b = random_array(name, (37, 11), seed=2)
    b[::3] = a[::3]
    row = row_of(a, b)
    assert row.status == "changed"
    for figure, value in expected(a, b).items():
        assert getattr(row, figure) == pytest.approx(value, rel=1e-12), figure


def test_bool() -> None:
    row = row_of(np.array([True, False, False]), np.array([True, True, False]))
    assert (row.status, row.changed, row.max_abs, row.relative_l2) == ("changed", 1, 1, 1)


@pytest.mark.parametrize("name", dtypes.DTYPES)
def test_a_tensor_is_identical_to_itself_even_with_nan(name: str) -> None:
    a = odd(name, random_array(name, (50, 3)))
    row = row_of(a, a.copy())
    assert row.status == "identical" and row.changed == row.nonfinite_changes == 0
    assert (row.relative_l2, row.max_abs, row.cosine) == (0, 0, 1)
    assert not wtools.diff(tree(w=a), tree(w=a.copy())).summary["differ"]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_floats(data: st.DataObject) -> None:
    floats = st.floats(width=32, allow_subnormal=True)
    values = data.draw(st.lists(st.tuples(floats, floats), min_size=1, max_size=50))
    a, b = np.array(values, np.float32).T
    row = row_of(np.ascontiguousarray(a), np.ascontiguousarray(b))
    other = a.view(np.uint32) if a.flags.c_contiguous else np.ascontiguousarray(a).view(np.uint32)
    assert row.changed == np.count_nonzero(other != np.ascontiguousarray(b).view(np.uint32))
    both = np.isfinite(a) & np.isfinite(b)
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    assert row.max_abs == np.abs(y - x).max(initial=0)
    if row.relative_l2 not in (None, 0, math.inf):
        assert row.relative_l2 == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x))
    assert -1 <= row.cosine <= 1


def test_a_nan_that_appears_is_a_change() -> None:
    a = np.float32([1, 2, np.nan, 4])
    b = np.float32([1, np.nan, np.nan, 4])
    row = row_of(a, b, tolerance=10.0)
    assert (row.status, row.changed, row.nonfinite_changes) == ("changed", 1, 1)
    assert row.relative_l2 == 0 and row.max_abs == 0


def test_nan_of_other_bits_is_a_change() -> None:
    a = np.array([0x7FC00000], np.uint32).view(np.float32)
    b = np.array([0x7FC00001], np.uint32).view(np.float32)
    assert row_of(a, b).changed == 1 and row_of(a, a).changed == 0


def test_fp8_beside_nan() -> None:
    """An fp8 tensor in the file hides nothing of what happened in another."""
    fp8 = random_array("float8_e4m3fn", (10,))
    a = tree(scale=fp8, w=np.float32([1, 2]))
    b = tree(scale=fp8, w=np.float32([1, np.nan]))
    report = wtools.diff(a, b)
    assert statuses(report) == {"w": "changed"} and report.rows[0].nonfinite_changes == 1


@pytest.mark.parametrize(
    ("a", "b", "cosine", "relative"),
    [([0, 0], [0, -0.0], 1, 0), ([0, 0], [1, 0], 0, math.inf), ([1, 0], [0, 0], 0, 1)],
)
def test_zero_vectors(a: list[float], b: list[float], cosine: float, relative: float) -> None:
    row = row_of(np.float32(a), np.float32(b))
    assert (row.status, row.cosine, row.relative_l2) == ("changed", cosine, relative)


def test_two_zero_biases_have_cosine_one() -> None:
    assert row_of(np.zeros(3, np.float32), np.zeros(3, np.float32)).cosine == 1


def test_integers_beyond_what_a_float_holds() -> None:
    a = np.array([2**62, -(2**63), 5], np.int64)
    b = np.array([2**62 + 1, 2**63 - 1, 5], np.int64)
    row = row_of(a, b)
    assert row.changed == 2 and row.max_abs == float(2**64 - 1)
    assert row_of(a, a + np.array([1, 0, 0])).max_abs == 1


def test_squares_that_overflow_are_told_as_nan_not_as_a_number() -> None:
    row = row_of(np.array([1e200]), np.array([-1e200]))
    assert math.isnan(row.relative_l2) and math.isnan(row.cosine)
    assert row.max_abs == 2e200 and row.sign_flips == 1 and row.nonfinite_changes == 0


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 3_000_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_sizes_around_the_blocks(size: int, threads: int, tmp_path: Path) -> None:
    """One element changed at the end: the norms are still those of the whole."""
    a = random_array("float32", (size,))
    b = a.copy()
    b[-1:] += 1
    for name, array in (("a", a), ("b", b)):
        safetensors.numpy.save_file({"w": array}, tmp_path / name)
    with wtools.open(tmp_path / "a") as x, wtools.open(tmp_path / "b") as y:
        row = wtools.diff(x, y, everything=True, threads=threads).rows[0]
    if not size:
        assert (row.status, row.relative_l2) == ("identical", None)
        return
    wide = a.astype(np.float64)
    assert row.l2_a == pytest.approx(np.linalg.norm(wide), rel=1e-12)
    assert row.l2_b == pytest.approx(np.linalg.norm(b.astype(np.float64)), rel=1e-12)
    assert row.changed == 1 and row.max_abs == float(b[-1]) - float(a[-1])


def test_streams_and_files_give_the_same(tmp_path: Path) -> None:
    """Compressed archives, which are streamed, against plain bytes, which are read by parts."""
    a = {"w": random_array("float32", (700, 900)), "i": random_array("int8", (4001,))}
    b = {"w": a["w"] + np.float32(0.25), "i": a["i"]}
    np.savez_compressed(tmp_path / "a.npz", **a)
    safetensors.numpy.save_file(b, tmp_path / "b.safetensors")
    with wtools.open(tmp_path / "a.npz") as x, wtools.open(tmp_path / "b.safetensors") as y:
        mixed = wtools.diff(x, y, everything=True)
    assert mixed.rows == wtools.diff(tree(**a), tree(**b), everything=True).rows
    assert statuses(mixed) == {"w": "changed", "i": "identical"}


def test_packed_types(tmp_path: Path) -> None:
    a = random_array("int4", (5, 7))
    b = a.copy()
    b[4, 6] = (int(a[4, 6]) + 1) % 7
    assert row_of(a, b).changed == 1 and row_of(a, a).status == "identical"


# --- what became of a tensor ---------------------------------------------------------------------


def test_added_removed_and_what_comes_first() -> None:
    base = random_array("float32", (20, 20))
    a = tree(old=base[:3], little=base, much=base, same=base, wide=base, shape=base)
    b = tree(
        new=base[:7],
        little=base * np.float32(1.001),
        much=-base,
        same=base,
        wide=base.astype(np.float64),
        shape=base[:10],
    )
    report = wtools.diff(a, b)
    assert list(statuses(report).items()) == [
        ("old", "removed"),
        ("new", "added"),
        ("shape", "reshaped"),
        ("much", "changed"),
        ("little", "changed"),
        ("wide", "retyped"),
    ]
    assert report.summary["tensors"] == {
        "identical": 1,
        "retyped": 1,
        "changed": 2,
        "reshaped": 1,
        "added": 1,
        "removed": 1,
    }
    assert report.summary["differ"] and report.rows[3].cosine == pytest.approx(-1)
    assert report.rows[3].sign_flips == 400


def test_renamed_by_content() -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(2, 6, 5)).astype(np.float32)
    zero = np.zeros(5, np.float32)
    a = tree(**{"a/kernel": w, "a/bias": zero, "b/kernel": v, "b/bias": zero})
    b = tree(**{"y/bias": zero, "y/kernel": v, "x/kernel": w, "x/bias": zero})
    rows = {row.name: row for row in wtools.diff(a, b).rows}
    assert {row.status for row in rows.values()} == {"renamed"}
    assert rows["a/kernel"].renamed_to == "x/kernel" and rows["b/kernel"].renamed_to == "y/kernel"


def test_a_rename_needs_the_same_dtype_and_shape() -> None:
    w = random_array("float32", (4, 5))
    report = wtools.diff(tree(a=w), tree(b=w.reshape(5, 4)))
    assert statuses(report) == {"a": "removed", "b": "added"}


def test_content_is_only_read_where_a_rename_is_possible() -> None:
    def refuse() -> Array:
        raise AssertionError("read for nothing")

    lone = Tensor("a", (3, 3), "float32", LazyData(refuse))
    assert statuses(wtools.diff(WeightTree([lone]), tree(b=np.ones((4, 4))))) == {
        "a": "removed",
        "b": "added",
    }


@pytest.mark.parametrize("prefix", ["module.", "model.encoder."])
def test_a_prefix_of_all_names(prefix: str) -> None:
    w = random_array("float32", (4, 5))
    a = tree(".", **{"fc.weight": w, "fc.bias": w[0]})
    b = tree(".", **{f"{prefix}fc.weight": -w, f"{prefix}fc.bias": w[0]})
    for report in (wtools.diff(a, b), wtools.diff(b, a)):
        assert [row.status for row in report.rows] == ["changed", "renamed"] or [
            row.status for row in report.rows
        ] == ["changed"]
        assert report.rows[0].renamed_to
        assert any(prefix in note for note in report.notes)


def test_names_of_another_format() -> None:
    w = random_array("float32", (4, 5))
    a, b = tree("/", **{"dense/kernel": w}), tree(".", **{"dense.kernel": -w})
    assert statuses(wtools.diff(a, b)) == {"dense/kernel": "changed"}


def test_retyped_exactly_or_not() -> None:
    wide = random_array("float32", (30, 30))
    narrow = wide.astype(dtypes.get("bfloat16").numpy)
    assert row_of(wide, narrow).cast_equal is True
    assert row_of(narrow, narrow.astype(np.float32)).cast_equal is True
    assert row_of(narrow, wide).cast_equal is True  # A is what B casts to
    row = row_of(wide, (wide * np.float32(1.1)).astype(np.float16))
    assert row.cast_equal is False and row.relative_l2 == pytest.approx(0.1, rel=1e-2)
    assert row.dtype == "float32 → float16"


@pytest.mark.parametrize("one", dtypes.DTYPES)
@pytest.mark.parametrize("other", ["float32", "bfloat16", "int8", "bool", "complex64", "uint4"])
def test_any_dtype_against_another(one: str, other: str) -> None:
    a, b = odd(one, random_array(one, (40,))), odd(other, random_array(other, (40,), 1))
    for x, y in ((a, b), (b, a)):
        row = row_of(x, y)
        same = {one, other} in ({other}, {"complex32", "complex64"})  # one type in memory
        assert row.status == ("changed" if same else "retyped")


def test_resized_rows_are_compared_where_both_have_them() -> None:
    old = random_array("float32", (100, 8))
    new = np.concatenate([old, random_array("float32", (3, 8), 1)])
    row = row_of(old, new)
    assert (row.status, row.shape, row.shape_b) == ("reshaped", (100, 8), (103, 8))
    assert (row.compared, row.changed) == (800, 0)
    new[5] += 1
    assert row_of(old, new).changed == 8
    assert row_of(new, old).compared == 800
    assert row_of(old, old.reshape(50, 16)).changed == 0
    assert row_of(old, new[:, :5].copy()).compared is None


def test_tolerance() -> None:
    a = random_array("float32", (100,))
    b = a * np.float32(1 + 1e-4)
    assert row_of(a, b).status == "changed"
    assert row_of(a, b, tolerance=2e-4).status == "close"
    assert row_of(a, b, tolerance=0.5e-4).status == "changed"
    assert not wtools.diff(tree(w=a), tree(w=b), tolerance=2e-4).summary["differ"]


def test_tied_tensors_are_read_once_and_told() -> None:
    reads = []
    w = random_array("float32", (10,))

    def read() -> Array:
        reads.append(1)
        return w

    storage = Storage("f", 0, 40)
    a = WeightTree(
        [Tensor(n, (10,), "float32", LazyData(read), storage=storage) for n in ("x", "y")]
    )
    b = tree(x=w, y=w)
    report = wtools.diff(a, b)
    assert not report.rows and any("tied in A" in note and "x = y" in note for note in report.notes)
    report = wtools.diff(a, a)
    assert not report.rows and not any("tied in" in note for note in report.notes)
    assert len(reads) == 2 + 2  # x against x and y against y apart in b; once for a pair in a


def test_quantized_tensors_can_be_compared_by_what_they_stand_for() -> None:
    scale = Tensor.of("s", np.float32([0.5]))
    q = Tensor.of("w", np.int8([2, -4]), quantization=Quantization(scale))
    a, b = WeightTree([q]), tree(w=np.float32([1, -2]))
    assert wtools.diff(a, b).rows[0].relative_l2 > 0.1
    assert any("--dequantize" in note for note in wtools.diff(a, b).notes)
    assert not wtools.diff(a, b, dequantize=True).rows


def test_a_tensor_that_cannot_be_read_does_not_end_the_comparison() -> None:
    def fail() -> Array:
        raise CorruptError("it is broken", place="w")

    broken = Tensor("w", (3,), "float32", LazyData(fail))
    a = WeightTree([broken, Tensor.of("v", np.ones(3))])
    report = wtools.diff(a, tree(w=np.float32([1, 2, 3]), v=np.zeros(3)))
    assert statuses(report) == {"w": "unreadable", "v": "changed"}
    assert [str(f) for f in report.failures] == ["w: it is broken"]


def test_metadata_that_differ_are_a_note_not_a_difference() -> None:
    a = WeightTree([], metadata={"epoch": 1, "by": "x"})
    b = WeightTree([], metadata={"epoch": 2, "by": "x"})
    report = wtools.diff(a, b)
    assert not report.summary["differ"] and any("epoch" in note for note in report.notes)


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    w = random_array("float32", (4, 5))
    safetensors.numpy.save_file({"w": w, "b": w[0]}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "b.npz", w=w, b=w[0] + np.float32(1e-6))
    return str(tmp_path / "a.safetensors"), str(tmp_path / "b.npz")


def test_exit_codes(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    from wtools.cli import run

    a, b = files
    assert run(["diff", a, b]) == 0
    assert "changed" in capfd.readouterr().out
    assert run(["diff", a, b, "--exit-code"]) == 1
    assert run(["diff", a, a, "--exit-code"]) == 0
    assert run(["diff", a, b, "--exit-code", "--tolerance", "0.001"]) == 0
    assert run(["diff", a, b, "--exit-code", "--match", "w"]) == 0
    assert run(["diff", a, b, "--match", "nothing*"]) == 2
    assert run(["diff", a, a + "x"]) == 3
    capfd.readouterr()
    assert run(["diff", a, b, "--all", "--json"]) == 0
    assert '"schema": "wtools.diff/1"' in capfd.readouterr().out


# --- across frameworks ----------------------------------------------------------------------------


def network(kind: str) -> Any:
    import keras
    from keras import layers

    if kind == "recurrent":
        inner = [layers.LSTM(6, return_sequences=True), layers.Bidirectional(layers.GRU(5))]
        return keras.Sequential([keras.Input((12, 8)), *inner, layers.Dense(3)])
    if kind == "flattened":
        inner = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
        return keras.Sequential([keras.Input((8, 8, 3)), *inner, layers.Dense(7)])
    put = keras.Input((6, 8))
    return keras.Model(put, layers.MultiHeadAttention(2, 4)(put, put))


@pytest.mark.parametrize("kind", ["recurrent", "flattened", "attention"])
def test_what_convert_has_translated_is_not_changed(kind: str, tmp_path: Path) -> None:
    network(kind).save(tmp_path / "m.h5")
    with wtools.open(tmp_path / "m.h5") as keras:
        wtools.convert(keras, tmp_path / "m.pt")
        with wtools.open(tmp_path / "m.pt") as torch:
            for a, b in ((keras, torch), (torch, keras)):
                found = wtools.diff(a, b)
                assert not found.rows and not found.summary["differ"]
                assert any("is compared as" in note for note in found.notes)
                states = wtools.freeze(a, b).summary["tensors"]
                assert list(states) == ["identical"]
            first = next(t for t in keras.values() if t.ndim > 1)

            def moved(tensor: Tensor) -> Tensor:
                return Tensor.of(first.name, first.read() + 1) if tensor is first else tensor

            found = wtools.diff(keras.map(moved), torch)
            assert statuses(found) == {first.name: "changed"}
