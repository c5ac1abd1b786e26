"""`wtools report --json` on every real file: nothing crashes, and nothing is read twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wtools import formats
from wtools.errors import WtoolsError

pytestmark = pytest.mark.corpus
MEASURE = Path(__file__).resolve().parent.parent / "measured_report.py"
HEADERS = 1 << 16  # what reading the header in pieces may add to a small file


def opens(path: Path) -> bool:
    try:
        formats.open(path).close()
    except WtoolsError:
        return False
    return True


def test_every_file_is_reported_on_and_read_once(corpus: Path) -> None:
    paths = [path for path in sorted(corpus.rglob("*")) if path.is_file() and opens(path)]
    assert len(paths) > 20
    done = subprocess.run(
        [sys.executable, MEASURE],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr
    measured = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    for path, (code, nbytes) in zip(paths, measured, strict=True):
        assert code in (0, 1), path
        assert nbytes <= 1.1 * path.stat().st_size + HEADERS, (path, path.stat().st_size, nbytes)
