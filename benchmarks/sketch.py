"""Statistics against the machine's limits: `python -m benchmarks statistics`, or this module.

The read limit is NumPy's max on two threads over the same bytes, seen as float32; the peers are
the lines that one would write by hand. All figures of a table come from one run, alternating, and
are medians.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from wtools.sketch import core, sketch
from wtools.tree import Tensor

from .measure import WTOOLS, cost, machine, table

MIB, GIB = 1 << 20, 1 << 30
MEMORY = 1 * GIB  # bytes of each array
ROUNDS = 7
DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "int8")
TARGETS = {  # what the full sketch and the moments alone must reach, as a part of the limit
    "float32": (0.2, 0.5),
    "bfloat16": (0.1, 0.3),
    "float16": (0.1, 0.3),
    "float8_e4m3fn": (None, 0.2),
    "int8": (None, 0.2),
}


def run() -> str:
    """Markdown: arrays in memory, naive lines, whole commands, growth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [_memory(), _naive(), _commands(folder), _growth(folder)]
    return f"The core that ran: `{core()}`.\n\n" + "\n\n".join(parts)


# --- arrays in memory ----------------------------------------------------------------------------


def _memory() -> str:
    arrays = {dtype: weights(dtype, MEMORY) for dtype in DTYPES}
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for dtype, array in arrays.items():
            tensor = Tensor.of(dtype, array)
            tasks: dict[str, Callable[[], Any]] = {
                "limit": lambda array=array: limit(array),
                "full": lambda tensor=tensor: sketch(tensor),
                "moments": lambda tensor=tensor: sketch(tensor, histogram=False),
            }
            for name, task in tasks.items():
                rates.setdefault((dtype, name), []).append(array.nbytes / seconds(task))
    middle = {key: statistics.median(values) for key, values in rates.items()}
    rows = []
    for dtype in DTYPES:
        top = middle[dtype, "limit"]
        row = [dtype, f"{top / 1e9:.1f}"]
        for name, target in zip(("full", "moments"), TARGETS[dtype], strict=True):
            rate = middle[dtype, name]
            aim = "" if target is None else f" (aim {target})"
            row += [f"{rate / 1e9:.1f}", f"{rate / top:.2f}{aim}"]
        rows.append(row)
    header = ["in memory, GB/s", "read limit", "sketch", "of limit", "moments only", "of limit"]
    return table(header, rows)


def weights(dtype: str, nbytes: int) -> np.ndarray:
    """Numbers as a trained model has them: a narrow normal distribution, repeated."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    spread = 30 if kind.kind == "i" else 0.02
    drawn = np.random.default_rng(0).standard_normal(1 << 22, np.float32) * np.float32(spread)
    if kind.kind == "i":
        drawn = np.clip(drawn, -127, 127)
    some = drawn.astype(kind)
    return np.tile(some, max(1, nbytes // some.nbytes))


def limit(array: np.ndarray) -> None:
    """Read all bytes once, as fast as NumPy can on two threads."""
    words = array.view(np.float32)
    on_two_threads(lambda start, stop: words[start:stop].max(), words.size)


def on_two_threads(task: Callable[[int, int], Any], size: int) -> None:
    halves = [(0, size // 2), (size // 2, size)]
    threads = [threading.Thread(target=task, args=half) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def seconds(task: Callable[[], Any]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


# --- the lines that one would write ---------------------------------------------------------------


def _naive() -> str:
    rows = []
    for dtype in ("float32", "bfloat16"):
        array = weights(dtype, 256 * MIB)
        peers = {"NumPy": lambda array=array: numpy_lines(array)}
        if (torch := _torch()) is not None:
            tensor = torch.from_numpy(array.view(np.uint8)).view(getattr(torch, dtype))
            peers["torch"] = lambda tensor=tensor: torch_lines(tensor)
            if dtype == "bfloat16":
                peers["torch, converted once"] = lambda tensor=tensor: torch_lines_of_one_copy(
                    tensor
                )
        for name, peer in peers.items():
            theirs, ours = [], []
            for _ in range(3):
                theirs.append(seconds(peer))
                ours.append(seconds(lambda array=array: sketch(Tensor.of("t", array))))
            a, b = statistics.median(theirs), statistics.median(ours)
            row = [f"{name}, {dtype}", f"{array.nbytes / a / 1e9:.2f}"]
            rows.append([*row, f"{array.nbytes / b / 1e9:.1f}", f"{a / b:.0f} times"])
    header = ["mean, std, min, max, L1, L2, zeros by hand; GB/s", "by hand", "sketch", "faster"]
    return table(header, rows)


def numpy_lines(array: np.ndarray) -> list[Any]:
    x = array.astype(np.float32) if array.dtype.itemsize < 4 else array
    found = [x.mean(), x.std(), x.min(), x.max(), np.abs(x).sum(), np.linalg.norm(x)]
    return [*found, (x == 0).mean()]


def torch_lines(tensor: Any) -> list[Any]:
    """Each line converts for itself, as it does where it is written for itself."""
    t = tensor
    found = [t.float().mean(), t.float().std(), t.float().min(), t.float().max()]
    return [*found, t.float().abs().sum(), t.float().norm(), (t == 0).float().mean()]


def torch_lines_of_one_copy(tensor: Any) -> list[Any]:
    """The same for somebody who keeps the converted tensor, in twice its memory."""
    x = tensor.float()
    found = [x.mean(), x.std(), x.min(), x.max(), x.abs().sum(), x.norm()]
    return [*found, (x == 0).float().mean()]


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


# --- whole commands -------------------------------------------------------------------------------


def _commands(folder: Path) -> str:
    start = cost([*WTOOLS, "stats", str(model(folder / "tiny.safetensors", "bfloat16", MIB))])
    rows = []
    for dtype in ("bfloat16", "float32", "float8_e4m3fn"):
        path = model(folder / f"{dtype}.safetensors", dtype, 4 * GIB)
        ours = cost([*WTOOLS, "stats", str(path)], runs=3)
        read = statistics.median(seconds(lambda path=path: read_file(path)) for _ in range(5))
        cat = cost(["/bin/cat", str(path)], runs=3)
        by_hand = [
            f"{seconds(lambda path=path, way=way: torch_file(path, way)) / ours.wall:.0f}"
            if _torch() is not None and dtype != "float8_e4m3fn"
            else ""
            for way in (torch_lines, torch_lines_of_one_copy)
        ]
        spent = ours.wall - start.wall
        rows.append(
            [
                f"4 GiB {dtype}",
                f"{ours.wall:.2f}",
                f"{start.wall:.2f}",
                f"{ours.wall / (read + start.wall):.2f}",
                f"{spent / read:.2f}",
                f"{spent / cat.wall:.2f}",
                *by_hand,
                f"{ours.peak / MIB:.0f}",
            ]
        )
        path.unlink()
    header = ["`wtools stats`", "wall s", "start-up s", "all / (reading + start-up)"]
    header += [
        "rest / reading",
        "rest / cat",
        "times torch",
        "times torch, converted once",
        "peak MB",
    ]
    note = (
        "Reading: the cached file once, by positional reads on two threads. Start-up: the same "
        "command on 1 MB; the rest is what is left without it. Aim for bfloat16: 2.5 times reading "
        "and start-up. Torch: the lines above over all tensors of the "
        "file by `safe_open`, without the start of Python and torch; aim for bfloat16: 40 times."
    )
    return f"{table(header, rows)}\n\n{note}"


def torch_file(path: Path, lines: Callable[[Any], list[Any]]) -> None:
    """The lines over every tensor of a safetensors file, one tensor in memory at a time."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            lines(file.get_tensor(name))


def read_file(path: Path) -> None:
    """All bytes of a file into a small buffer, on two threads."""
    size, step = path.stat().st_size, MIB
    fd = os.open(path, os.O_RDONLY)

    def part(start: int, stop: int) -> None:
        buffer = bytearray(step)
        for offset in range(start, stop, step):
            os.preadv(fd, [buffer], offset)

    on_two_threads(part, size)
    os.close(fd)


def model(path: Path, dtype: str, nbytes: int) -> Path:
    """A safetensors file of tensors of up to 32 MiB."""
    import json

    each = min(nbytes, 32 * MIB)
    block = weights(dtype, each).view(np.uint8)[:each].tobytes()
    itemsize = np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
    spelling = {"bfloat16": "BF16", "float32": "F32", "float8_e4m3fn": "F8_E4M3"}[dtype]
    header = {}
    for number in range(nbytes // each):
        offsets = [number * each, (number + 1) * each]
        shape = [each // itemsize // 256, 256]
        name = f"layers.{number}.weight"
        header[name] = {"dtype": spelling, "shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in header:
            file.write(block)
    return path


def _growth(folder: Path) -> str:
    rows = []
    for nbytes in sizes(folder):
        path = model(folder / "growing.safetensors", "bfloat16", nbytes)
        ours = cost([*WTOOLS, "stats", str(path)], runs=3)
        read = statistics.median(seconds(lambda path=path: read_file(path)) for _ in range(3))
        size = f"{nbytes / GIB:g} GiB"
        per = f"{1000 * ours.wall / (nbytes / GIB):.0f}"
        rows.append([size, f"{ours.wall:.2f}", per, f"{read:.2f}", f"{ours.peak / MIB:.0f}"])
        path.unlink()
    header = ["bfloat16 file", "`wtools stats` s", "ms per GiB", "reading s", "peak MB"]
    return table(header, rows)


def sizes(folder: Path) -> Iterator[int]:
    """From 256 MiB to 8 GiB, as far as memory caches and the disk holds them."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    disk = os.statvfs(folder)
    for power in range(6):
        nbytes = 256 * MIB << power
        if nbytes * 1.2 < disk.f_bavail * disk.f_frsize and nbytes < free + 4 * GIB:
            yield nbytes


if __name__ == "__main__":
    sys.stdout.write(f"# Statistics\n\n{machine()}\n\n{run()}\n")
