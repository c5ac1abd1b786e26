"""One call of a layer on its way into the ONNX graph; see graphs/calls.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import UnsupportedError
from ..calls import LayerCall, Table
from .builder import Builder, Value

Result = Value | tuple[Value, ...]
Function = Callable[["Call"], Result]


@dataclass(frozen=True)
class Call(LayerCall[Builder, Value]):
    VALUE = Value
    TASK = "export"
    TARGET = "a node of the ONNX graph"
    ADVICE = "--weights-only writes the tensors without a graph."

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

    def further(self, value: Value) -> UnsupportedError:
        return self.unsupported(f"the further argument {value.name!r}")


TABLE: Table[Call, Value] = Table()
layer, operation = TABLE.layer, TABLE.operation
LAYERS, OPERATIONS = TABLE.layers, TABLE.operations
