"""What the exporters have in common: tensors of a graph, their shapes and where channels stand.

Keras computes on channels-last images, ONNX and torch on channels-first ones. A value therefore
has the shape that Keras gives it and a flag that says whether, in the target, its channels come
first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np

from .. import dtypes
from ..errors import UnsupportedError
from ..tree import Array, MappedData, Tensor, WeightTree
from .ir import Layer

Dim = int | None
Shape = tuple[Dim, ...]


class Laid(ABC):
    """A tensor of a graph; an exporter's own Value says how the target refers to it.

    shape: as Keras has it, the batch included; None where it is not known before the graph runs.
    first: its channels, last in Keras, come second in the target. mask: None, or the value,
    booleans (batch, time), that says which steps count.
    """

    shape: Shape
    first: bool
    mask: Any

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def channels(self) -> Dim:
        return self.shape[-1]

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What tells it from the graph's other tensors."""


V = TypeVar("V", bound=Laid)


class Layouts(ABC, Generic[V]):
    """Where Keras' axes of a value lie in the target."""

    @abstractmethod
    def first(self, value: V) -> V:
        """The value with its channels second in the target."""

    @abstractmethod
    def last(self, value: V) -> V:
        """The value as Keras lays it out."""

    def aligned(self, values: Sequence[V]) -> list[V]:
        """The values of one rank in one layout: channels first where any of them is."""
        if any(v.first for v in values):
            return [self.first(v) for v in values]
        return [self.last(v) for v in values]

    def same_rank(self, values: Sequence[V], widened: Callable[[V, int, Shape], V]) -> list[V]:
        """The values with axes of one element after the batch, until all have the same rank, and
        in the same layout (keras/src/layers/merging/base_merge.py).

        widened: (value, how many axes, the shape) -> the value with them.
        """
        rank = max(v.rank for v in values)
        if all(v.rank == rank for v in values):
            return self.aligned(values)
        found = []
        for value in map(self.last, values):
            missing = rank - value.rank
            shape = (value.shape[0], *[1] * missing, *value.shape[1:])
            found.append(widened(value, missing, shape) if missing else value)
        return found

    def axis(self, value: Laid, axis: int) -> int:
        """The axis in the target that is Keras' `axis` of the value."""
        axis = axis % value.rank
        if not value.first or axis == 0:
            return axis
        return 1 if axis == value.rank - 1 else axis + 1

    def along(self, value: Laid, array: Any) -> Array:
        """`array`, which broadcasts against the value in Keras, laid out as the value is."""
        array = np.asarray(array, np.float32)
        if not value.first or not array.ndim:
            unchanged: Array = array
            return unchanged
        full = array.reshape((1,) * (value.rank - array.ndim) + array.shape)
        moved: Array = np.moveaxis(full, -1, 1)
        return moved


def as_float32(tensor: Tensor) -> Tensor:
    """The tensor's values as float32, quantized ones dequantized.

    Raises UnsupportedError for integers without a scale: packed, or quantized in another way.
    """
    tensor = tensor.dequantized()
    if dtypes.get(tensor.dtype).kind not in ("float", "bool"):
        raise UnsupportedError(
            f"{tensor.name!r} is stored as {tensor.dtype} in a way that wtools cannot dequantize",
            advice="--weights-only writes the tensors without a graph.",
        )
    if tensor.dtype == "float32":
        return tensor
    data = MappedData(tensor.data, lambda block: block.astype(np.float32))
    return replace(tensor, dtype="float32", data=data, storage=None)


def policy_of(layer: Layer) -> str:
    """The name of the layer's dtype policy: float32, mixed_float16, int8_from_float32, ..."""
    spec = layer.config.get("dtype")
    if isinstance(spec, Mapping):
        inner = spec.get("config")
        spec = inner.get("name") if isinstance(inner, Mapping) else None
    return spec if isinstance(spec, str) else "float32"


def narrow_policy(layer: Layer) -> str | None:
    """The layer's policy if Keras computes it in fewer bits than float32."""
    policy = policy_of(layer)
    narrow = ("float16", "bfloat16", "mixed_", "int8", "int4", "float8")
    return policy if policy.startswith(narrow) else None


def left_out(
    tree: WeightTree, origins: Iterable[str], target: str, layers: Iterable[Layer] = ()
) -> list[str]:
    """What a model made of the tree lacks: tensors that are in no `origins`, narrower numbers,
    stored or (as the `layers` say) computed with."""
    used = {name for origin in origins for name in origin.split(", ")}
    unused = [name for name in tree if name not in used]
    notes = []
    if unused:
        plural = "s" if len(unused) > 1 else ""
        notes.append(f"{len(unused)} tensor{plural} that inference does not need ({unused[0]}...)")
    narrow = {t.dtype for t in tree.values()} - {"float32", "int32", "int64", "uint32", "bool"}
    narrow |= {policy for layer in layers if (policy := narrow_policy(layer))}
    if narrow:
        notes.append(f"{', '.join(sorted(narrow))}: the {target} computes in float32")
    return notes
