"""Whatever happens while a target is being replaced: it is the old one or the new one, whole.

Processes are killed at random moments and at every single call that changes the file system;
every such call is made to fail; the disk fills up at every size. Each time the target must open
and be wholly old or wholly new, the source untouched, and nothing left behind after the next run.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools.conversion import convert, verify_bits
from wtools.errors import OutputError
from wtools.tree import Tensor, WeightTree

CALLS = ("fsync", "replace", "link", "unlink", "rmdir", "mkdir", "pwrite", "chmod")
# main file -> how it is written: a file, a set of shards, a model with external data, through HDF5
WAYS: dict[str, dict[str, Any]] = {
    "m.pt": {},
    "m.safetensors.index.json": {"shard_size": 30_000},
    "m.onnx": {"external_data": True},
    "m.h5": {},
}


def weights(seed: int, size: int = 5_000, count: int = 4) -> WeightTree:
    rng = np.random.default_rng(seed)
    return WeightTree(
        Tensor.of(f"layer{i}/kernel", rng.standard_normal(size, dtype=np.float32))
        for i in range(count)
    )


class Scene:
    """A source, an old target, and what may be found afterwards."""

    def __init__(self, folder: Path, name: str, size: int = 5_000) -> None:
        self.folder = folder
        self.target = folder / name
        self.options = WAYS[name]
        self.new, self.old = weights(1, size), weights(2, size)
        self.source = folder / "source.npz"
        convert(self.new, self.source)
        self.digest = self._digest()
        self.restore()

    def restore(self) -> None:
        convert(self.old, self.target, overwrite=True, **self.options)

    def run(self) -> None:
        convert(self.source, self.target, overwrite=True, **self.options)

    def state(self) -> str:
        """ "old" or "new"; anything else is a failure of the test."""
        assert self._digest() == self.digest
        with wtools.open(self.target) as found:
            for name, tree in (("old", self.old), ("new", self.new)):
                if verify_bits(tree, found).summary["equal"]:
                    return name
        raise AssertionError("neither the old target nor the new one")

    def strays(self) -> list[str]:
        """Files in the folder that are no part of source or target."""
        with wtools.open(self.target) as found:
            own = {Path(t.storage.file).name for t in found.values() if t.storage}
        return sorted(
            {p.name for p in self.folder.iterdir()} - own - {self.target.name, "source.npz"}
        )

    def settled(self) -> None:
        """After the next run everything is new and nothing is left behind."""
        self.run()
        assert self.state() == "new"
        assert self.strays() == []

    def _digest(self) -> str:
        return hashlib.sha256(self.source.read_bytes()).hexdigest()


@pytest.fixture(params=WAYS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, request.param)


def in_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """The wait status of a forked process that does `work`, killed after some seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("name", WAYS)
def test_killed_at_random_moments(name: str, tmp_path: Path) -> None:
    scene = Scene(tmp_path, name, size=200_000)
    began = time.perf_counter()
    scene.run()
    span = time.perf_counter() - began
    chance = random.Random(7)
    killed = 0
    for _ in range(25):
        scene.restore()
        status = in_child(scene.run, kill_after=chance.uniform(0, 1.2 * span))
        killed += os.WIFSIGNALED(status)
        scene.state()
    assert killed
    scene.settled()


def counted(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[str], None], when: int, *, after: bool = False
) -> Callable[[], int]:
    """Let `fault` happen before (or after) the call number `when` of any of CALLS."""
    count = 0

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            mine = count
            if mine == when and not after:
                fault(name)
            result = real(*args, **kwargs)
            if mine == when and after:
                fault(name)
            return result

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrap(name, getattr(os, name)))
    return lambda: count


def calls_of(scene: Scene) -> int:
    with pytest.MonkeyPatch.context() as patch:
        count = counted(patch, lambda name: None, -1)
        scene.run()
        return count()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_call(scene: Scene, after: bool) -> None:
    seen = set()
    total = calls_of(scene)
    for when in range(1, total + 1):
        scene.restore()

        def work(when: int = when) -> None:
            with pytest.MonkeyPatch.context() as patch:
                counted(patch, lambda name: os._exit(9), when, after=after)
                scene.run()

        status = in_child(work)
        assert os.WEXITSTATUS(status) == 9
        seen.add(scene.state())
        scene.settled()
    assert seen == {"old", "new"}


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_every_call_fails_once(scene: Scene, code: int) -> None:
    def fail(name: str) -> None:
        raise OSError(code, os.strerror(code))

    total = calls_of(scene)
    for when in range(1, total + 1):
        scene.restore()
        with pytest.MonkeyPatch.context() as patch:
            counted(patch, fail, when)
            try:
                scene.run()
            except OutputError as error:
                assert os.strerror(code) in str(error) and error.exit_code == 4
        scene.state()
        scene.settled()


def full_disk(limit: int) -> None:
    """In a child: no file may become larger than `limit` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("limit", [0, 1, 100, 5_000, 20_000, 70_000])
def test_the_disk_is_full(scene: Scene, limit: int) -> None:
    def work() -> None:
        full_disk(limit)
        try:
            scene.run()
        except OutputError:
            os._exit(4)

    expected = 0 if limit == 70_000 and "index" in scene.target.name else 4
    assert os.WEXITSTATUS(in_child(work)) == expected
    assert scene.state() == ("old" if expected else "new")
    assert scene.strays() == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", WAYS)
def test_a_disk_that_fills_up(name: str, tiny_disk: Path, tmp_path: Path) -> None:
    old, new = weights(1, 5_000), weights(2, 40_000)
    convert(new, tmp_path / "source.npz")
    convert(old, tiny_disk / name, **WAYS[name])
    before = sorted(p.name for p in tiny_disk.iterdir())
    with pytest.raises(OutputError, match="No space left"):
        convert(tmp_path / "source.npz", tiny_disk / name, overwrite=True, **WAYS[name])
    assert sorted(p.name for p in tiny_disk.iterdir()) == before
    with wtools.open(tiny_disk / name) as found:
        assert verify_bits(old, found).summary["equal"]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_behind(number: int, code: int, tmp_path: Path) -> None:
    scene = Scene(tmp_path, "m.pt", size=3_000_000)
    script = (
        "import sys, time, wtools.streams as s\n"
        "real = s.FileWriter.put\n"
        "def slow(self, data):\n"
        "    real(self, data)\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(0.02)\n"
        "s.FileWriter.put = slow\n"
        "from wtools.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", script, "convert", str(scene.source), str(scene.target)]
    with subprocess.Popen(
        [*command, "--overwrite"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(number)
        child.communicate(timeout=60)
    assert child.returncode == code
    assert scene.state() == "old"
    assert scene.strays() == []


def test_a_live_conversion_is_not_swept(tmp_path: Path) -> None:
    from wtools.outputs import staged

    target = tmp_path / "m.pt"
    with staged(target) as first:
        first.main.write_bytes(b"first")
        with staged(target) as second:
            second.main.write_bytes(b"second")
        assert first.main.exists() and target.read_bytes() == b"second"
        first.main.unlink()
        first.main.write_bytes(b"first again")
    assert target.read_bytes() == b"first again"


def test_a_journal_of_somebody_else_removes_nothing(tmp_path: Path) -> None:
    """A downloaded folder may hold what looks like the remains of a killed conversion."""
    (tmp_path / "thesis.tex").write_text("precious")
    (tmp_path / "m-notes.txt").write_text("precious, too")
    stale = tmp_path / ".m.pt.abcdefgh.wtmp"
    stale.mkdir()
    (stale / "journal.json").write_text(
        '{"main": "m.pt", "parts": [], "old": ["thesis.tex", "../thesis.tex", "m-notes.txt"]}'
    )
    convert(weights(1), tmp_path / "m.pt")
    assert not stale.exists()
    assert (tmp_path / "thesis.tex").exists() and (tmp_path / "m-notes.txt").exists()
