"""fan_in and fan_out of a tensor, as the frameworks count them when they draw it.

Keras (keras/src/initializers/random_initializers.py, compute_fans): the last two axes are in and
out, those before them the receptive field; an EinsumDense or attention kernel by its equation
(before Keras 3.13 by its last two axes). torch (torch/nn/init.py): the first two axes are out and
in, those after them the receptive field. The two agree on dense, convolution and recurrent
kernels, transposed ones too; where they do not, both are candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...layers import Meaning
from ...tree import Tensor
from ..channels import axes_of

_SPATIAL = set("khwd")


@dataclass(frozen=True)
class Fans:
    """by: whose count it is, "" where all agree."""

    ins: int
    outs: int
    by: str = ""


def fans_of(tensor: Tensor, meaning: Meaning) -> list[Fans]:
    """The ways to count, the likeliest first; none for vectors."""
    if tensor.ndim < 2:
        return []
    axes = axes_of(tensor, meaning)
    shape = tensor.shape
    if axes is None:
        if "einsum" in meaning.kind:
            return _distinct([*_splits(shape), by_keras(shape)])
        return _distinct([by_torch(shape), by_keras(shape)])
    size = _Sizes(axes, shape)
    field = size.of(_SPATIAL)
    kind, role = meaning.kind, meaning.role
    if kind in ("embedding", "positional", "token"):
        if tensor.ndim > 2:
            return _distinct([by_torch(shape), by_keras(shape)])
        return [Fans(shape[0], shape[1], "keras"), Fans(shape[1], shape[0], "torch")]
    if {"i", "m"} <= size.letters and "o" not in size.letters:  # a depthwise kernel
        if kind.startswith("depthwise") and axes[0] and set(axes[0]) <= {"i", "m"}:
            inputs, many = _torch_depthwise(shape)
        else:
            inputs, many = size.of({"i"}), size.of({"m"})
        return _distinct(
            [
                Fans(inputs * field, many * field, "keras"),
                Fans(field, inputs * many * field, "torch"),
            ]
        )
    if "D" in size.letters and size.letters & {"H", "e", "p"}:
        heads, width = size.of({"p", "H", "e"}), size.of({"D"})
        into, out = (heads, width) if role.startswith("output") else (width, heads)
        older = [by_keras(shape)] if tensor.ndim == 3 else []
        return _distinct([Fans(into, out), *older])
    if kind.endswith("_transpose"):
        return [Fans(size.of({"o"}) * field, size.of({"i"}) * field)]
    if size.letters & {"u", "g"}:
        if role.startswith("projection"):
            return [Fans(size.of({"u"}), size.of({"v"}))]
        return [Fans(size.of({"i", "v"}), size.of({"g", "u"}))]
    if "r" in size.letters:
        into, out = size.of({"i", "V"}), size.of({"o", "D"})
        rank = size.of({"r"})
        return [Fans(into * field, rank) if role == "lora_a" else Fans(rank, out * field)]
    into, out = size.of({"i", "m"}), size.of({"o"})
    found = [Fans(into * field, out * field)]
    if meaning.axes == "i o":  # transformers' Conv1D: torch takes the first axis for the outputs
        found.append(Fans(out, into, "stored order"))
    if "x" in meaning.axes:
        found.append(by_torch(shape))
    return _distinct(found)


def by_torch(shape: tuple[int, ...]) -> Fans:
    field = math.prod(shape[2:])
    return Fans(shape[1] * field, shape[0] * field, "torch")


def by_keras(shape: tuple[int, ...]) -> Fans:
    field = math.prod(shape[:-2])
    return Fans(shape[-2] * field, shape[-1] * field, "keras")


def _splits(shape: tuple[int, ...]) -> list[Fans]:
    """Inputs before, outputs after, for each place between two axes."""
    return [
        Fans(math.prod(shape[:k]), math.prod(shape[k:]), f"{k} input axes" if k > 1 else "")
        for k in range(1, len(shape))
    ]


def _torch_depthwise(shape: tuple[int, ...]) -> tuple[int, int]:
    """(inputs, multiplier): one output a channel, which is nearly always so."""
    return shape[0], 1


def _distinct(found: list[Fans]) -> list[Fans]:
    return list({(fans.ins, fans.outs): fans for fans in reversed(found)}.values())[::-1]


class _Sizes:
    """Sizes of a tensor's axes by their letters."""

    def __init__(self, axes: tuple[tuple[str, ...], ...], shape: tuple[int, ...]) -> None:
        self.axes, self.shape = axes, shape
        self.letters = {letter for axis in axes for letter in axis}

    def of(self, letters: set[str]) -> int:
        """The product of the sizes of the axes that have any of these."""
        return math.prod(
            size for axis, size in zip(self.axes, self.shape, strict=True) if set(axis) & letters
        )
