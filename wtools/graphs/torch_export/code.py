"""A PyTorch module being written: values with shapes and layouts, statements, submodules, weights.

Keras computes on channels-last images, torch on channels-first ones. A value therefore has the
shape that Keras gives it and a flag that says whether its channels come first in torch; a permute
stands only where someone cares. An image that was flattened channels-first says so, too: the
dense layer after it then has its rows permuted instead of the activations.

While it grows, the source refers to a value by a token with control characters in it, which no
repr of anything contains; names are chosen when it is known how often each value is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import CorruptError, UsageError
from ...layouts import keras, rearrange, torch
from ...tree import Array, LazyData, Tensor
from ..values import Dim, Laid, Layouts, Shape, as_float32
from .names import LOCALS, Attributes, Names

TOKEN = re.compile("\0(\\d+)\0")


@dataclass(frozen=True)
class Value(Laid):
    """A tensor in forward(). In an f-string it is its own name.

    shape: as Keras has it, the batch included; None where it is not known. first: its channels,
    last in Keras, come second. flat: the image (*spatial, channels) that lies in it flattened with
    its channels first. mask: booleans (batch, time): the steps that count.
    """

    id: int
    shape: Shape
    dtype: str = "float32"
    first: bool = False
    flat: tuple[int, ...] = ()
    mask: Value | None = None

    def __str__(self) -> str:
        return f"\0{self.id}\0"

    @property
    def key(self) -> int:
        return self.id


@dataclass(frozen=True)
class Statement:
    """`target = expression`; the target may unpack: it holds the tokens of `made`."""

    target: str
    expression: str
    made: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """An entry of a layer's state dict: worked out of `sources` when it is written.

    make: None copies the only source. what: says in a word what is done to it.
    """

    shape: tuple[int, ...]
    sources: tuple[Tensor, ...]
    make: Callable[..., Any] | None = None
    what: str = ""


@dataclass
class Code(Layouts[Value]):
    """Statements in order, submodules and their weights by name. `scope`: the layer at work."""

    scope: str = ""
    statements: list[Statement] = field(default_factory=list)
    attributes: Attributes = field(default_factory=Attributes)
    modules: dict[str, str] = field(default_factory=dict)  # "encoder.dense" -> "nn.Linear(3, 4)"
    weights: dict[str, Tensor] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    parts: dict[str, None] = field(default_factory=dict)  # the helpers that are used, in order
    hints: list[str] = field(default_factory=list)  # value -> what its variable is named after
    _turned: dict[tuple[int, str], Value] = field(default_factory=dict)

    # --- statements -----------------------------------------------------------------------------

    def new(self, shape: Sequence[Dim], dtype: str = "float32", **fields: Any) -> Value:
        """A value that a statement yet to come makes."""
        self.hints.append(self.scope)
        return Value(len(self.hints) - 1, tuple(shape), dtype, **fields)

    def assign(self, target: str, expression: str, *made: Value) -> None:
        self.statements.append(Statement(target, expression, tuple(v.id for v in made)))

    def value(
        self, expression: str, shape: Sequence[Dim], dtype: str = "float32", **fields: Any
    ) -> Value:
        """`name = expression`."""
        made = self.new(shape, dtype, **fields)
        self.assign(str(made), expression, made)
        return made

    def like(self, value: Value, expression: str, **changes: Any) -> Value:
        """`name = expression`, of the shape and in the layout of `value`."""
        self.hints.append(self.scope)
        made = replace(value, id=len(self.hints) - 1, **changes)
        self.assign(str(made), expression, made)
        return made

    # --- submodules -----------------------------------------------------------------------------

    def module(self, path: str, constructor: str, weights: Mapping[str, Weight]) -> str:
        """`self.<path>`, made by `constructor`; the weights' names follow the module's."""
        attributes = self.attributes.of(path)
        name = ".".join(attributes)
        if name not in self.modules:
            self.modules[name] = constructor
            for key, weight in weights.items():
                self._state(f"{name}.{key}", weight, name, constructor)
        elif self.modules[name] != constructor:
            raise ValueError("one layer is used in two ways")
        return f"self.{name}"

    def _state(self, name: str, weight: Weight, layer: str, constructor: str) -> None:
        sources = [as_float32(source) for source in weight.sources]
        found = re.match(r"nn\.(\w+)", constructor)
        kind = found[1] if found and found[1] != "RNN" else ""  # Keras' RNN is a wrapper
        make = weight.make
        if make is None and sources[0].shape != weight.shape:
            raise ValueError(f"{sources[0].name} is {sources[0].shape}, not {weight.shape}")
        if make is None:
            self.weights[name] = replace(sources[0], name=name, stored=name, layer=layer, kind=kind)
        else:
            whole, shape = make, weight.shape

            def compute() -> Array:
                arrays = [source.read() for source in sources]
                try:
                    return np.ascontiguousarray(whole(*arrays)).reshape(shape)
                except (ValueError, UsageError) as error:
                    raise CorruptError(f"cannot be {shape}: {error}", place=repr(name)) from None

            dtype = "float32" if sources else str(np.asarray(whole()).dtype)
            data = LazyData(compute)
            self.weights[name] = Tensor(name, shape, dtype, data, layer=layer, kind=kind)
            self.changes[name] = weight.what
        if sources:
            self.origins[name] = ", ".join(source.name for source in weight.sources)

    def part(self, name: str) -> str:
        """The name of a helper (see parts.py), which the source will have."""
        self.parts[name] = None
        return name

    # --- layouts --------------------------------------------------------------------------------

    def first(self, value: Value) -> Value:
        """The value with its channels second."""
        if value.first or value.rank < 3:
            return value
        order = [0, value.rank - 1, *range(1, value.rank - 1)]
        return self._turn(value, "first", f"{value}.permute({listed(order)})", first=True)

    def last(self, value: Value) -> Value:
        """The value as Keras lays it out."""
        if value.flat:
            return self.plain(value)
        if not value.first:
            return value
        order = [0, *range(2, value.rank), 1]
        return self._turn(value, "last", f"{value}.permute({listed(order)})", first=False)

    def plain(self, value: Value) -> Value:
        """A flattened image in Keras' order."""
        if not value.flat:
            return value
        *spatial, channels = value.flat
        wide = f"{value}.unflatten(1, ({listed([channels, *spatial])}))"
        return self._turn(value, "plain", f"{wide}.movedim(1, -1).flatten(1)", flat=())

    def _turn(self, value: Value, how: str, expression: str, **changes: Any) -> Value:
        key = (value.id, how)
        if key not in self._turned:
            self._turned[key] = self.like(value, expression, **changes)
            back = {"first": "last", "last": "first"}.get(how)
            if back:
                self._turned[self._turned[key].id, back] = value
        return replace(self._turned[key], mask=value.mask, shape=value.shape)

    def constant(self, role: str, array: Any) -> str:
        """An array that the file has in its config, as a buffer of the module."""
        array = np.asarray(array, np.float32)
        weight = Weight(array.shape, (), lambda: array, "from the config")
        return self.stored(f"{self.scope}/{role}", weight)

    def stored(self, path: str, weight: Weight) -> str:
        """An expression for an array that is a buffer of the module `path`."""
        constructor = f"{self.part('Constant')}({tupled(weight.shape)})"
        return self.module(path, constructor, {"value": weight}) + "()"

    # --- text -----------------------------------------------------------------------------------

    def body(self, given: Sequence[Value], results: Sequence[Value], taken: set[str]) -> list[str]:
        """The lines of forward(), its `def` first."""
        uses: dict[int, list[int]] = {}
        last = len(self.statements)
        for number, statement in enumerate(self.statements):
            for token in TOKEN.findall(statement.expression):
                uses.setdefault(int(token), []).append(number)
        for value in results:
            uses.setdefault(value.id, []).append(last)
        free = Names(LOCALS | frozenset(taken))
        names = {value.id: free.new(self.hints[value.id]) for value in given}
        for number, statement in enumerate(self.statements):
            for made in statement.made:
                used = set(uses.get(made, ()))
                if not used:
                    names[made] = "_"
                elif used == {number + 1} and len(statement.made) == 1:
                    names[made] = "x"
                else:
                    names[made] = free.new(self.hints[made].rpartition("/")[2])

        def spelled(text: str) -> str:
            return TOKEN.sub(lambda token: names[int(token[1])], text)

        lines = [f"def forward(self, {', '.join(names[value.id] for value in given)}):"]
        lines += [f"    {spelled(s.target)} = {spelled(s.expression)}" for s in self.statements]
        returned = ", ".join(spelled(str(value)) for value in results)
        return [*lines, f"    return {returned}"]


def listed(numbers: Sequence[Any]) -> str:
    """`1, 2, 3`."""
    return ", ".join(map(spelled, numbers))


def tupled(numbers: Sequence[Any]) -> str:
    """`(1, 2)`, `(1,)`."""
    return f"({listed(numbers)}{',' if len(numbers) == 1 else ''})"


def many(numbers: Sequence[int]) -> str:
    """`2` where all are equal, else `(1, 2)`."""
    if len(set(numbers)) == 1:
        return str(numbers[0])
    return tupled(numbers)


def spelled(value: Any) -> str:
    """A number of a config as Python source."""
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, (int, np.integer)):
        return repr(int(value))
    number = float(value)
    return repr(number) if np.isfinite(number) else f"float({str(number)!r})"


def moved(kind: str, role: str, **known: int) -> Callable[[Array], Array]:
    """From Keras' axes of a weight to torch's."""
    before, after = (table.LAYOUTS[kind].roles[role].axes for table in (keras, torch))
    return lambda array: rearrange(array, before, after, known)


def filled(size: int, value: float) -> Weight:
    """What a Keras layer does without and its torch equal has."""
    return Weight((size,), (), lambda: np.full(size, value, np.float32), "made")
