"""One call of a layer on its way into the module; see graphs/calls.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...tree import Tensor
from ..calls import LayerCall, Table
from ..values import Shape
from .code import Code, Value, Weight

Result = Value | tuple[Value, ...]


@dataclass(frozen=True)
class Call(LayerCall[Code, Value]):
    VALUE = Value
    TASK = "write as a PyTorch module"
    TARGET = "written as a PyTorch module"
    ADVICE = "Without --module the weights alone are converted."

    def weight(self, *roles: str) -> Tensor:
        tensor = super().weight(*roles)
        if tensor.dtype[:3] in ("int", "uin") and not tensor.quantization:
            role = next(role for role in roles if role in self.layer.weights)
            raise self.unsupported(f"a {role} of {tensor.dtype} whose scale is not known")
        return tensor

    def module(self, constructor: str, **weights: Weight) -> str:
        """`self.<name of the layer>`."""
        named = {key.replace("__", "."): weight for key, weight in weights.items()}
        return self.b.module(self.layer.path, constructor, named)

    def taken(self, value: Value) -> Value:
        return self.b.plain(super().taken(value))

    @property
    def raw(self) -> Value:
        """The only tensor that the layer is called with; a flattened image may be turned."""
        return super().taken(self.only)

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


TABLE: Table[Call, Value] = Table()
layer, operation = TABLE.layer, TABLE.operation
LAYERS = TABLE.layers
