"""How a Keras config says what a layer is called with: `inbound_nodes`, in both of its forms.

Keras 2 lists `["dense", 0, 0, {"training": false}]` for each tensor of a call, Keras 3 the
positional and keyword arguments with `{"class_name": "__keras_tensor__"}` in place of tensors
(keras/src/models/functional.py: `serialize_node`, `deserialize_node`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_CONSTANT = 1 << 20  # elements of an array written out in a config


@dataclass(frozen=True)
class Name:
    """A tensor by the layer that makes it: its name, which of its calls, which output."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Arguments:
    """What one call is given; tensors are `Name`s."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def calls(inbound: Any) -> list[Arguments]:
    """The calls of a layer. Raises ValueError where `inbound_nodes` is nothing of the kind."""
    if not isinstance(inbound, (list, tuple)):
        raise ValueError("inbound_nodes is no list")
    return [_keras3(call) if isinstance(call, Mapping) else _keras2(call) for call in inbound]


def _keras3(call: Mapping[str, Any]) -> Arguments:
    args, kwargs = call.get("args", []), call.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, Mapping):
        raise ValueError("inbound_nodes has a call without args")
    return Arguments(
        tuple(map(plain, args)), {str(key): plain(value) for key, value in kwargs.items()}
    )


def plain(value: Any) -> Any:
    """What Keras 3 wrote as JSON, as Python has it. Raises ValueError for what it cannot be."""
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__" and isinstance(config, Mapping):
        return leaf(config.get("keras_history"))
    if kind == "__tuple__":
        return tuple(plain(inner) for inner in value.get("items", []))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("__numpy__", "__tensor__") and isinstance(config, Mapping):
        return _array(config)
    if kind in ("slice", "__slice__") and isinstance(config, Mapping):
        return slice(*(plain(config.get(end)) for end in ("start", "stop", "step")))
    return {key: plain(inner) for key, inner in value.items()}


def _array(config: Mapping[str, Any]) -> Any:
    dtype = str(config.get("dtype", "float32"))
    array = np.array(config.get("value"), dtype)
    if array.size > MAX_CONSTANT or array.dtype.kind not in "biuf":
        raise ValueError(f"a constant of {array.size} {array.dtype}")
    return array


def leaf(history: Any) -> Name:
    """["dense", 0, 0] as a Name. Raises ValueError."""
    if not is_leaf(history):
        raise ValueError(f"{history!r} names no tensor")
    return Name(history[0], history[1], history[2])


def is_leaf(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(type(number) is int for number in value[1:3])
    )


def _keras2(call: Any) -> Arguments:
    """A list of tensors, each with the keyword arguments of the call; or nested ones."""
    kwargs: dict[str, Any] = {}
    if is_leaf(call):
        call = [call]
    given = _tensors(call, kwargs)
    only = isinstance(given, list) and len(given) == 1
    named = {key: _named(value) for key, value in kwargs.items() if key != "name"}
    return Arguments((given[0] if only else given,), named)


def _tensors(value: Any, kwargs: dict[str, Any]) -> Any:
    if isinstance(value, (list, tuple)) and value and value[0] == "_CONSTANT_VALUE":
        if len(value) > 3 and isinstance(value[3], Mapping):
            kwargs.update(value[3])
        return value[2]
    if is_leaf(value):
        if len(value) == 4 and isinstance(value[3], Mapping):
            kwargs.update(value[3])
        return leaf(value)
    if isinstance(value, Mapping):
        return {key: _tensors(inner, kwargs) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tensors(inner, kwargs) for inner in value]
    raise ValueError(f"{value!r} in inbound_nodes names no tensor")


def _named(value: Any) -> Any:
    """A keyword argument of Keras 2: ["mask", 0, 0] in it is a tensor."""
    if is_leaf(value):
        return leaf(value)
    if isinstance(value, (list, tuple)):
        if len(value) == 3 and value[0] == "_CONSTANT_VALUE":
            return value[2]
        return [_named(inner) for inner in value]
    if isinstance(value, Mapping) and "class_name" in value:
        return plain(value)
    if isinstance(value, Mapping):
        return {key: _named(inner) for key, inner in value.items()}
    return value


def names(value: Any) -> Iterator[Name]:
    """The Names in a nested structure."""
    if isinstance(value, Name):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from names(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from names(inner)


def replaced(value: Any, found: Mapping[Name, Any]) -> Any:
    """`value` with what `found` has in place of its Names. Raises KeyError for a missing one."""
    if isinstance(value, Name):
        return found[value]
    if isinstance(value, Mapping):
        return {key: replaced(inner, found) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(inner, found) for inner in value)
    return value


def renumbered(value: Any, first: Mapping[str, int]) -> Any:
    """`value`, calls of these layers counted from 0 where they were from `first`."""
    if isinstance(value, Name):
        return Name(value.layer, value.call - first.get(value.layer, 0), value.output)
    if isinstance(value, Mapping):
        return {key: renumbered(inner, first) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(renumbered(inner, first) for inner in value)
    return value


def ends(value: Any) -> Any:
    """`input_layers` or `output_layers`: leaves as Names, in the structure they are written in."""
    if is_leaf(value):
        return leaf(value)
    if isinstance(value, Mapping):
        return {key: ends(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [ends(inner) for inner in value]
    raise ValueError(f"{value!r} names no tensor")
