"""Run the benchmarks and print their tables: `python -m benchmarks [NAME ...] [-o FILE]`.

NAME is a module of this package with a function `run() -> str` (Markdown). Every figure is a ratio
to a peer, or to the machine's limit, measured in the same run.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from .measure import machine

NAMES = {
    "opening": "Opening and starting",
    "sketch": "Statistics",
    "large": "4 GB of every format",
    "convert": "Converting",
    "keras_to_onnx": "Keras models to ONNX",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("-o", "--output", type=Path, help="write the page here as well")
    options = parser.parse_args()
    names = options.names or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark named {', '.join(unknown)}")
    page = f"# Benchmarks\n\nMeasured by `make bench` on {machine()}.\n"
    for name in names:
        section = f"\n## {NAMES[name]}\n\n{import_module(f'.{name}', 'benchmarks').run()}\n"
        sys.stdout.write(section)
        sys.stdout.flush()
        page += section
    if options.output:
        options.output.write_text(page)


if __name__ == "__main__":
    main()
