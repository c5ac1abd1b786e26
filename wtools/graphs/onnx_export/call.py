"""One call of a layer being exported: its options, its weights, what it is given.

A layer family is a module with functions decorated by `layer("Dense", ...)`; each takes a Call
and returns the Value, or the Values, that the layer makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import UnsupportedError
from ...tree import Tensor
from ..ir import Layer
from .builder import Builder, Value

Result = Value | tuple[Value, ...]
Function = Callable[["Call"], Result]

LAYERS: dict[str, Function] = {}
OPERATIONS: dict[str, Function] = {}  # keras.ops, whose classes may be called like layers
MASKING: set[str] = set()  # layers whose output has the mask of their input


def layer(*kinds: str, masks: bool = False) -> Callable[[Function], Function]:
    """Registers a function for layers of these classes; `masks`: they pass a mask on."""

    def register(function: Function) -> Function:
        LAYERS.update(dict.fromkeys(kinds, function))
        if masks:
            MASKING.update(kinds)
        return function

    return register


def operation(*kinds: str) -> Callable[[Function], Function]:
    """Registers a function for operations (keras.ops, TensorFlow's in Keras 2)."""

    def register(function: Function) -> Function:
        OPERATIONS.update(dict.fromkeys(kinds, function))
        return function

    return register


@dataclass(frozen=True)
class Call:
    """builder, the layer, and the arguments, tensors among them as Values."""

    b: Builder
    layer: Layer
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    version: int = 3
    seen: set[str] = field(default_factory=set)  # the tensors that were asked for

    # --- options --------------------------------------------------------------------------------

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the layer; `default` where the config has none."""
        value = self.layer.config.get(name, default)
        return default if value is None else value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.option(name, default)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.unsupported(f"{name}={value!r}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self.option(name, default)
        if isinstance(value, Mapping) and "class_name" in value:  # a scalar as Keras writes arrays
            config = value.get("config")
            value = config.get("value") if isinstance(config, Mapping) else config
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.unsupported(f"{name}={value!r}")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.option(name, default)
        if not isinstance(value, bool):
            raise self.unsupported(f"{name}={value!r}")
        return value

    def text(self, name: str, default: str = "") -> str:
        value = self.option(name, default)
        if not isinstance(value, str):
            raise self.unsupported(f"{name}={value!r}")
        return value

    def integers(self, name: str, count: int, default: int | None = None) -> list[int]:
        """A number for each of `count` axes; one number stands for all."""
        value = self.option(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return [value] * count
        listed = isinstance(value, (list, tuple)) and len(value) == count
        if listed and all(type(n) is int for n in value):
            return list(value)
        raise self.unsupported(f"{name}={value!r}")

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for what cannot be exported, the layer named."""
        return UnsupportedError(
            f"{self.layer.kind} with {what} cannot be a node of the ONNX graph",
            place=f"layer {self.layer.path!r}",
            advice="--weights-only writes the tensors without a graph.",
        )

    # --- weights --------------------------------------------------------------------------------

    def optional(self, role: str) -> Tensor | None:
        """The weight of that role, or None."""
        return self.layer.weights.get(role)

    def weight(self, *roles: str) -> Tensor:
        """The weight that has one of these roles. Raises UnsupportedError where none has."""
        for role in roles:
            if role in self.layer.weights:
                return self.layer.weights[role]
        found = ", ".join(self.layer.weights) or "no weights"
        raise UnsupportedError(
            f"{self.layer.kind} needs a {roles[0]}, and the file has {found}",
            place=f"layer {self.layer.path!r}",
        )

    def part(self, config: Mapping[str, Any], kind: str, prefix: str, name: str = "") -> Layer:
        """A layer inside this one, its weights those whose roles begin with `prefix`."""
        weights = {
            role.removeprefix(prefix): tensor
            for role, tensor in self.layer.weights.items()
            if role.startswith(prefix)
        }
        path = f"{self.layer.path}/{name}" if name else self.layer.path
        return Layer(path, kind, config, weights, self.layer.module)

    # --- arguments ------------------------------------------------------------------------------

    def argument(self, at: int, name: str, default: Any = None) -> Any:
        """A positional argument, or the keyword argument of that name."""
        value = self.args[at] if at < len(self.args) else self.kwargs.get(name)
        self._see(value)
        return default if value is None else value

    def _see(self, value: Any) -> None:
        if isinstance(value, Value):
            self.seen.add(value.name)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                self._see(inner)

    @property
    def x(self) -> Value:
        """The only tensor that the layer is called with."""
        given = self.args[0] if self.args else None
        if isinstance(given, (list, tuple)) and len(given) == 1:
            given = given[0]
        if not isinstance(given, Value):
            raise self.unsupported("several inputs")
        self._see(given)
        return given

    @property
    def inputs(self) -> list[Value]:
        """The tensors of its first argument."""
        given = self.args[0] if self.args else None
        values = [given] if isinstance(given, Value) else given
        if not isinstance(values, (list, tuple)) or not all(isinstance(v, Value) for v in values):
            raise self.unsupported("such inputs")
        self._see(values)
        return list(values)

    @property
    def channels_first(self) -> bool:
        """Does the layer itself take channels-first images?"""
        return bool(self.option("data_format", "channels_last") == "channels_first")

    def image(self) -> tuple[Value, Value]:
        """The input with its channels first in the graph, and, as a template of the output, the
        same with the shape in that order: (batch, channels, *spatial)."""
        x = self.b.last(self.x) if self.channels_first else self.b.first(self.x)
        shape = x.shape if self.channels_first else (x.shape[0], x.shape[-1], *x.shape[1:-1])
        return x, replace(x, shape=shape)

    def from_first(self, name: str, shape: Sequence[Any]) -> Value:
        """A result whose graph layout and `shape` are channels-first, as this layer's output."""
        if self.channels_first:
            return Value(name, tuple(shape))
        return Value(name, (shape[0], *shape[2:], shape[1]), first=len(shape) > 2)
