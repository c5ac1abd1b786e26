"""What is exported, as tables for the documentation."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module

from ..tensorflow_functions import FUNCTIONS
from . import FAMILIES, families
from .activations import NAMES
from .call import LAYERS, OPERATIONS, Function

_OTHER_NAME = re.compile(r".*(Max|Avg)Pool\dD|.*[Cc]onvolution.*|Group(ed)QueryAttention")


def layer_table() -> str:
    """The families of layers, each with its classes."""
    families()
    lines = ["| what | layers |", "| --- | --- |"]
    lines += [f"| {title} | {kinds} |" for title, kinds in _grouped(LAYERS).items()]
    return "\n".join(lines)


def operation_table() -> str:
    """The operations of keras.ops, activations, and TensorFlow's functions."""
    families()
    kinds = ", ".join(f"`{kind}`" for kind in sorted(OPERATIONS))
    activations = ", ".join(f"`{name}`" for name in NAMES)
    functions = ", ".join(f"`{name}`" for name in sorted(FUNCTIONS))
    lines = ["| what | which |", "| --- | --- |", f"| activations | {activations} |"]
    lines += [f"| `keras.ops` | {kinds} |", f"| functions of a `TFOpLambda` | {functions} |"]
    return "\n".join(lines)


def _grouped(table: Mapping[str, Function]) -> dict[str, str]:
    """The first line of each family's module -> its classes."""
    by_module: dict[str, list[str]] = defaultdict(list)
    for kind, function in table.items():
        name = kind.partition(".")[0]  # a wrapper is exported as what comes before and after
        kinds = by_module[function.__module__.rpartition(".")[2]]
        if name not in kinds and not _OTHER_NAME.fullmatch(name):
            kinds.append(name)
    found = {}
    for family in FAMILIES:
        if by_module[family]:
            text = import_module(f".{family}", __package__).__doc__ or family
            title = text.partition(" (")[0].partition(":")[0].partition(".")[0].strip()
            found[title] = ", ".join(f"`{kind}`" for kind in by_module[family])
    return found
