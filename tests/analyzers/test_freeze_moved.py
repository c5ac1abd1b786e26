"""`wtools freeze BASE TUNED`: every tensor of fine-tuned models classed right."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
from analyzers.tuned import (
    BF16,
    RATE,
    Arrays,
    Tuned,
    arrays,
    resnet,
    step,
    through,
    tree,
    tuned,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import wtools
from wtools.analyzers.casts import GRIDS, hidden_step
from wtools.analyzers.change import Change, measured
from wtools.analyzers.freeze.verdict import MOVED, STAYED
from wtools.files import RawData
from wtools.tree import Tensor, WeightTree

KINDS = ("bert", "resnet")


def rows(base: Arrays, other: Arrays, **options: Any) -> dict[str, Any]:
    report = wtools.freeze(tree(base), tree(other), **options)
    return {row.name: row for row in report.rows}


def reals(array: Any) -> Any:
    return array.astype(np.float64)


# --- must show: one step at a learning rate of 1e-5 ---------------------------------------------


def check_float32(case: Tuned) -> None:
    found = rows(case.base, case.tuned, rank=False)
    assert found.keys() == case.base.keys()
    for name, row in found.items():
        if name in case.trained | case.statistics:
            assert row.state in MOVED, name
            a, b = reals(case.base[name]), reals(case.tuned[name])
            relative = np.linalg.norm(b - a) / np.linalg.norm(a) if a.any() else math.inf
            assert row.state == ("moved" if relative > 1e-6 else "tiny"), name
            assert row.relative_l2 == pytest.approx(relative, rel=1e-9), name
        else:
            assert row.state == "identical", name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_every_tensor_of_a_fine_tune_is_classed_right_in_float32(kind: str, seed: int) -> None:
    case = tuned(kind, seed)
    assert 0 < len(case.trained) < len(case.base)
    check_float32(case)


def stayed(row: Any) -> frozenset[str]:
    """What may be said of a tensor that rounding explains; of few elements, that they are few."""
    return STAYED | {"ambiguous"} if "too few to tell" in row.remark and row.count < 64 else STAYED


def check_rounded(case: Tuned, base: Arrays, other: Arrays) -> tuple[int, int]:
    """`base`, `other`: the two sides as stored. (tensors told, trained tensors not to be told)."""
    found = rows(base, other, rank=False)
    told = lost = 0
    for name, row in found.items():
        one, two = case.base[name], case.tuned[name]
        if name not in case.trained | case.statistics:
            assert row.state in stayed(row), (name, row)
        elif np.array_equal(reals(through(one)), reals(through(two))):
            lost += 1  # both sides round to the same numbers: nothing can tell
            assert row.state in stayed(row), (name, row)
        else:
            told += 1
            assert row.state in MOVED, (name, row)
    return told, lost


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_after_a_round_trip_through_bfloat16_rounding_is_told_from_movement(
    kind: str, seed: int
) -> None:
    case = tuned(kind, seed)
    narrow = {n: a.astype(BF16) if a.dtype.kind == "f" else a for n, a in case.tuned.items()}
    again = {n: through(a) for n, a in case.tuned.items()}
    both = {n: through(a) for n, a in case.base.items()}
    told, lost = check_rounded(case, case.base, again)
    assert told > lost
    assert check_rounded(case, case.base, narrow) == (told, lost)
    assert check_rounded(case, both, again) == (told, lost)
    # the other way round: the copy that was rounded is BASE
    assert check_rounded(case, both, case.tuned) == (told, lost)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_training_in_float32_from_a_bfloat16_model_is_not_taken_for_rounding(
    kind: str, seed: int
) -> None:
    """Most steps are shorter than half a unit of bfloat16: TUNED rounded is BASE. What rounding
    cuts off would be spread evenly over a unit; a step is not.
    """
    case = tuned(kind, seed, start="bfloat16")
    found = rows(case.base, case.tuned, rank=False)
    for name, row in found.items():
        if name in case.trained:
            few = row.count < 64
            assert row.state in MOVED | ({"ambiguous"} if few else set()), (name, row)
        elif name not in case.statistics:
            assert row.state == "identical"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(100, 140))
def test_more_fine_tunes(kind: str, seed: int) -> None:
    case = tuned(kind, seed)
    check_float32(case)
    check_rounded(case, case.base, {n: through(a) for n, a in case.tuned.items()})


@pytest.mark.parametrize("dtype", [np.float16, BF16, ml_dtypes.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("stored", [True, False], ids=["stored so", "stored as float32"])
def test_a_converted_copy_is_rounding_alone_either_way(dtype: Any, stored: bool) -> None:
    base = np.random.default_rng(0).normal(0, 0.3, (40, 50)).astype(np.float32)
    copy = base.astype(dtype)
    copy = copy if stored else copy.astype(np.float32)
    for one, two in ((base, copy), (copy, base)):
        row = rows({"w": one}, {"w": two})["w"]
        assert row.state == "rounding" and row.grid == np.dtype(dtype).name


def test_digits_that_were_cut_off_are_rounding_too() -> None:
    base = np.random.default_rng(0).normal(size=500).astype(np.float32)
    cut = (base.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    row = rows({"w": base}, {"w": cut})["w"]
    assert (row.state, row.grid) == ("rounding", "bfloat16, digits cut off")


def test_one_element_off_is_movement() -> None:
    base = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    copy = through(base)
    copy[77_777] = np.float32(np.nextafter(base[77_777].astype(BF16), BF16.type(9)))
    assert rows({"w": base}, {"w": copy})["w"].state in MOVED


def test_the_part_that_stayed_whole_speaks_against_rounding() -> None:
    """An embedding of which a few rows were trained and rounded: the others are not on the grid."""
    base = np.random.default_rng(0).normal(size=(3000, 128)).astype(np.float32)
    copy = base.copy()
    copy[2000:2002] = through(base[2000:2002])
    assert rows({"w": base}, {"w": copy})["w"].state in MOVED


def test_zeros_are_not_rounded_small_steps() -> None:
    """Zero is what 1e-5 is in 8 bits: but nobody stores a bias so."""
    base = np.zeros(64, np.float32)
    assert rows({"b": base}, {"b": base + np.float32(1e-5)})["b"].state == "moved"
    assert rows({"b": base + np.float32(1e-5)}, {"b": base})["b"].state == "moved"


def test_two_narrow_copies_of_one_model_are_ambiguous() -> None:
    wide = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    row = rows({"w": wide.astype(np.float16)}, {"w": wide.astype(BF16)})["w"]
    assert row.state in ("rounding", "ambiguous")
    assert (
        rows({"w": wide.astype(np.float16)}, {"w": (wide * 1.02).astype(BF16)})["w"].state in MOVED
    )


def test_too_few_elements_are_said_to_be_too_few() -> None:
    base = np.random.default_rng(0).normal(size=10).astype(np.float32)
    row = rows({"b": through(base)}, {"b": base})["b"]
    assert row.state == "ambiguous" and "too few" in row.remark


def test_nan_infinity_and_overflow() -> None:
    base = np.float32([1.1, np.nan, np.inf, 1e30, -3.3, 0, 2.2])
    assert rows({"w": base}, {"w": base.astype(np.float16)})["w"].state == "rounding"
    gone = base.copy()
    gone[0] = np.nan
    assert rows({"w": base}, {"w": gone})["w"].state == "moved"


# --- what rounding to a grid is, held against ml_dtypes -----------------------------------------


@pytest.mark.parametrize("grid", [g for g in GRIDS if not g.cut], ids=lambda g: g.name)
@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_rounding_is_that_of_the_frameworks(grid: Any, values: list[float]) -> None:
    x = np.float32(values)
    ours = grid.rounded(reals(x), grid.units(reals(x)))
    with np.errstate(all="ignore"):
        theirs = x.astype(np.dtype(getattr(ml_dtypes, grid.dtype, grid.dtype))).astype(np.float64)
    inside = np.abs(ours) <= grid.most
    assert np.array_equal(ours[inside], theirs[inside])
    assert not (np.abs(theirs[~inside]) < grid.most).any()


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_what_a_rounding_hides_is_said_and_true(spread: float) -> None:
    """In at most 5 % of trials a step of that size in every element leaves no trace."""
    rng = np.random.default_rng(0)
    powers = np.exp2(np.round(rng.normal(-4, spread, 60)))
    base = (rng.uniform(1, 2, 60) * powers).astype(np.float32)
    row = rows({"w": base}, {"w": through(base)})["w"]
    assert row.state == "rounding"
    hidden = 0
    for _ in range(4000):
        one = (rng.uniform(1, 1.9, 60) * powers).astype(np.float32)
        two = one + np.float32(row.hidden)
        hidden += bool((through(one) == through(two)).all())
    assert hidden / 4000 < 0.065
    assert spread or hidden / 4000 > 0.035


def test_the_figures_do_not_depend_on_threads_or_blocks(tmp_path: Path) -> None:
    base = np.random.default_rng(0).normal(size=(1 << 13, 1 << 10)).astype(np.float32)
    safetensors.numpy.save_file({"w": base}, tmp_path / "a.safetensors")
    safetensors.numpy.save_file({"w": through(base)}, tmp_path / "b.safetensors")
    with wtools.open(tmp_path / "a.safetensors") as a, wtools.open(tmp_path / "b.safetensors") as b:
        fits = []
        for threads in (1, 3):
            change = next(measured([(a["w"], b["w"])], casts=True, threads=threads))[2]
            assert isinstance(change, Change)
            fits.append(change.casts.fits[2])
        assert wtools.freeze(a, b).rows[0].state == "rounding"
    units = GRIDS[2].units(reals(through(base)).reshape(-1))
    assert fits[0].forward and not fits[0].backward
    for fit in fits:
        assert fit.per_unit == pytest.approx((1 / units).sum(), rel=1e-9)
        assert hidden_step(fit) == pytest.approx(math.log(20) / (1 / units).sum(), rel=1e-9)


def test_all_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {f"l{i}.weight": np.random.default_rng(i).normal(size=(300, 500)) for i in range(4)}
    base = {name: array.astype(np.float32) for name, array in base.items()}
    other = {n: a + np.float32(1e-5) if n < "l2" else through(a) for n, a in base.items()}
    for name, one in (("a", base), ("b", other)):
        safetensors.numpy.save_file(one, tmp_path / f"{name}.safetensors")
    read: list[int] = []
    plain = RawData.readinto

    def counting(self: RawData, buffer: Any, offset: int) -> None:
        read.append(memoryview(buffer).nbytes)
        plain(self, buffer, offset)

    monkeypatch.setattr(RawData, "readinto", counting)
    with wtools.open(tmp_path / "a.safetensors") as a, wtools.open(tmp_path / "b.safetensors") as b:
        wtools.freeze(a, b, rank=False)
        assert sum(read) == a.nbytes + b.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved", "rounded"])
def test_memory_does_not_grow_with_the_model(how: str, tmp_path: Path) -> None:
    """Two files of half a gigabyte; what is resident beyond the start stays below 150 MB."""
    rows = np.random.default_rng(0).normal(0, 0.02, (4096, 4096)).astype(np.float32)
    other = rows + np.float32(1e-5) if how == "moved" else through(rows)
    for name, one in (("a", rows), ("b", other)):
        safetensors.numpy.save_file(
            {f"layers.{i}.weight": one for i in range(8)}, tmp_path / f"{name}.safetensors"
        )
    script = """
import sys, wtools, wtools.analyzers.freeze
def peak():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) << 10
before = peak()
report = wtools.freeze(wtools.open(sys.argv[1]), wtools.open(sys.argv[2]))
print(len({row.state for row in report.rows}), peak() - before)
"""
    paths = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True
    )
    states, taken = map(int, done.stdout.split())
    assert states == 1 and taken < 150 << 20


# --- the rank of a change -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize("shape", [(256, 384), (700, 320), (320, 65)])
def test_a_merged_low_rank_adapter_is_recognised(
    shape: tuple[int, int], rank: int, dtype: Any
) -> None:
    rng = np.random.default_rng(rank)
    base = rng.normal(0, 0.05, shape).astype(dtype)
    update = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    update *= 0.05 * np.linalg.norm(base.astype(float)) / np.linalg.norm(update)
    merged = (base.astype(np.float32) + update.astype(np.float32)).astype(dtype)
    row = rows({"q.weight": base}, {"q.weight": merged})["q.weight"]
    assert (row.state, row.rank) == ("moved", rank)
    assert row.low_rank == (rank <= row.rank_of // 4)


@pytest.mark.parametrize("dtype", [np.float32, BF16], ids=["float32", "bfloat16"])
def test_training_of_every_weight_is_not_of_low_rank(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.05, (256, 256)).astype(dtype)
    step = RATE * np.sign(rng.normal(size=base.shape))
    row = rows({"q.weight": base}, {"q.weight": (base.astype(float) + step).astype(dtype)})
    assert not row["q.weight"].low_rank


def test_rank_of_streamed_tensors_and_of_convolutions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = {"c.weight": rng.normal(size=(96, 8, 3, 3)).astype(np.float32)}
    update = rng.normal(size=(96, 3)) @ rng.normal(size=(3, 72))
    other = {"c.weight": base["c.weight"] + update.reshape(96, 8, 3, 3).astype(np.float32) / 9}
    assert rows(base, other)["c.weight"].rank == 3
    for name, one in (("a", base), ("b", other)):
        np.savez_compressed(tmp_path / f"{name}.npz", **one)
        safetensors.numpy.save_file(one, tmp_path / f"{name}.safetensors")
    for ending in ("npz", "safetensors"):
        with (
            wtools.open(tmp_path / f"a.{ending}") as a,
            wtools.open(tmp_path / f"b.{ending}") as b,
        ):
            assert wtools.freeze(a, b).rows[0].rank == 3


# --- what is peculiar ---------------------------------------------------------------------------


def test_batch_norm_statistics_that_moved_in_frozen_layers_are_named() -> None:
    model = resnet()
    base = arrays(model)
    step(model, "resnet", frozenset({"fc.weight", "fc.bias"}))
    report = wtools.freeze(tree(base), tree(arrays(model)))
    said = {row.name for row in report.rows if "statistics moved" in row.remark}
    assert said == {
        n for n in base if n.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    blocks = {
        row.name: row for row in wtools.freeze(tree(base), tree(arrays(model)), by="block").rows
    }
    assert {row.state for name, row in blocks.items() if name != "head"} == {"statistics only"}
    assert blocks["head"].state == "moved"

    model = resnet()
    step(model, "resnet", frozenset({"fc.weight", "fc.bias"}), eval_mode=True)
    report = wtools.freeze(tree(base), tree(arrays(model)), by="block")
    assert {row.state for row in report.rows if row.name != "head"} == {"frozen"}


def flagged(arrays: Arrays, flags: dict[str, bool]) -> WeightTree:
    return WeightTree([Tensor.of(n, a, trainable=flags[n]) for n, a in arrays.items()])


def test_flags_that_the_movement_contradicts() -> None:
    flags = {"a/kernel": True, "b/kernel": False, "c/kernel": True}
    base = {n: np.random.default_rng(0).normal(size=(8, 9)).astype(np.float32) for n in flags}
    other = base | {"b/kernel": base["b/kernel"] * 1.1, "c/kernel": base["c/kernel"] * 1.1}
    report = wtools.freeze(flagged(base, flags), flagged(other, flags), rank=False)
    assert {row.name: row.remark for row in report.rows} == {
        "a/kernel": "stayed, though trainable",
        "b/kernel": "moved, though not trainable",
        "c/kernel": "",
    }


def test_resized_embeddings_heads_and_what_only_one_side_has() -> None:
    rng = np.random.default_rng(0)

    def new(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    base = {
        "emb.weight": new(100, 16),
        "old.weight": new(16, 16),
        "head.weight": new(10, 16),
        "out.weight": new(10, 16),
    }
    other = {
        "emb.weight": np.concatenate([base["emb.weight"], new(3, 16)]),
        "head.weight": new(4, 16),
        "out.weight": new(10, 20),
        "extra.weight": new(16, 16),
    }
    found = rows(base, other)
    assert {name: row.state for name, row in found.items()} == {
        "emb.weight": "resized",
        "old.weight": "missing",
        "head.weight": "resized",
        "out.weight": "resized",
        "extra.weight": "added",
    }
    assert found["emb.weight"].remark == "the 100 common rows: identical"
    assert found["emb.weight"].shape_tuned == (103, 16)
    assert found["head.weight"].remark == "the 4 common rows: unrelated"
    assert "not compared" in found["out.weight"].remark
    other["emb.weight"] = other["emb.weight"] * np.float32(1.001)
    assert rows(base, other)["emb.weight"].remark == "the 100 common rows: moved"


def test_a_head_that_was_replaced_is_said_to_be() -> None:
    model = resnet()
    base = arrays(model)
    other = {name: a for name, a in base.items() if not name.startswith("fc")}
    other |= {"head.weight": np.ones((3, 16), np.float32), "head.bias": np.ones(3, np.float32)}
    report = wtools.freeze(tree(base), tree(other), by="block")
    assert {row.name: row.state for row in report.rows if row.state != "frozen"} == {
        "head": "replaced"
    }


def test_a_tensor_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    base = {"a": np.ones(4, np.float32), "b": np.ones(4000, np.float32)}
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(base, path)
    with wtools.open(path) as a, wtools.open(path) as b:
        path.write_bytes(path.read_bytes()[:-100])
        report = wtools.freeze(a, b)
    assert {row.state for row in report.rows} & {"unreadable"} and report.failures


# --- across frameworks ----------------------------------------------------------------------------


def test_keras_against_torch_by_layers_and_roles() -> None:
    rng = np.random.default_rng(0)
    conv, dense = rng.normal(size=(8, 3, 5, 5)), rng.normal(size=(10, 72))
    lstm, gru = rng.normal(size=(4 * 6, 7)), rng.normal(size=(3 * 5, 7))
    held = torch.nn.ModuleDict(
        {"conv": torch.nn.Conv2d(3, 8, 5), "bn": torch.nn.BatchNorm2d(8)}
    ).state_dict()
    ours: Arrays = {
        "conv.weight": conv,
        "conv.bias": rng.normal(size=8),
        **{n: v.numpy() for n, v in held.items() if n.startswith("bn") and "num" not in n},
        "lstm.weight_ih_l0": lstm,
        "lstm.weight_hh_l0": rng.normal(size=(4 * 6, 6)),
        "gru.weight_ih_l0": gru,
        "gru.weight_hh_l0": rng.normal(size=(3 * 5, 5)),
        "dense.weight": dense,
        "dense.bias": rng.normal(size=10),
    }
    z, r, h = (slice(5, 10), slice(0, 5), slice(10, 15))  # torch: r z h; Keras: z r h
    theirs = {
        ("conv/kernel", "Conv2D"): conv.transpose(2, 3, 1, 0),
        ("conv/bias", "Conv2D"): ours["conv.bias"],
        ("bn/gamma", "BatchNormalization"): ours["bn.weight"],
        ("bn/beta", "BatchNormalization"): ours["bn.bias"],
        ("bn/moving_mean", "BatchNormalization"): ours["bn.running_mean"],
        ("bn/moving_variance", "BatchNormalization"): ours["bn.running_var"],
        ("lstm/lstm_cell/kernel", "LSTM"): lstm.T,
        ("gru/gru_cell/kernel", "GRU"): np.concatenate([gru[z], gru[r], gru[h]]).T,
        ("dense/kernel", "Dense"): dense.T * 1.01,
        ("dense/bias", "Dense"): ours["dense.bias"],
    }
    keras = WeightTree(
        [
            Tensor.of(name, np.ascontiguousarray(a), layer=name.split("/")[0], kind=kind)
            for (name, kind), a in theirs.items()
        ],
        format="keras",
    )
    for a, b in ((tree(ours), keras), (keras, tree(ours))):
        states = {row.name: row.state for row in wtools.freeze(a, b, rank=False).rows}
        paired = {n: s for n, s in states.items() if s not in ("missing", "added")}
        moved = {n for n, s in paired.items() if s in MOVED}
        assert len(moved) == 1 and next(iter(moved)).startswith("dense")
        if a is not keras:
            assert {"lstm.weight_ih_l0", "gru.weight_ih_l0", "conv.weight"} <= paired.keys()
