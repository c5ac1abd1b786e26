"""Measure a command as a whole process: CPU, wall time, peak memory; medians of several runs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

WTOOLS = (sys.executable, "-m", "wtools")


@dataclass(frozen=True)
class Cost:
    """Medians of one command: seconds of CPU and of wall time, peak resident bytes."""

    cpu: float
    wall: float
    peak: int


def cost(command: Sequence[str], runs: int = 5) -> Cost:
    """The cost of `command`, after one run that warms the caches. Raises where it fails."""
    once(command)
    costs = [once(command) for _ in range(runs)]
    return Cost(
        statistics.median(c.cpu for c in costs),
        statistics.median(c.wall for c in costs),
        max(c.peak for c in costs),
    )


def once(command: Sequence[str]) -> Cost:
    """One run, by the kernel's own account of the finished child."""
    began = time.perf_counter()
    # a launcher of its own: a child that is forked from a large process inherits its peak
    launcher = [sys.executable, "-S", "-c", _LAUNCH, *command]
    done = subprocess.run(launcher, capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr}")
    cpu, inner, peak = map(float, done.stdout.split())
    return Cost(cpu, min(inner, wall), int(peak))


_LAUNCH = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
    file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(child, 0)
print(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def imports(*modules: str) -> Cost:
    """What a bare interpreter pays for importing these."""
    return cost([sys.executable, "-c", f"import {', '.join(modules)}"])


def machine() -> str:
    """One line that names the machine."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
        model = names[0] if names else model
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    version = sys.version.split()[0]
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {version}, {sys.platform}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all but the first column to the right."""
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
