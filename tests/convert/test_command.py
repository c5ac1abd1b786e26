"""wtools convert and wtools verify-bits as a user and a script meet them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.cli import run
from wtools.commands.convert import nbytes
from wtools.conversion import convert
from wtools.errors import UsageError
from wtools.tree import Tensor, WeightTree


@pytest.fixture
def source(tmp_path: Path) -> str:
    weights = np.array([[1.0, 1e9], [1e-7, 0.5]], np.float32)
    tree = WeightTree(
        [
            Tensor.of("model.w", weights),
            Tensor.of("model.b", np.zeros(2)),
            Tensor.of("step", np.int64(7)),
        ],
        separator=".",
    )
    convert(tree, tmp_path / "m.npz")
    return str(tmp_path / "m.npz")


def test_a_conversion_says_what_it_did(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "m.safetensors")
    assert run(["convert", source, target, "--strip-prefix", "model.", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "wtools.convert/1" and told["format"] == "safetensors"
    assert [(r["name"], r["target"], r["change"]) for r in told["rows"]] == [
        ("model.w", "w", "renamed"),
        ("model.b", "b", "renamed"),
        ("step", "step", ""),
    ]
    assert all(row["verified"] for row in told["rows"]) and told["summary"]["verified"]
    assert told["summary"]["files"] == ["m.safetensors"]


def test_people_see_only_what_changed(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dtype", "float16", "--on-overflow", "saturate"]
    assert run(["convert", source, str(tmp_path / "m.pt"), *options]) == 0
    out = capsys.readouterr().out
    assert "model.w" in out and "cast" in out and "step" not in out


def test_a_cast_that_overflows_is_an_error_unless_allowed(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m.pt"
    assert run(["convert", source, str(target), "--dtype", "float16"]) == 4
    error = capsys.readouterr().err
    assert "'model.w'" in error and "element 1" in error and "--on-overflow" in error
    assert not target.exists() and [p.name for p in tmp_path.iterdir()] == ["m.npz"]
    options = ["--dtype", "float16", "--on-overflow", "inf", "--json"]
    assert run(["convert", source, str(target), *options]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["overflowed"], row["subnormal"], row["flushed"]) == (1, 1, 0)
    with wtools.open(target) as found:
        assert np.isinf(found["model.w"].read()[0, 1])


def test_a_dry_run_shows_the_plan(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m.safetensors"
    assert run(["convert", source, str(target), "--dry-run"]) == 0
    assert "step" in capsys.readouterr().out and not target.exists()
    clash = ["--rename", "model.*=x"]
    assert run(["convert", source, str(target), "--dry-run", *clash]) == 4
    assert "would both be named 'x'" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, code",
    [
        (["--dtype", "flaot16"], 2),
        (["--only", "nothing*"], 2),
        (["--rename", "no-equals-sign"], 2),
        (["--metadata", "no-equals-sign"], 2),
        (["--shard-size", "much"], 2),
        (["--to", "tarball"], 2),
        (["--like", "absent.h5", "--to", "keras"], 3),
        (["--on-overflow", "maybe"], 2),
    ],
)
def test_exit_codes(options: list[str], code: int, source: str, tmp_path: Path) -> None:
    assert run(["convert", source, str(tmp_path / "m.safetensors"), *options]) == code
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]


def test_into_a_folder_and_from_a_folder(source: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    command = ["convert", source, str(tmp_path / "model"), "--to", "safetensors"]
    assert run([*command, "--shard-size", "20"]) == 0
    assert (tmp_path / "model" / "model.safetensors.index.json").exists()
    assert run(["convert", str(tmp_path / "model"), str(tmp_path / "back.npz")]) == 0
    assert run(["verify-bits", source, str(tmp_path / "back.npz")]) == 0


def test_verify_bits_ends_with_1_where_files_differ(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(tmp_path / "other.pt")
    assert run(["convert", source, other, "--dtype", "float64=float32"]) == 0
    capsys.readouterr()
    assert run(["verify-bits", source, other]) == 1
    out = capsys.readouterr().out
    assert "model.b" in out and "float64 against float32" in out and "model.w" not in out
    assert run(["verify-bits", source, other, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "wtools.verify-bits/1"
    assert [row["equal"] for row in told["rows"]] == [True, False, True]


def test_sizes() -> None:
    assert nbytes("5GB") == 5 * 10**9 and nbytes("1.5 KiB") == 1536 and nbytes("77") == 77
    assert nbytes("2gib") == 2**31 and nbytes("500 mb") == 5 * 10**8
    for bad in ("0", "-1", "5PB", "", "GB"):
        with pytest.raises(UsageError):
            nbytes(bad)
