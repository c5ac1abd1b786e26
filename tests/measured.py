"""What opening a file costs, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# `peak()`: the most memory that this process has had, in bytes. Not ru_maxrss, which a child
# inherits from the process that forked it.
PEAK = """
def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) << 10
"""

MEASURE = f"""
import resource, sys, wtools.formats.safetensors.reader
from wtools import errors, formats
{PEAK}
before = peak()
try:
    formats.open(sys.argv[1])
    print("opened", end=" ")
except errors.WtoolsError as error:
    print(error.code, end=" ")
print(peak() - before, int(1000 * sum(resource.getrusage(resource.RUSAGE_SELF)[:2])))
"""


def measure(path: Path) -> tuple[str, int, int]:
    """How opening a file in a process of its own goes: (outcome, bytes taken, CPU milliseconds).

    outcome: "opened" or the error's code. bytes taken: beyond those of the resting process.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    outcome, taken, spent = done.stdout.split()
    return outcome, int(taken), int(spent)


COMMAND = f"""
import sys
from wtools.cli import run
{PEAK}
code = run(sys.argv[1:])
sys.stdout.flush()
print(peak(), file=sys.stderr)
sys.exit(code)
"""


def peak_of(*arguments: object) -> int:
    """The peak memory of a `wtools` command in a process of its own, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return int(done.stderr.splitlines()[-1])
