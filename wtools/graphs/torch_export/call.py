"""One call of a layer on its way into the module: its options, its weights, what it is given.

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
from .code import Code, Shape, Value, Weight

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
    """b: the code, the layer, and the arguments, tensors among them as Values.

    once: the layer is called here and nowhere else. seen: the tensors that were asked for.
    """

    b: Code
    layer: Layer
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    version: int = 3
    once: bool = True
    seen: set[int] = field(default_factory=set)

    # --- options --------------------------------------------------------------------------------

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the layer; `default` where the config has none."""
        value = self.layer.config.get(name, default)
        return default if value is None else value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.option(name, default)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if type(value) is not int:
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
        if type(value) is int:
            return [value] * count
        fits = isinstance(value, (list, tuple)) and len(value) == count
        if fits and all(type(n) is int for n in value):
            return list(value)
        raise self.unsupported(f"{name}={value!r}")

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for what cannot be written, the layer named."""
        return UnsupportedError(
            f"{self.layer.kind} with {what} cannot be written as a PyTorch module",
            place=f"layer {self.layer.path!r}",
            advice="Without --module the weights alone are converted.",
        )

    # --- weights --------------------------------------------------------------------------------

    def optional(self, role: str) -> Tensor | None:
        """The weight of that role, or None."""
        return self.layer.weights.get(role)

    def weight(self, *roles: str) -> Tensor:
        """The weight that has one of these roles. Raises UnsupportedError where none has."""
        for role in roles:
            tensor = self.layer.weights.get(role)
            if (
                tensor is not None
                and tensor.dtype[:3] in ("int", "uin")
                and not tensor.quantization
            ):
                raise self.unsupported(f"a {role} of {tensor.dtype} whose scale is not known")
            if tensor is not None:
                return tensor
        found = ", ".join(self.layer.weights) or "no weights"
        raise UnsupportedError(
            f"{self.layer.kind} needs a {roles[0]}, and the file has {found}",
            place=f"layer {self.layer.path!r}",
        )

    def module(self, constructor: str, **weights: Weight) -> str:
        """`self.<name of the layer>`."""
        named = {key.replace("__", "."): weight for key, weight in weights.items()}
        return self.b.module(self.layer.path, constructor, named)

    def part(self, kind: str, config: Any, prefix: str, name: str = "") -> Layer:
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
        value = self._plain(value)
        return default if value is None else value

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Value):
            self.seen.add(value.id)
            return self.b.plain(value)
        if isinstance(value, (list, tuple)):
            return type(value)(self._plain(inner) for inner in value)
        return value

    @property
    def raw(self) -> Value:
        """The only tensor that the layer is called with; a flattened image may be turned."""
        given = self.args[0] if self.args else None
        if isinstance(given, (list, tuple)) and len(given) == 1:
            given = given[0]
        if not isinstance(given, Value):
            raise self.unsupported("several inputs")
        self.seen.add(given.id)
        return given

    @property
    def x(self) -> Value:
        """The only tensor that the layer is called with."""
        return self.b.plain(self.raw)

    @property
    def inputs(self) -> list[Value]:
        """The tensors of its first argument."""
        given = self.args[0] if self.args else None
        values = [given] if isinstance(given, Value) else given
        if not isinstance(values, (list, tuple)) or not all(isinstance(v, Value) for v in values):
            raise self.unsupported("such inputs")
        found: list[Value] = self._plain(list(values))
        return found

    @property
    def channels_first(self) -> bool:
        """Does the layer itself take channels-first images?"""
        return bool(self.option("data_format", "channels_last") == "channels_first")

    def image(self) -> tuple[Value, Shape]:
        """The input with its channels second, and its shape in that order."""
        x = self.x
        if self.channels_first:
            x = self.b.last(x)
            return x, x.shape
        x = self.b.first(x)
        return x, (x.shape[0], x.shape[-1], *x.shape[1:-1])

    def from_first(self, expression: str, shape: Sequence[Any]) -> Value:
        """A result of channels-first layout and `shape`, as this layer's output."""
        if self.channels_first:
            return self.b.value(expression, shape)
        keras = (shape[0], *shape[2:], shape[1])
        return self.b.value(expression, keras, first=len(shape) > 2)

    def masked(self, value: Value, mask: Value | None) -> Value:
        return replace(value, mask=mask)
