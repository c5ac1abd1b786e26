"""`wtools report --json` on files named one a line, in this process: exit code and bytes read.

Each file is run twice, so that what Python reads to import the program is not counted.
"""

from __future__ import annotations

import contextlib
import os
import sys

from wtools.cli import run


def read_so_far() -> int:
    """Bytes that this process asked the system to read. (A mapped file's are not among them.)"""
    with open("/proc/self/io") as io:
        return int(io.readline().split()[1])


def measure(path: str) -> tuple[int, int]:
    before = read_so_far()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = run(["report", path, "--json"])
    return code, read_so_far() - before


if __name__ == "__main__":
    paths = sys.stdin.read().splitlines()
    for path in paths:
        measure(path)
        code, nbytes = measure(path)
        print(code, nbytes, flush=True)
