"""Where in a checkpoint the model's weights sit, and what else holds tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import NameNotFoundError
from .structure import (
    DEEPEST,
    Structure,
    children,
    is_module,
    is_optimizer,
    is_script,
    leaf,
)
from .values import Object, TensorValue

# The usual names of the weights in a training checkpoint, the likeliest first.
_USUAL = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "model_weights",
    "params",
    "parameters",
    "generator",
)
# What stands beside the weights and is no part of the model.
_BESIDE = re.compile(r"optim|sched|scaler|ema|rng|swa|average|teacher|loops|callbacks|grad", re.I)


@dataclass(frozen=True)
class Part:
    """One set of tensors: `value` at the key path `path`, without the containers `without`.

    merged: several sets taken together, because nothing says that only one is the model.
    """

    path: tuple[str, ...]
    value: Any
    without: frozenset[int] = frozenset()
    optimizer: bool = False
    merged: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True)
class Parts:
    """The weights and everything else, each under the name that `root=` takes."""

    weights: Part
    apart: dict[str, Part]


def find(structure: Structure, root: str | None, path: str) -> Parts:
    """The weights (at `root`, if given) and the other sets of tensors.

    Raises NameNotFoundError when nothing with tensors is at `root`.
    """
    whole = Part((), structure.value)
    if root is None:
        return _parts(structure, whole)
    apart = _parts(structure, whole).apart
    if root in apart:
        return Parts(apart[root], {})
    part = _at(structure, root)
    if part is None:
        names = [*apart, *_key_paths(structure)]
        raise NameNotFoundError(root, names, path=path, what="set of tensors")
    return _parts(structure, part)


def _parts(structure: Structure, whole: Part) -> Parts:
    weights = _choose(structure, whole, 0)
    others = [
        part
        for part in _collect(structure, whole, 0)
        if part.value is not weights.value and not _inside(part, weights)
    ]
    optimizers = [part for part in others if part.optimizer]
    apart: dict[str, Part] = {}
    for part in others:
        name = "optimizer" if optimizers == [part] else part.name or "other"
        apart.setdefault(name, part)
    return Parts(weights, apart)


def _inside(part: Part, weights: Part) -> bool:
    """Is `part` one of those that were taken together as the weights?"""
    at = len(weights.path)
    if not weights.merged or part.optimizer or part.path[:at] != weights.path:
        return False
    beside = {key for key, child in children(weights.value) if id(child) in weights.without}
    return len(part.path) > at and part.path[at] not in beside


def _choose(structure: Structure, part: Part, depth: int) -> Part:
    """The weights inside `part`; itself if it is no checkpoint around them."""
    if depth > DEEPEST or not _is_around(structure, part.value):
        return part
    groups = list(_groups(structure, part))
    by_key = {group.path[-1].lower(): group for group in reversed(groups)}
    usual = [by_key[key] for key in _USUAL if key in by_key and not by_key[key].optimizer]
    if usual:
        return _choose(structure, usual[0], depth + 1)
    models = [group for group in groups if not group.optimizer]
    ordinary = [group for group in models if not _BESIDE.search(group.path[-1])] or models
    if len(ordinary) == 1:
        return _choose(structure, ordinary[0], depth + 1)
    beside = {id(group.value) for group in groups if group not in ordinary}
    beside |= {id(below.value) for below in _collect(structure, part, depth) if below.optimizer}
    return Part(part.path, part.value, frozenset(beside), merged=True)


def _collect(structure: Structure, part: Part, depth: int) -> Iterator[Part]:
    """All sets of tensors below `part`, each once."""
    if depth > DEEPEST or not structure.holds(part.value):
        return
    if not _is_around(structure, part.value):
        yield part
        return
    if any(_is_tensor(child) for _, child in children(part.value)):
        groups = frozenset(id(group.value) for group in _groups(structure, part))
        yield Part((*part.path, "other"), part.value, groups)
    for group in _groups(structure, part):
        yield from _collect(structure, group, depth + 1)


def _groups(structure: Structure, part: Part) -> Iterator[Part]:
    """The containers directly inside `part` that hold tensors, each once."""
    seen = set()
    for key, child in children(part.value):
        if structure.holds(child) and id(child) not in seen and not _is_tensor(child):
            seen.add(id(child))
            yield Part((*part.path, key), child, optimizer=is_optimizer(child))


def _is_around(structure: Structure, value: Any) -> bool:
    """Is it a container around sets of tensors, rather than one of them?"""
    if is_module(value) or is_script(value) or is_optimizer(value):
        return False
    if not isinstance(value, dict | list | tuple | Object):
        return False
    groups = [(k, v) for k, v in children(value) if structure.holds(v) and not _is_tensor(v)]
    if any(_is_tensor(child) for _, child in children(value)):
        return any(key.lower() in _USUAL or is_optimizer(child) for key, child in groups)
    return bool(groups)


def _is_tensor(value: Any) -> bool:
    """Is it a tensor, or a subclass that wraps some?"""
    return isinstance(value, TensorValue) or leaf(value) is not None


def _at(structure: Structure, root: str) -> Part | None:
    """What stands at the key path `root` (keys may have dots themselves), if it holds tensors."""
    pending = [Part((), structure.value)]
    while pending:
        part = pending.pop()
        rest = root[len(part.name) + 1 :] if part.path else root
        for key, child in children(part.value):
            if key == rest and (structure.holds(child) or leaf(child) is not None):
                return Part((*part.path, key), child, optimizer=is_optimizer(child))
            if key and rest.startswith(key + ".") and structure.holds(child):
                pending.append(Part((*part.path, key), child))
    return None


def _key_paths(structure: Structure) -> list[str]:
    """Key paths near the root, to suggest."""
    first = list(_groups(structure, Part((), structure.value)))
    second = [below for group in first[:20] for below in _groups(structure, group)]
    return [part.name for part in (*first, *second)][:500]
