"""One call of a layer being exported: its options, its weights, what it is given.

A layer family of an exporter is a module with functions decorated by `layer("Dense", ...)` of its
Table; each takes that exporter's call and returns the value, or the values, that the layer makes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

from ..errors import CorruptError, UnsupportedError, printable
from ..tree import Tensor
from .ir import Layer, Ref
from .values import Laid

B = TypeVar("B")
V = TypeVar("V", bound=Laid)
C = TypeVar("C", bound="LayerCall[Any, Any]")

# What options raise that cannot be meant: a size of text, an axis that is not there, ...
_MEANINGLESS = (
    *(KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError),
    RecursionError,
)


@dataclass(frozen=True)
class Table(Generic[C, V]):
    """The functions of an exporter by the class of the layer.

    operations: keras.ops, whose classes may be called like layers. masking: layers whose output
    has the mask of their input.
    """

    layers: dict[str, Callable[[C], V | tuple[V, ...]]] = field(default_factory=dict)
    operations: dict[str, Callable[[C], V | tuple[V, ...]]] = field(default_factory=dict)
    masking: set[str] = field(default_factory=set)

    def layer(self, *kinds: str, masks: bool = False) -> Callable[[F], F]:
        """Registers a function for layers of these classes; `masks`: they pass a mask on."""

        def register(function: F) -> F:
            self.layers.update(dict.fromkeys(kinds, function))
            if masks:
                self.masking.update(kinds)
            return function

        return register

    def operation(self, *kinds: str) -> Callable[[F], F]:
        """Registers a function for operations (keras.ops, TensorFlow's in Keras 2)."""

        def register(function: F) -> F:
            self.operations.update(dict.fromkeys(kinds, function))
            return function

        return register


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class LayerCall(Generic[B, V]):
    """b: what the exporter builds, the layer, and the arguments, tensors among them as values.

    once: the layer is called here and nowhere else. seen: the tensors that were asked for.
    """

    VALUE: ClassVar[type[Laid]]
    TASK: ClassVar[str]  # "a layer that wtools can ..."
    TARGET: ClassVar[str]  # "... cannot be ..."
    ADVICE: ClassVar[str]

    b: B
    layer: Layer
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    version: int = 3
    once: bool = True
    seen: set[Hashable] = field(default_factory=set)

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

    @property
    def channels_first(self) -> bool:
        """Does the layer itself take channels-first images?"""
        return bool(self.option("data_format", "channels_last") == "channels_first")

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for what cannot be exported, the layer named."""
        return UnsupportedError(
            f"{self.layer.kind} with {what} cannot be {self.TARGET}",
            place=f"layer {self.layer.path!r}",
            advice=self.ADVICE,
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

    # --- arguments ------------------------------------------------------------------------------

    def taken(self, value: V) -> V:
        """The value as it is asked for; see `seen`."""
        self.seen.add(value.key)
        return value

    def _taken(self, value: Any) -> Any:
        if isinstance(value, self.VALUE):
            return self.taken(value)  # type: ignore[arg-type]
        if isinstance(value, (list, tuple)):
            return type(value)(self._taken(inner) for inner in value)
        return value

    def argument(self, at: int, name: str, default: Any = None) -> Any:
        """A positional argument, or the keyword argument of that name."""
        value = self._taken(self.args[at] if at < len(self.args) else self.kwargs.get(name))
        return default if value is None else value

    @property
    def only(self) -> V:
        """The only tensor that the layer is called with, not yet taken."""
        given = self.args[0] if self.args else None
        if isinstance(given, (list, tuple)) and len(given) == 1:
            given = given[0]
        if not isinstance(given, self.VALUE):
            raise self.unsupported("several inputs")
        return given  # type: ignore[return-value]

    @property
    def x(self) -> V:
        """The only tensor that the layer is called with."""
        return self.taken(self.only)

    @property
    def inputs(self) -> list[V]:
        """The tensors of its first argument."""
        given = self.args[0] if self.args else None
        values: Any = [given] if isinstance(given, self.VALUE) else given
        listed = isinstance(values, (list, tuple))
        if not listed or not all(isinstance(v, self.VALUE) for v in values):
            raise self.unsupported("such inputs")
        return [self.taken(v) for v in values]

    def further(self, value: V) -> UnsupportedError:
        """The error for an argument that nothing asked for."""
        return self.unsupported(f"a further tensor of shape {value.shape}")


def made(call: LayerCall[Any, V], table: Table[Any, V]) -> tuple[V, ...]:
    """What the layer's function in the table makes of the call.

    Raises UnsupportedError, the layer and its config named, for a layer or an option that is not
    known, and for a tensor that the function left alone; CorruptError for options that cannot be
    meant.
    """
    layer = call.layer
    function = (table.operations if is_operation(layer) else table.layers).get(layer.kind)
    if function is None:
        raise UnsupportedError(
            f"{layer.kind} is not a layer that wtools can {call.TASK}: {_shown(layer.config)}",
            place=f"layer {layer.path!r}",
            advice=call.ADVICE,
        )
    try:
        results = function(call)
    except _MEANINGLESS as error:
        raise CorruptError(
            f"{layer.kind} cannot be what its config and weights say ({error}): "
            f"{_shown(layer.config)}",
            place=f"layer {layer.path!r}",
        ) from error
    except UnsupportedError as error:
        error.reason += f": {_shown(layer.config)}"
        raise
    given = list(tensors([call.args, call.kwargs]))
    unseen = [value for value in given if value.key not in call.seen]
    if unseen:
        raise call.further(unseen[0])
    if isinstance(results, tuple):
        return results
    if layer.kind not in table.masking:
        return (results,)
    mask = next((value.mask for value in tensors(call.args)), None)
    return (replace(results, mask=mask),)  # type: ignore[type-var]


def is_operation(layer: Layer) -> bool:
    """Is it an operation of keras.ops? Where `.h5` leaves the module out: it has no options
    that every layer has (but for SpatialDropout, which hides them)."""
    if layer.module:
        return ".ops" in layer.module or ".activations" in layer.module
    hidden = layer.kind.startswith("SpatialDropout") or "batch_input_shape" in layer.config
    return "trainable" not in layer.config and not hidden


def tensors(value: Any) -> Iterator[Any]:
    """The values in a nested argument."""
    if isinstance(value, Laid):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from tensors(inner)


def given(value: Any, values: Mapping[Ref, Any]) -> Any:
    """A nested argument with values in place of Refs."""
    if isinstance(value, Ref):
        if value not in values:
            raise CorruptError(f"output {value.output} of a layer that has fewer is used")
        return values[value]
    if isinstance(value, Mapping):
        return {key: given(inner, values) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(given(inner, values) for inner in value)
    return value


def input_shape(layer: Layer) -> tuple[int | None, ...]:
    """The shape that an InputLayer says. Raises UnsupportedError."""
    shape = layer.config.get("batch_shape")
    if not isinstance(shape, (list, tuple)) or not all(n is None or type(n) is int for n in shape):
        raise UnsupportedError(f"the shape of input {layer.path!r} is not known: {shape!r}")
    return tuple(shape)


def input_dtype(layer: Layer) -> str:
    """Its dtype, all floats as float32."""
    dtype = str(layer.config.get("dtype"))
    return "float32" if dtype.startswith(("float", "mixed", "bfloat")) else dtype


def _shown(config: Mapping[str, Any]) -> str:
    """The options of a layer that have to do with what it computes."""
    hidden = ("initializer", "regularizer", "constraint", "name", "trainable", "quantization")
    shown = {
        key: value
        for key, value in config.items()
        if not any(word in key for word in hidden) and value is not None
    }
    text = printable(shown)
    return text if len(text) < 600 else text[:600] + "..."
