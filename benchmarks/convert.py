"""What it costs to convert: 4 GB between .pt and safetensors against `cp` and against torch.

All of it on cached files, each target new; wtools reads its output back, compares every bit and
syncs it to the disk, `cp` and the libraries do not.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .measure import WTOOLS, Cost, once, table

MIB, GB = 1 << 20, 10**9
SIZE = 4 * GB
SPARSE = 20 * GB
RUNS = 3
CONVERT = (*WTOOLS, "convert", "--quiet", "--json")
_MAKE = """
import sys, torch
path, size = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
block = torch.randn(2500, 4000)
state = {f"layers.{i}.weight": block + i for i in range(size // block.nbytes)}
state |= {f"layers.{i}.bias": torch.randn(4000) for i in range(200)}
torch.save(state, path)
"""
_TORCH = {
    "to safetensors": """
import sys, torch
from safetensors.torch import save_file
save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])
""",
    "to .pt": """
import sys, torch
from safetensors.torch import load_file
torch.save(load_file(sys.argv[1]), sys.argv[2])
""",
    "to safetensors, bfloat16": """
import sys, torch
from safetensors.torch import save_file
state = torch.load(sys.argv[1], weights_only=True)
save_file({name: value.to(torch.bfloat16) for name, value in state.items()}, sys.argv[2])
""",
}


def run() -> str:
    """Markdown: conversions as ratios to cp and to the libraries, and their peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return f"{_speed(folder)}\n\n{_sparse(folder)}"


def _speed(folder: Path) -> str:
    pt, st = folder / "model.pt", folder / "model.safetensors"
    once([sys.executable, "-c", _MAKE, str(pt), str(SIZE)])
    once([*CONVERT, str(pt), str(st)])
    rows = [
        _row("to safetensors", pt, folder / "out.safetensors", []),
        _row("to .pt", st, folder / "out.pt", []),
        _row("to safetensors, bfloat16", pt, folder / "out.safetensors", ["--dtype", "bfloat16"]),
    ]
    header = ["4 GB, float32", "seconds", "speed / cp", "/ cp and sync", "/ torch"]
    header += ["CPU: cp / wtools", "peak MB"]
    return table(header, rows)


def _row(what: str, source: Path, target: Path, options: Sequence[str]) -> list[str]:
    """Rounds of all in turn, so that a slow moment of the machine meets each alike."""
    commands = {
        "wtools": [*CONVERT, str(source), str(target), *options],
        "cp": ["/bin/cp", str(source), str(target)],
        "sync": ["/bin/sh", "-c", f"cp '{source}' '{target}' && sync '{target}'"],
        "torch": [sys.executable, "-c", _TORCH[what], str(source), str(target)],
    }
    spent: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(RUNS + 1):
        for name, command in commands.items():
            target.unlink(missing_ok=True)
            spent[name].append(once(command))
    target.unlink()
    wall = {name: statistics.median(c.wall for c in costs[1:]) for name, costs in spent.items()}
    cpu = {name: statistics.median(c.cpu for c in costs[1:]) for name, costs in spent.items()}
    peak = max(cost.peak for cost in spent["wtools"])
    ratios = [f"{wall[name] / wall['wtools']:.2f}" for name in ("cp", "sync", "torch")]
    ratios.append(f"{cpu['cp'] / cpu['wtools']:.2f}")
    return [what, f"{wall['wtools']:.2f}", *ratios, f"{peak / MIB:.0f}"]


def _sparse(folder: Path) -> str:
    source = folder / "sparse.safetensors"
    count = SPARSE // 10 // 4
    tensors = {
        f"w{i}": {
            "dtype": "F32",
            "shape": [count],
            "data_offsets": [4 * count * i, 4 * count * (i + 1)],
        }
        for i in range(10)
    }
    header = json.dumps(tensors).encode()
    header += b" " * (-len(header) % 8)
    with open(source, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + SPARSE)
    rows = []
    for name, options in (("out.pt", []), ("out.onnx", []), ("out.h5", [])):
        target = folder / name
        spent = once([*CONVERT, str(source), str(target), *options])
        used = sum(p.stat().st_blocks * 512 for p in folder.glob("out.*"))
        rows.append(
            [
                f"to {target.suffix}",
                f"{spent.wall:.1f}",
                f"{spent.peak / MIB:.0f}",
                f"{used / MIB:.0f}",
            ]
        )
        for path in folder.glob("out.*"):
            path.unlink()
    return table(["20 GB of zeros, sparse", "seconds", "peak MB", "MB of disk used"], rows)
