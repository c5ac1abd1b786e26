"""Every bad file ends in its own clear error: the code, the words, exit code 3, and little memory.

The files lie in fixtures/bad/<format>/, what is expected of each in expected.json beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BAD = Path(__file__).resolve().parent.parent / "fixtures" / "bad"
CASES = {
    f"{folder.name}/{name}": expected
    for folder in sorted(BAD.iterdir())
    if folder.is_dir()
    for name, expected in json.loads((folder / "expected.json").read_text()).items()
}
MOST_MEMORY = 300 << 20


def stats(path: Path, cwd: Path) -> tuple[int, str, str, int]:
    """Exit code, output, errors and peak memory of `wtools stats --json` in its own process."""
    script = (
        "import sys\n"
        "from wtools.cli import run\n"
        f"code = run(['stats', '--json', {str(path)!r}])\n"
        "sys.stdout.flush()\n"
        # not ru_maxrss, which a child inherits from the process that forked it
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print('peak', status['VmHWM'].split()[0], file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, timeout=60
    )
    *errors, peak = done.stderr.splitlines() or [""]
    assert peak.startswith("peak "), done.stderr
    return done.returncode, done.stdout, "\n".join(errors), int(peak.split()[1]) << 10


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_clearly(case: str, tmp_path: Path) -> None:
    expected: dict[str, Any] = CASES[case]
    code, output, errors, peak = stats(BAD / case, tmp_path)
    assert code == expected.get("exit_code", 3), output + errors
    assert "Traceback" not in errors and "internal error" not in errors
    assert expected["match"] in errors
    reported = json.loads(output) if output else {}
    if reported.get("schema") == "wtools.error/1":  # else: refused while reading a tensor
        assert reported["error"] == expected["code"]
    assert peak < MOST_MEMORY, f"{peak >> 20} MB"
    assert not list(tmp_path.iterdir()), "the file made something happen"


def test_every_bad_file_says_what_is_wrong_with_it() -> None:
    for case, expected in CASES.items():
        assert (BAD / case).exists(), case
        assert expected["why"] and expected["match"] and expected["code"], case


def test_no_bad_file_is_without_an_expectation() -> None:
    for folder in BAD.iterdir():
        for path in folder.iterdir():
            known = f"{folder.name}/{path.name}" in CASES or path.name == "expected.json"
            # parts of a case: shards lie in folders, external data beside their model
            assert known or path.is_dir() or path.suffix == ".data", path


def refused(path: Path, cwd: Path, match: str) -> None:
    code, _, errors, peak = stats(path, cwd)
    assert code == 3 and match in errors and peak < MOST_MEMORY, errors


def test_what_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "no.h5", tmp_path, "no such file or folder")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    refused(tmp_path, tmp_path, "the folder holds no weights file")


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", tmp_path, "not a regular file")


def test_a_device(tmp_path: Path) -> None:
    refused(Path("/dev/zero"), tmp_path, "not a regular file")


@pytest.mark.parametrize("name", ["model.h5", "model.pt", "model.safetensors", "model.onnx"])
def test_an_empty_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    refused(tmp_path / name, tmp_path, "an empty file")


@pytest.mark.parametrize("name", ["model.h5", "model.pt", "model.safetensors", "model.onnx"])
def test_a_sparse_file_of_zeros(name: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(100 << 30)
    refused(tmp_path / name, tmp_path, "begins with zero bytes")


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the kernel's refusal is put in its place."""
    from wtools.cli import run

    path = tmp_path / "model.h5"
    path.write_bytes(b"secret")
    path.chmod(0)

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    if os.geteuid() == 0:
        monkeypatch.setattr(os, "open", refuse)
    assert run(["ls", str(path)]) == 3
