"""The command line as a user and a script meet it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner

import wtools
from wtools.cli import COMMANDS, cli, run
from wtools.errors import CorruptError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two layers, one NaN, one zero bias."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(30, 20)).astype(np.float32)
    kernel[3, 4] = np.nan
    tensors = {
        "dense.kernel": kernel,
        "dense.bias": np.zeros(20, np.float32),
        "out.kernel": rng.normal(size=(20, 3)).astype(np.float16),
    }
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata={"made": "here"})
    return path


@pytest.fixture
def wt(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process: exit code, output, errors."""

    def call(*args: object) -> tuple[int, str, str]:
        code = run([str(arg) for arg in args])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def test_every_command_has_help_that_says_what_it_does(wt: Run) -> None:
    code, out, _ = wt("--help")
    assert code == 0 and "Exit codes" in out
    for name in COMMANDS:
        assert name in out
        code, help_text, _ = wt(name, "--help")
        assert code == 0 and f"Usage: wtools {name}" in help_text and "--json" in help_text


def test_no_arguments_shows_help(wt: Run) -> None:
    assert wt()[0] == 0 and "Commands" in wt()[1]


def test_version(wt: Run) -> None:
    assert wt("--version")[1] == f"wtools {wtools.__version__}\n"
    verbose = wt("--version", "-v")[1]
    assert "statistics core: " in verbose and f"numpy {np.__version__}" in verbose


def test_ls_json(wt: Run, model: Path) -> None:
    code, out, _ = wt("ls", model, "--json")
    report = json.loads(out)
    assert code == 0 and report["schema"] == "wtools.ls/1" and report["format"] == "safetensors"
    rows = {row["name"]: row for row in report["rows"]}
    assert rows["dense.kernel"]["shape"] == [30, 20]
    assert rows["out.kernel"]["dtype"] == "float16" and rows["out.kernel"]["nbytes"] == 120
    assert report["summary"]["parameters"] == 680


def test_stats_json_has_the_columns_that_scripts_rely_on(wt: Run, model: Path) -> None:
    code, out, _ = wt("stats", model, "--json")
    report = json.loads(out)
    assert code == 0 and report["schema"] == "wtools.stats/1"
    promised = (
        "name dtype shape count nbytes mean std min max l1 l2 linf rms zeros zero_fraction "
        "nans infs q01 q25 q50 q75 q99 layer kind"
    )
    for row in report["rows"]:
        assert set(promised.split()) <= set(row)
    kernel = next(row for row in report["rows"] if row["name"] == "dense.kernel")
    assert kernel["nans"] == 1 and kernel["layer"] == "dense"
    assert any("NaN in 1 of 3 tensors: dense.kernel" in note for note in report["notes"])


def test_stats_by_layer(wt: Run, model: Path) -> None:
    rows = json.loads(wt("stats", model, "--by", "layer", "--json")[1])["rows"]
    assert {row["name"]: row["count"] for row in rows} == {"dense": 620, "out": 60}


def test_match_sort_limit_columns(wt: Run, model: Path) -> None:
    args = ("--match", "*kernel", "--sort", "-count", "--limit", "1", "--columns", "name,count")
    code, out, _ = wt("stats", model, *args, "--csv")
    assert (code, out) == (0, "name,count\ndense.kernel,600\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sats", "x"], "Did you mean 'stats'?"),
        (["stats"], "Missing argument 'PATH'"),
        (["stats", "MODEL", "--wrong"], "No such option"),
        (["stats", "MODEL", "--sort", "nmae"], "Did you mean 'name'"),
        (["stats", "MODEL", "--columns", "name,men"], "Did you mean"),
        (["stats", "MODEL", "--match", "dense.kernl"], "Did you mean 'dense.kernel'"),
        (["stats", "MODEL", "--format", "tar"], "no format named 'tar'"),
        (["stats", "MODEL", "--threads", "0"], "--threads"),
    ],
)
def test_wrong_usage_is_2(wt: Run, model: Path, args: list[str], says: str) -> None:
    code, out, err = wt(*[str(model) if arg == "MODEL" else arg for arg in args])
    assert code == 2 and says in err and not out


def test_a_missing_file_is_3_and_told_in_json_too(wt: Run, tmp_path: Path) -> None:
    code, out, err = wt("ls", tmp_path / "no.pt", "--json")
    assert code == 3 and "no such file" in err
    error = json.loads(out)
    assert error["schema"] == "wtools.error/1" and error["error"] == "missing"
    assert error["path"].endswith("no.pt") and error["exit_code"] == 3


def test_an_output_that_cannot_be_written_is_4(wt: Run, model: Path, tmp_path: Path) -> None:
    code, _, err = wt("ls", model, "-o", tmp_path / "no" / "such" / "folder.json")
    assert code == 4 and "folder does not exist" in err


@pytest.mark.parametrize(
    ("name", "begins"),
    [("r.json", "{"), ("r.csv", "name,"), ("r.md", "###"), ("r.html", "<!doctype html>")],
)
def test_the_output_ending_chooses_the_form(
    wt: Run, model: Path, tmp_path: Path, name: str, begins: str
) -> None:
    (tmp_path / name).write_text("old")
    code, out, _ = wt("stats", model, "-o", tmp_path / name)
    assert code == 0 and not out
    assert (tmp_path / name).read_text().startswith(begins)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([model.name, name])


def test_a_tensor_that_cannot_be_read_does_not_hide_the_others(
    wt: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wtools.analyzers import stats

    real = stats.sketches

    def broken(tensors, **options):  # type: ignore[no-untyped-def]
        for tensor, sketch in real(tensors, **options):
            bad = CorruptError("its bytes are gone", path=str(model), place=tensor.name)
            yield tensor, bad if tensor.name == "out.kernel" else sketch

    monkeypatch.setitem(stats.stats.__kwdefaults__, "scan", broken)
    code, out, err = wt("stats", model, "--json")
    report = json.loads(out)
    assert code == 3 and "out.kernel: its bytes are gone" in err
    assert [row["name"] for row in report["rows"]] == ["dense.bias", "dense.kernel"]
    assert "1 of 3 tensors could not be read" in report["notes"]


def test_a_fault_of_ours_is_70_without_a_traceback(
    wt: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtools.commands.ls.listing", lambda tree: 1 / 0)
    code, _, err = wt("ls", model)
    assert code == 70 and "internal error: ZeroDivisionError" in err and "Traceback" not in err
    monkeypatch.setenv("WTOOLS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["ls", str(model)])


def test_merge_of_parts_is_the_whole(wt: Run, model: Path, tmp_path: Path) -> None:
    for part in ("dense", "out"):
        assert wt("stats", model, "--match", f"{part}*", "--sketch-out", tmp_path / part)[0] == 0
    code, out, _ = wt("merge", tmp_path / "dense", tmp_path / "out", "--json")
    merged, whole = json.loads(out), json.loads(wt("stats", model, "--json")[1])
    assert code == 0 and merged["summary"] == whole["summary"]
    by_name = {row["name"]: row for row in whole["rows"]}
    assert {row["name"]: row for row in merged["rows"]} == by_name


def test_merge_takes_only_sketch_files(wt: Run, model: Path) -> None:
    code, _, err = wt("merge", model)
    assert code == 3 and "sketch file" in err


def test_formats(wt: Run) -> None:
    rows = {row["name"]: row for row in json.loads(wt("formats", "--json")[1])["rows"]}
    assert {"safetensors", "pytorch", "keras", "onnx", "npz"} <= set(rows)


def process(*args: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wtools", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **(pipes | options))  # type: ignore[call-overload,no-any-return]


def test_a_closed_pipe_is_no_error(model: Path) -> None:
    child = process("ls", model, "--json")
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(60) == 0
    assert child.stderr is not None and child.stderr.read() == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="signals as POSIX has them")
def test_an_interrupt_leaves_at_once(tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(1, np.float32)}, path)
    slow = (
        "import time, wtools.commands.ls as ls, sys\n"
        "ls.listing = lambda tree: (print('ready', flush=True), time.sleep(60))\n"
        "from wtools.cli import main\n"
        f"main(['ls', {str(path)!r}])\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130 and err == "wtools: interrupted\n"


def on_a_terminal(columns: int, *args: object) -> str:
    """What the command prints on a terminal of that width."""
    parent, child = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    running = process(*args, stdout=child, stderr=child, env=environment)
    os.close(child)
    chunks = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chunk = os.read(parent, 65536)
        except OSError:  # Linux says EIO when the last writer is gone
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(parent)
    assert running.wait(60) == 0
    return b"".join(chunks).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_a_terminal_table_fits_and_is_styled(model: Path, columns: int) -> None:
    import re

    text = on_a_terminal(columns, "stats", model)
    assert "\x1b[1m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    table = [line for line in plain.splitlines() if line.startswith(("name", "dense", "out"))]
    assert len(table) == 4 and max(map(len, table)) <= columns
    assert ("no room for" in plain) == (columns < 160)


def test_a_pipe_gets_no_escape_codes(model: Path) -> None:
    out, err = process("stats", model).communicate(timeout=60)
    assert "\x1b" not in out + err and "q99" in out


def test_completion_is_there() -> None:
    environment = {
        "_WTOOLS_COMPLETE": "bash_complete",
        "COMP_WORDS": "wtools st",
        "COMP_CWORD": "1",
    }
    result = CliRunner().invoke(cli, prog_name="wtools", env=environment)
    assert "stats" in result.output
