"""Known architectures as data: which layer is which in Keras and in torch, and what differs.

A rule file is JSON:

    name, keras, torch     what it is for, in words
    layers                 [Keras path, torch path]; {b:1} is a number counted from 1, and stands on
                           both sides for the same; the first line that fits holds
    sequences              {"keras": "conv2d", "torch": [paths]}: layers that Keras only numbers
                           (conv2d, conv2d_1, ...), in the order of their numbers
    absent                 {"torch": [globs]}: layers that the other side does not have
    changes                {"torch": [...], "keras": [...]}: what a module of that side needs for
                           outputs equal to the other's: {"module": glob, "attribute", "value",
                           "why"}, see `wtools.conversion.changes`

Each line is read in both directions. A rule counts only where it names nearly all layers of both
models and kinds and sizes agree; heads of other sizes are left to inference.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import Any

from ..ordering import Side

_ENOUGH = 0.9  # share of a model's layers that a rule file must name
_PLACE = re.compile(r"\{(\w+):(\d+)\}")


@dataclass(frozen=True)
class Architecture:
    """One rule file."""

    name: str
    keras: str
    torch: str
    layers: Sequence[tuple[str, str]]
    sequences: Sequence[Mapping[str, Any]]
    absent: Mapping[str, Sequence[str]]
    changes: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Applied:
    """A rule file for two models: pairs of their items, and the items that need no partner."""

    architecture: Architecture
    pairs: Sequence[tuple[int, int]]
    absent: tuple[frozenset[int], frozenset[int]]


@cache
def architectures() -> tuple[Architecture, ...]:
    """All rule files, by name."""
    files = sorted(
        (f for f in resources.files(__name__).iterdir() if f.name.endswith(".json")),
        key=lambda f: f.name,
    )
    return tuple(_read(json.loads(f.read_text("utf-8"))) for f in files)


def _read(known: Mapping[str, Any]) -> Architecture:
    return Architecture(
        known["name"],
        known["keras"],
        known["torch"],
        [(one, other.replace(".", "/")) for one, other in known.get("layers", ())],
        known.get("sequences", ()),
        known.get("absent", {}),
        known.get("changes", {}),
    )


def apply(one: Side, other: Side, sides: tuple[str, str]) -> Applied | None:
    """The rule file that names the layers of both; sides: "keras" or "torch" for each."""
    if set(sides) != {"keras", "torch"}:
        return None
    turned = sides[0] == "torch"
    keras, torch = (other, one) if turned else (one, other)
    for known in architectures():
        pairs = _pairs(known, keras, torch)
        gone = [_absent(known, side, name) for side, name in ((keras, "keras"), (torch, "torch"))]
        least = min(len(keras) - len(gone[0]), len(torch) - len(gone[1]))
        if least > 0 and len(pairs) >= _ENOUGH * least:
            if turned:
                return Applied(known, [(t, k) for k, t in pairs], (gone[1], gone[0]))
            return Applied(known, pairs, (gone[0], gone[1]))
    return None


def _absent(known: Architecture, side: Side, name: str) -> frozenset[int]:
    globs = [glob.replace(".", "/") for glob in known.absent.get(name, ())]
    return frozenset(
        i
        for i, item in enumerate(side.items)
        if any(fnmatch.fnmatchcase(item.path, glob) for glob in globs)
    )


def _pairs(known: Architecture, keras: Side, torch: Side) -> list[tuple[int, int]]:
    """(Keras item, torch item) as the rules say, where kinds and sizes agree."""
    places = {item.path: i for i, item in enumerate(torch.items)}
    named: list[tuple[int, str]] = []
    for i, item in enumerate(keras.items):
        path = translated(item.path, known.layers)
        if path is not None:
            named.append((i, path))
    for sequence in known.sequences:
        numbered = _numbered(keras, sequence["keras"])
        paths = [path.replace(".", "/") for path in sequence["torch"]]
        if len(numbered) == len(paths):
            named += zip(numbered, paths, strict=True)
    return [
        (i, places[path])
        for i, path in named
        if path in places and torch.items[places[path]].signature == keras.items[i].signature
    ]


def _numbered(side: Side, base: str) -> list[int]:
    """The items called `base` and `base_<number>`, in the order of their numbers."""
    found = []
    for i, item in enumerate(side.items):
        match = re.fullmatch(rf"{re.escape(base)}(?:_(\d{{1,9}}))?", item.path)
        if match:
            found.append((int(match[1]) if match[1] else -1, i))
    return [i for _, i in sorted(found)]


def translated(
    path: str, layers: Iterable[tuple[str, str]], *, backwards: bool = False
) -> str | None:
    """The other side's path for one side's, by the first line that fits; None where none does."""
    for keras, torch in layers:
        here, there = (torch, keras) if backwards else (keras, torch)
        match = _pattern(here).fullmatch(path)
        if match is None:
            continue
        bases = {name: int(base) for name, base in _PLACE.findall(here)}
        numbers = {name: int(match[name]) - base for name, base in bases.items()}
        if all(number >= 0 for number in numbers.values()):
            return _PLACE.sub(partial(_counted, numbers), there)
    return None


def _counted(numbers: Mapping[str, int], place: re.Match[str]) -> str:
    return str(numbers[place[1]] + int(place[2]))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    pieces, at = [], 0
    for match in _PLACE.finditer(text):
        pieces += [re.escape(text[at : match.start()]), rf"(?P<{match[1]}>\d{{1,6}})"]
        at = match.end()
    return re.compile("".join([*pieces, re.escape(text[at:])]))
