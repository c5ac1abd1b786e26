"""Many tensors at once: in order, each with its sketch or its error, on any number of threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured import PEAK
from sketch.reference import NAMES, assert_agree, example

from wtools import dtypes
from wtools.errors import CorruptError, UsageError, WtoolsError
from wtools.files import RawData, Source
from wtools.sketch import Sketch, runner, sketch, sketches
from wtools.tree import Tensor


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut finely, so that small tensors meet many threads."""
    monkeypatch.setattr(runner, "PIECE", 1 << 15)
    monkeypatch.setattr(runner, "SCRATCH", 1 << 15)
    monkeypatch.setattr(runner, "INLINE", 0)


def stored(folder: Path, dtype: str, array: np.ndarray, *, swapped: bool = False) -> Tensor:
    """The array as a tensor whose bytes lie at an odd place of a file."""
    kind = dtypes.get(dtype)
    raw = kind.pack(array)
    if swapped:
        raw = raw.view(array.dtype).byteswap().view(np.uint8)
    path = folder / f"{dtype}.bin"
    path.write_bytes(b"odd" + raw.tobytes() + b"\xff" * 5)
    data = RawData(Source(path), 3, array.shape, kind, swapped)
    return Tensor(dtype, array.shape, dtype, data, storage=data.storage())


@dataclass(frozen=True, eq=False)
class Failing:
    """Data that end in an error."""

    error: Exception

    def read(self) -> Any:
        raise self.error

    def blocks(self, nbytes: int = 0) -> Iterator[Any]:
        yield np.ones(5, np.float32)
        raise self.error


@pytest.mark.parametrize("histogram", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5, 4_096, 70_003])
@pytest.mark.parametrize("dtype", NAMES)
def test_a_file_gives_what_the_array_gives(
    tmp_path: Path, dtype: str, count: int, histogram: bool
) -> None:
    array = example(dtype, count)
    found = sketch(stored(tmp_path, dtype, array), histogram=histogram, threads=2)
    expected = sketch(array, histogram=histogram)
    assert_agree(found, Sketch(**{**vars(expected), "dtype": dtype}))


@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_swapped_elements(tmp_path: Path, dtype: str) -> None:
    array = example(dtype, 5_000)
    assert_agree(sketch(stored(tmp_path, dtype, array, swapped=True)), sketch(array))


@pytest.mark.parametrize("histogram", [True, False])
def test_results_do_not_depend_on_the_number_of_threads(tmp_path: Path, histogram: bool) -> None:
    files = [stored(tmp_path, dtype, example(dtype, 100_003)) for dtype in NAMES]
    memory = [Tensor.of(str(n), example("float32", 10 * n, n)) for n in range(50)]
    tensors = [*files, *memory]
    results = []
    for count in (1, 2, 5):
        found = list(sketches(tensors, histogram=histogram, threads=count))
        assert [t for t, _ in found] == tensors
        results.append([repr(s) for _, s in found])
        kept = [s.histogram for _, s in found if isinstance(s, Sketch)]
        assert [h is not None for h in kept] == [histogram] * len(tensors)
    assert results[0] == results[1] == results[2]


def test_the_cut_into_blocks_is_that_of_the_data_not_of_the_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = stored(tmp_path, "float32", example("float32", 200_001))
    found = set()
    for scratch in (1 << 15, 1 << 16, 1 << 19):
        monkeypatch.setattr(runner, "SCRATCH", scratch)
        found.add(repr(sketch(tensor)))
    assert len(found) == 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_an_error_takes_the_place_of_its_tensor(threads: int) -> None:
    good = [Tensor.of(f"good {n}", np.full(100_000, n, np.float32)) for n in range(3)]
    bad = Tensor("bad", (9,), "float32", Failing(CorruptError("torn", place="bad")))
    gone = Tensor("gone", (9,), "float32", Failing(OSError(5, "Input/output error")))
    tensors = [good[0], bad, good[1], gone, good[2]]
    found = {t.name: s for t, s in sketches(tensors, threads=threads)}
    assert list(found) == [t.name for t in tensors]
    assert [found[t.name].mean for t in good] == [0, 1, 2]
    assert "torn" in str(found["bad"])
    assert isinstance(found["gone"], WtoolsError)
    assert "gone: cannot be read: Input/output error" in str(found["gone"])


@pytest.mark.parametrize("threads", [1, 3])
def test_a_file_that_became_shorter(tmp_path: Path, threads: int) -> None:
    tensor = stored(tmp_path, "float32", example("float32", 100_000))
    os.truncate(tmp_path / "float32.bin", 200_000)
    ((_, found), (_, after)) = sketches([tensor, Tensor.of("ok", np.ones(9))], threads=threads)
    assert isinstance(found, CorruptError)
    assert "float32.bin: float32: the file became shorter" in str(found)
    assert after.mean == 1
    with pytest.raises(CorruptError, match="became shorter"):
        sketch(tensor, threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_bug_is_not_an_error_of_the_tensor(threads: int) -> None:
    bad = Tensor("bad", (9,), "float32", Failing(ZeroDivisionError("a bug")))
    fine = Tensor.of("fine", np.ones(100_000))
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(sketches([fine, bad, fine, fine], threads=threads))
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_adds_up_to_all_bytes(threads: int) -> None:
    tensors = [Tensor.of(str(n), np.ones(50_000 * n, np.float32)) for n in range(5)]
    seen: list[int] = []
    for _ in sketches(tensors, threads=threads, progress=seen.append):
        pass
    assert sum(seen) == sum(t.nbytes for t in tensors)
    assert all(n > 0 for n in seen)


def test_leaving_early_stops_the_threads() -> None:
    tensors = [Tensor.of(str(n), np.ones(100_000, np.float32)) for n in range(50)]
    before = threading.active_count()
    for _ in sketches(tensors, threads=3):
        break
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_threads_wait_for_a_slow_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wtools.sketch.threads.AHEAD", 3)
    read: list[int] = []

    @dataclass(frozen=True, eq=False)
    class Noted:
        number: int

        def read(self) -> Any:
            return np.ones(4, np.float32)

        def blocks(self, nbytes: int = 0) -> Iterator[Any]:
            read.append(self.number)
            yield self.read()

    tensors = [Tensor(str(n), (4,), "float32", Noted(n)) for n in range(40)]
    for place, (tensor, found) in enumerate(sketches(tensors, threads=4)):
        assert tensor is tensors[place]
        assert isinstance(found, Sketch)
        time.sleep(0.002)
        assert len(read) <= place + 1 + 3
    assert sorted(read) == list(range(40))


def test_no_threads_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="0 threads"):
        sketch(np.ones(3), threads=0)


def test_no_tensors() -> None:
    assert list(sketches([])) == []


SLEEPER = """
import os, sys, time, numpy as np
from wtools.sketch import sketches
from wtools.tree import LazyData, Tensor
def slow():
    os.write(1, b"reading\\n")
    time.sleep(60)
tensors = [Tensor(str(n), (1 << 24,), "float32", LazyData(slow)) for n in range(4)]
try:
    list(sketches(tensors, threads=2))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_leaves_at_once() -> None:
    """Threads that are stuck in a read keep neither the caller nor the process."""
    child = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "reading\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=20) == 130
    child.stdout.close()


MEASURED = f"""
import sys
import numpy as np
from wtools import dtypes
from wtools.files import RawData, Source
from wtools.sketch import sketch
from wtools.tree import Tensor
{PEAK}
before = peak()
source = Source(sys.argv[1])
for dtype in ("float32", "bfloat16", "int8", "float64"):
    kind = dtypes.get(dtype)
    shape = (source.size * 8 // kind.bits,)
    sketch(Tensor("t", shape, dtype, RawData(source, 0, shape, kind)))
print((peak() - before) >> 20)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 64  # megabytes


def test_nothing_heavy_is_imported_for_plain_files() -> None:
    program = (
        "import sys, numpy as np; from wtools.sketch import sketch;"
        "sketch(np.ones(9, np.float32)).quantile(0.5);"
        "heavy = 'ml_dtypes', 'concurrent.futures', 'h5py', 'rich';"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
