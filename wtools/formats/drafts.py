"""Drafts: what a writer makes of a tree before a byte is written. See the package docstring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .. import dtypes
from ..outputs import Output
from ..tree import WeightTree, tie_key


@dataclass(frozen=True)
class Draft:
    """An output planned from headers alone.

    name: the main file's name (`model.safetensors.index.json` for a set of shards).
    write: writes the files of an Output. It runs once, and only if there are no problems.
    stored: tensor name -> its name in the file, where that is another.
    found: tensor name -> the name that a reader of the file gives it, where that is another.
    aliases: tensor name -> the name of the tied tensor that is written for it.
    lost: what the tree has and the file will not have, one sentence each.
    problems: why it cannot be written, one sentence each, with a way out.
    partial: will the file have other tensors, too (those of a template)?
    rivals, companions: see `outputs.staged`.
    """

    name: str
    write: Callable[[Output], None]
    stored: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    partial: bool = False
    rivals: tuple[str, ...] = ()
    companions: str = ""


def aliases(tree: WeightTree) -> dict[str, str]:
    """Each tensor tied to an earlier one -> the name of the first of them."""
    first: dict[object, str] = {}
    found = {}
    for tensor in tree.values():
        kept = first.setdefault(tie_key(tensor), tensor.name)
        if kept != tensor.name:
            found[tensor.name] = kept
    return found


def unsupported(tree: WeightTree, format: str, holds: frozenset[str]) -> list[str]:
    """A problem for each dtype that the format cannot hold, with a way out."""
    names: dict[str, list[str]] = {}
    for tensor in tree.values():
        if tensor.dtype not in holds:
            names.setdefault(tensor.dtype, []).append(tensor.name)
    problems = []
    for dtype, tensors in names.items():
        who = repr(tensors[0]) if len(tensors) == 1 else f"{len(tensors)} tensors ({tensors[0]}...)"
        wider = widened(dtype, holds)
        ways = [f"--dtype {dtype}={wider} keeps every value"] if wider else []
        ways += [f"--to {' or '.join(others)} holds it"] if (others := _holders(dtype)) else []
        ways = ways or ["--exclude leaves them out"]
        problems.append(f"{format} holds no {dtype}, the dtype of {who}: {', '.join(ways)}")
    return problems


def _holders(dtype: str) -> list[str]:
    """The formats that can be written and hold the dtype."""
    from . import formats, writer

    writers = {format.NAME: writer(format.NAME) for format in formats()}
    return [name for name, found in writers.items() if found and dtype in found.HOLDS]


# Significant bits and the exponent's range (of 2**e) that a value of the type can have.
_FLOATS = {
    "float4_e2m1fn": (2, -1, 2),
    "float6_e2m3fn": (4, -3, 2),
    "float6_e3m2fn": (3, -4, 4),
    "float8_e4m3fn": (4, -9, 8),
    "float8_e4m3fnuz": (4, -10, 7),
    "float8_e5m2": (3, -16, 15),
    "float8_e5m2fnuz": (3, -17, 15),
    "float8_e8m0fnu": (1, -127, 127),
    "float16": (11, -24, 15),
    "bfloat16": (8, -133, 127),
    "float32": (24, -149, 127),
    "float64": (53, -1074, 1023),
}


def exact(source: str, target: str) -> bool:
    """Does every value of one dtype exist in the other?"""
    if source == target:
        return True
    one, other = dtypes.get(source), dtypes.get(target)
    if one.kind == "complex" or other.kind == "complex":
        return one.kind == other.kind and one.bits <= other.bits
    if one.kind == "float" and other.kind == "float":
        (bits, low, high), (more, lower, higher) = _FLOATS[source], _FLOATS[target]
        return bits <= more and lower <= low and high <= higher
    if one.kind == "float" or other.kind in ("float", "bool"):
        return False
    if one.kind == "bool":
        return True
    if one.kind == other.kind:
        return one.bits <= other.bits
    return one.kind == "uint" and one.bits < other.bits


def widened(dtype: str, holds: frozenset[str]) -> str | None:
    """The narrowest dtype of `holds` that has every value of `dtype`."""
    fitting = [d for d in dtypes.DTYPES.values() if d.name in holds and exact(dtype, d.name)]
    return min(fitting, key=lambda d: d.bits).name if fitting else None
