"""The plan: complete before a byte is written, and nothing is written if it cannot be done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.conversion import Options, convert, plan, verify_bits
from wtools.conversion.options import rule, rules_of
from wtools.errors import NameNotFoundError, OutputError, UnsupportedError, UsageError
from wtools.tree import Tensor, WeightTree

from .trees import every, tensor


@pytest.fixture
def tree() -> WeightTree:
    names = ["model.encoder.weight", "model.encoder.bias", "model.head.weight", "step"]
    tensors = [tensor(name, "float32", (2, 3)) for name in names[:3]]
    return WeightTree([*tensors, tensor("step", "int64", ())], separator=".")


def names_after(tree: WeightTree, **changes: object) -> list[str]:
    return [row.target for row in plan(tree, "m.pt", options=Options(**changes)).rows]


# --- what to take and what to call it ------------------------------------------------------------


def test_by_default_nothing_changes(tree: WeightTree) -> None:
    planned = plan(tree, "m.safetensors")
    assert [row.name for row in planned.rows] == [row.target for row in planned.rows] == list(tree)
    assert all(row.dtype == row.to and not row.change for row in planned.rows)
    assert not planned.problems and not planned.lost


def test_only_and_exclude_take_globs(tree: WeightTree) -> None:
    assert names_after(tree, only=["*.weight"]) == ["model.encoder.weight", "model.head.weight"]
    assert names_after(tree, exclude=["model.*"]) == ["step"]
    assert names_after(tree, only=["model.*"], exclude=["*.bias", "*head*"]) == list(tree)[:1]


@pytest.mark.parametrize("option", ["only", "exclude"])
def test_a_pattern_that_matches_nothing_is_a_slip(option: str, tree: WeightTree) -> None:
    with pytest.raises(NameNotFoundError, match="encodr"):
        plan(tree, "m.pt", options=Options(**{option: ["encodr*"]}))


def test_prefixes_are_stripped_and_rules_applied_in_turn(tree: WeightTree) -> None:
    changes = {"strip_prefix": "model.", "rename": [("^encoder", "enc"), (r"\.w\w+", ".kernel")]}
    assert names_after(tree, **changes) == ["enc.kernel", "enc.bias", "head.kernel", "step"]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"strip_prefix": "modle."}, "modle"),
        ({"rename": [("nothing", "x")]}, "changes no name"),
        ({"rename": [("(", "x")]}, "is no rule"),
        ({"rename": [("step", r"\9")]}, "is no rule"),
    ],
)
def test_rules_that_do_nothing_or_are_none_are_refused(
    changes: dict[str, object], reason: str, tree: WeightTree
) -> None:
    with pytest.raises(UsageError, match=reason):
        plan(tree, "m.pt", options=Options(**changes))


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("# comment\n^a\\.=b.\n\nx\\=y=z=w\n")
    assert rules_of(str(path)) == [(r"^a\.", "b."), ("x=y", "z=w")]
    with pytest.raises(UsageError):
        rule("no equals sign")
    with pytest.raises(UsageError, match="cannot be read"):
        rules_of(str(tmp_path / "absent"))


def test_metadata_are_added_and_replaced(tree: WeightTree, tmp_path: Path) -> None:
    source = tree.replace(tree.values(), metadata={"a": "1", "b": "2"})
    convert(source, tmp_path / "m.safetensors", metadata={"b": "3", "c": "4"})
    with wtools.open(tmp_path / "m.safetensors") as found:
        assert dict(found.metadata) == {"a": "1", "b": "3", "c": "4"}


# --- problems, found before anything is written --------------------------------------------------


def nothing_written(folder: Path, work: Callable[[], object], match: str) -> None:
    before = sorted(os.listdir(folder))
    with pytest.raises((UnsupportedError, UsageError, OutputError), match=match):
        work()
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    "target, changes, match",
    [
        ("m.pt", {"rename": [("encoder|head", "x")]}, "would both be named 'model.x.weight'"),
        ("m.pt", {"rename": [("^step$", "")]}, "would have no name left"),
        ("m.npz", {"dtype": "bfloat16"}, "npz holds no bfloat16.*--dtype bfloat16=float32"),
        ("m.npz", {"shard_size": 100}, "--shard-size means nothing to npz"),
        ("m.pt", {"external_data": True}, "--external-data means nothing to pytorch"),
        ("m.keras", {}, "--like"),
        ("m.xyz", {}, "does not say which format"),
        ("m.h5", {"rename": [("step", "/step")]}, "cannot be a path in HDF5"),
        ("m.h5", {"rename": [("step", "a/../step")]}, "cannot be a path in HDF5"),
        ("m.safetensors", {"rename": [("step", "__metadata__")]}, "cannot be named"),
        ("m.npz", {"rename": [("step", "a\0b")]}, "zip member"),
        ("no/such/folder/m.pt", {}, "folder does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_first(
    target: str, changes: dict[str, object], match: str, tree: WeightTree, tmp_path: Path
) -> None:
    nothing_written(tmp_path, lambda: convert(tree, tmp_path / target, **changes), f"(?s){match}")


def test_a_dataset_that_would_be_a_group_too_is_a_problem(tmp_path: Path) -> None:
    tree = WeightTree(tensor(n, "float32", (2,)) for n in ("a/b", "a/b/c"))
    nothing_written(tmp_path, lambda: convert(tree, tmp_path / "m.h5"), "would be a group")


@pytest.mark.parametrize("target", ["m.safetensors", "m.pt", "m.npz", "m.onnx", "m.weights.h5"])
def test_a_tree_without_tensors_is_written_where_it_can_be_read(
    target: str, tmp_path: Path
) -> None:
    tree = WeightTree([])
    if target in ("m.npz", "m.weights.h5"):
        nothing_written(tmp_path, lambda: convert(tree, tmp_path / target), "empty")
        return
    convert(tree, tmp_path / target)
    with wtools.open(tmp_path / target) as found:
        assert len(found) == 0


def test_names_that_a_format_cannot_spell_are_problems(tmp_path: Path) -> None:
    tree = WeightTree([tensor("\ud800", "float32", (2,))])
    for target in ("m.onnx", "m.h5"):
        nothing_written(tmp_path, lambda t=target: convert(tree, tmp_path / t), "rename")


def test_a_dry_run_lists_every_problem_and_writes_nothing(tree: WeightTree, tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_text("old")
    report = convert(tree, tmp_path / "m.npz", dtype="bfloat16", dry_run=True)
    problems = [note for note in report.notes if note.startswith("problem")]
    assert report.summary["problems"] == len(problems) == 2
    assert "npz holds no bfloat16" in problems[0] and "exists already" in problems[1]
    assert [row.to for row in report.rows] == ["bfloat16"] * 3 + ["int64"]
    assert (tmp_path / "m.npz").read_text() == "old" and report.summary["written"] is False


# --- writing -------------------------------------------------------------------------------------


def test_an_existing_target_is_not_replaced_unasked(tree: WeightTree, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_text("old")
    nothing_written(tmp_path, lambda: convert(tree, tmp_path / "m.pt"), "--overwrite")
    assert (tmp_path / "m.pt").read_text() == "old"
    os.chmod(tmp_path / "m.pt", 0o640)
    convert(tree, tmp_path / "m.pt", overwrite=True)
    assert (tmp_path / "m.pt").stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_mode_that_the_umask_leaves(tree: WeightTree, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        convert(tree, tmp_path / "m.pt")
    finally:
        os.umask(before)
    assert (tmp_path / "m.pt").stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(tree: WeightTree, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "m.pt").write_text("old")
    (tmp_path / "m.pt").symlink_to("real/m.pt")
    convert(tree, tmp_path / "m.pt", overwrite=True)
    assert (tmp_path / "m.pt").is_symlink()
    with wtools.open(tmp_path / "real" / "m.pt") as found:
        assert verify_bits(tree, found).summary["equal"]


@pytest.mark.parametrize("name", ["m.pt", "hard.pt", "soft.pt"])
def test_source_and_target_may_be_the_same_file(
    name: str, tree: WeightTree, tmp_path: Path
) -> None:
    convert(tree, tmp_path / "m.pt")
    os.link(tmp_path / "m.pt", tmp_path / "hard.pt")
    (tmp_path / "soft.pt").symlink_to("m.pt")
    with pytest.raises(OutputError, match="exists already"):
        convert(tmp_path / "m.pt", tmp_path / name)
    convert(tmp_path / "m.pt", tmp_path / name, strip_prefix="model.", overwrite=True)
    with wtools.open(tmp_path / name) as found:
        assert next(iter(found)) == "encoder.weight"
        np.testing.assert_array_equal(found["step"].read(), tree["step"].read())


def test_a_set_of_shards_can_replace_itself(tmp_path: Path) -> None:
    tree = every(["float32"])
    target = tmp_path / "m.safetensors.index.json"
    convert(tree, target, shard_size=200)
    convert(target, target, shard_size=400, overwrite=True)
    convert(target, target, shard_size=200, overwrite=True)
    with wtools.open(target) as found:
        assert verify_bits(tree, found).summary["equal"]
        files = {Path(t.storage.file).name for t in found.values() if t.storage}
    assert {p.name for p in tmp_path.iterdir()} == files | {target.name}


def test_one_file_and_a_set_replace_each_other(tmp_path: Path) -> None:
    tree = every(["float32"])
    convert(tree, tmp_path / "m.safetensors", shard_size=200)
    with pytest.raises(OutputError, match=r"index\.json: exists already"):
        convert(tree, tmp_path / "m.safetensors")
    convert(tree, tmp_path / "m.safetensors", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    with pytest.raises(OutputError, match=r"m\.safetensors: exists already"):
        convert(tree, tmp_path / "m.safetensors", shard_size=200)
    convert(tree, tmp_path / "m.safetensors", shard_size=200, overwrite=True)
    assert not (tmp_path / "m.safetensors").exists()
    with wtools.open(tmp_path) as found:
        assert verify_bits(tree, found).summary["equal"]


def test_the_source_s_own_files_are_never_removed(tmp_path: Path) -> None:
    """A model that names another's data file: making that other one anew must not break it."""
    tree = WeightTree([tensor("w", "float32", (40, 50))])
    convert(tree, tmp_path / "a.onnx", external_data=True)
    os.rename(tmp_path / "a.onnx", tmp_path / "b.onnx")  # which goes on using a.onnx.data
    convert(tmp_path / "b.onnx", tmp_path / "a.onnx", external_data=True)
    convert(tmp_path / "b.onnx", tmp_path / "a.onnx", external_data=True, overwrite=True)
    for name in ("a.onnx", "b.onnx"):
        with wtools.open(tmp_path / name) as found:
            assert verify_bits(tree, found).summary["equal"]


def test_a_long_name_has_room_for_its_hidden_folder(tree: WeightTree, tmp_path: Path) -> None:
    name = "m" * 250 + ".pt"
    convert(tree, tmp_path / name)
    convert(tree, tmp_path / name, overwrite=True)
    assert os.listdir(tmp_path) == [name]


# --- verification --------------------------------------------------------------------------------


def test_an_output_that_is_not_what_was_written_never_appears(
    tree: WeightTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit that flips on its way to the disk is found when the output is read back."""
    real = os.pwrite
    wanted = tree["model.encoder.bias"].read().tobytes()

    def flipping(fd: int, data: memoryview, offset: int) -> int:
        if bytes(data) == wanted:
            data = memoryview(bytes([data[0] ^ 1]) + bytes(data[1:]))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", flipping)
    for name in ("m.safetensors", "m.onnx", "m.h5"):
        nothing_written(
            tmp_path, lambda n=name: convert(tree, tmp_path / n), "encoder.bias.*from element 0"
        )
    convert(tree, tmp_path / "m.safetensors", check=False)
    with wtools.open(tmp_path / "m.safetensors") as found:
        assert not verify_bits(tree, found).summary["equal"]


def test_verify_bits_says_how_files_differ(tree: WeightTree) -> None:
    changed = tree["model.head.weight"].read(copy=True)
    changed[1, 2] = 0
    others = [
        tree["model.encoder.weight"],
        Tensor.of("model.encoder.bias", np.zeros((2, 3))),
        Tensor.of("model.head.weight", changed),
        Tensor.of("step", np.zeros((1,), np.int64)),
        Tensor.of("new", np.zeros(1)),
    ]
    report = verify_bits(tree, WeightTree(others))
    assert [row.reason for row in report.rows] == [
        "",
        "float32 against float64",
        "differs from element 5 on",
        "shape [] against [1]",
        "only in the second file",
    ]
    assert report.summary["equal"] is False and report.summary["differing"] == 4


def test_zeros_of_both_signs_and_nans_are_told_apart() -> None:
    one = WeightTree([Tensor.of("w", np.array([0.0, np.nan]))])
    other = WeightTree([Tensor.of("w", np.array([-0.0, np.nan]))])
    assert verify_bits(one, one).summary["equal"]
    assert verify_bits(one, other).rows[0].reason == "differs from element 0 on"
