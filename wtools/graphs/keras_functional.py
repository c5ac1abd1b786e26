"""Which layer's outputs another layer of a functional model is called with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptError
from . import keras_calls as written
from .ir import Ref
from .keras_calls import Arguments, Name


@dataclass(frozen=True)
class Wiring:
    """The calls of a model's layers, each by its Name of output 0, counted from 0.

    inputs, outputs: the model's, as Names in the structure of the config. used: a call -> those
    of its outputs that anybody takes.
    """

    calls: Mapping[Name, Arguments]
    inputs: Any
    outputs: Any
    used: Mapping[Name, list[Name]]

    @classmethod
    def of(
        cls, config: Mapping[str, Any], entries: Mapping[str, Any], functional: set[str]
    ) -> Wiring:
        """From a config, its entries by name; `functional`: those that are functional models."""
        calls = {name: _calls(entry, name) for name, entry in entries.items()}
        ends = ends_of(config, "output_layers")
        calls, ends = _from_zero(calls, ends, functional, _form(entries.values()))
        used: dict[Name, list[Name]] = defaultdict(list)
        for one in _uses(calls, ends):
            used[Name(one.layer, one.call, 0)].append(one)
        listed = {Name(n, i, 0): a for n, made in calls.items() for i, a in enumerate(made)}
        return cls(listed, ends_of(config, "input_layers"), ends, used)

    def order(self) -> Iterator[Name]:
        """The calls, each after those it needs. Raises CorruptError where that is impossible."""
        given = {Name(name.layer, name.call, 0) for name in written.names(self.inputs)}
        return _order(self.calls, given)

    def arguments(self, key: Name, found: Mapping[Name, Any]) -> Arguments:
        """What the call is given, of what was `found` so far."""
        wanted = self.calls[key]
        try:
            return Arguments(
                written.replaced(wanted.args, found), written.replaced(wanted.kwargs, found)
            )
        except KeyError as error:
            raise CorruptError(
                f"layer {key.layer!r} is called with {error.args[0]}, which is not there"
            ) from None

    def made(self, key: Name, result: Any) -> dict[Name, Any]:
        """The outputs of a call, of a layer (the further ones follow the first) or a model."""
        if isinstance(result, Ref):
            outputs = self.used.get(key, [])
            return {one: Ref(result.node, result.output + one.output) for one in outputs}
        return {Name(key.layer, key.call, i): ref for i, ref in enumerate(flat(result))}

    def result(self, found: Mapping[Name, Any]) -> Any:
        """What the model returns; a list of one is that one."""
        try:
            made = written.replaced(self.outputs, found)
        except KeyError as error:
            raise CorruptError(f"the model's output {error.args[0]} is made by no layer") from None
        return made[0] if isinstance(made, list) and len(made) == 1 else made


def ends_of(config: Mapping[str, Any], key: str) -> Any:
    try:
        return written.ends(config.get(key))
    except ValueError as error:
        raise CorruptError(f"{key}: {error}") from None


def _calls(entry: Any, name: str) -> list[Arguments]:
    try:
        return written.calls(entry.get("inbound_nodes", []))
    except (ValueError, TypeError) as error:
        raise CorruptError(f"layer {name!r}: {error}") from None


def _form(entries: Iterable[Any]) -> int:
    """Which Keras wrote `inbound_nodes` so: 3, or 2 and 1."""
    inbound = (entry.get("inbound_nodes") for entry in entries)
    return 3 if any(isinstance(call, Mapping) for made in inbound for call in made or ()) else 2


def _from_zero(
    calls: Mapping[str, list[Arguments]], ends: Any, functional: set[str], form: int
) -> tuple[dict[str, list[Arguments]], Any]:
    """(calls, outputs) with every layer's calls counted from 0.

    Functional models count the call that made them: in Keras 3 among the model's outputs only, in
    Keras 2 everywhere, and so do Sequential models that knew their input's shape. There, since
    every call that is kept is used, the smallest number in use is the first call's.
    """
    if form == 3:
        return dict(calls), written.renumbered(ends, dict.fromkeys(functional, 1))
    first: dict[str, int] = {}
    for one in _uses(calls, ends):
        first[one.layer] = min(first.get(one.layer, one.call), one.call)
    counted = {
        name: [
            Arguments(written.renumbered(a.args, first), written.renumbered(a.kwargs, first))
            for a in made
        ]
        for name, made in calls.items()
    }
    return counted, written.renumbered(ends, first)


def _uses(calls: Mapping[str, list[Arguments]], *ends: Any) -> list[Name]:
    """Every tensor that a call takes or that is an end of the model, once."""
    every = [c for made in calls.values() for a in made for c in (a.args, a.kwargs)]
    return list(dict.fromkeys(written.names([*every, *ends])))


def bound(ends: Any, given: Any) -> dict[Name, Any]:
    """The model's inputs as names -> what it is called with."""
    if isinstance(ends, Mapping) and isinstance(given, Mapping):
        if ends.keys() - given.keys():
            raise CorruptError(f"inputs {sorted(ends.keys() - given.keys())} are missing")
        return {name: given[key] for key, end in ends.items() for name in written.names(end)}
    wanted, found = list(written.names(ends)), list(flat(given))
    if len(wanted) != len(found):
        raise CorruptError(f"a model of {len(wanted)} inputs is called with {len(found)}")
    return dict(zip(wanted, found, strict=True))


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from flat(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from flat(inner)


def _order(calls: Mapping[Name, Arguments], done: set[Name]) -> Iterator[Name]:
    """The calls, each after those it needs. Raises CorruptError where that is impossible."""
    waits: dict[Name, set[Name]] = {}
    users: dict[Name, list[Name]] = defaultdict(list)
    for key, arguments in calls.items():
        if key in done:
            continue
        used = written.names([arguments.args, arguments.kwargs])
        needs = {Name(name.layer, name.call, 0) for name in used} - done
        waits[key] = needs
        for need in needs:
            users[need].append(key)
    ready = [key for key, needs in waits.items() if not needs][::-1]
    left = len(waits)
    while ready:
        key = ready.pop()
        left -= 1
        yield key
        for user in reversed(users[key]):
            waits[user].discard(key)
            if not waits[user]:
                ready.append(user)
    if left:
        stuck = next(key for key, needs in waits.items() if needs)
        raise CorruptError(f"layer {stuck.layer!r} waits for what no layer makes")
