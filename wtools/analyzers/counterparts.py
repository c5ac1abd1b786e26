"""Which tensor of one framework stands for which of another's, and how its axes lie there.

Beyond names: tensors of layers of the same path are paired by what they are in their layer
(kernel, gamma, ...), and the one of B is read with its axes as A has them. Where two frameworks
cut a layer's weights differently (an LSTM's biases, fused projections) nothing is paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..layers import LayerMap, TensorRole
from ..layouts import Layout, keras, rearrange, reorder_gates, sizes, torch
from ..layouts.axes import parse
from ..translation.pieces import Computed
from ..tree import Array, Tensor

_GATED = frozenset({"lstm", "gru", "rnn"})
Rearrange = Callable[[Array], Array]


def counterparts(
    only_a: Sequence[Tensor], only_b: Sequence[Tensor], a: LayerMap, b: LayerMap
) -> list[tuple[Tensor, Tensor]]:
    """Pairs among tensors without a partner by name; those of B as A would store them."""
    there: dict[tuple[str, ...], list[TensorRole]] = {}
    for tensor in only_b:
        role = b.tensors[tensor.name]
        there.setdefault(_key(role, b), []).append(role)
    found = []
    for tensor in only_a:
        role = a.tensors[tensor.name]
        others = there.get(_key(role, a), ())
        if len(others) != 1 or not _comparable(role):
            continue
        other = _as(others[0], role, b.tree_separator == a.tree_separator)
        if other is not None:
            found.append((tensor, other))
    return found


def _key(role: TensorRole, layers: LayerMap) -> tuple[str, ...]:
    meaning = role.meaning
    path = role.layer.replace(layers.tree_separator, "/") if layers.tree_separator else role.layer
    part = "" if meaning.part == "l0" else meaning.part  # torch counts its recurrent layers
    return path, meaning.kind, meaning.role, part


def _comparable(role: TensorRole) -> bool:
    """Not what it is unknown to be; not the biases of gates, which torch has twice."""
    meaning = role.meaning
    return meaning.kind not in ("unknown", "buffer") and not (
        meaning.kind in _GATED and "bias" in meaning.role
    )


def _as(other: TensorRole, role: TensorRole, alike: bool) -> Tensor | None:
    """The other tensor in the shape of the first; None where the axes do not tell how."""
    tensor, shape = other.tensor, role.tensor.shape
    here, there = role.meaning.axes, other.meaning.axes
    if here == there and tensor.shape == shape and (alike or role.meaning.kind not in _GATED):
        return tensor
    if not here or not there:
        return None
    try:
        move = _move(role, other)
        result = move(np.broadcast_to(np.int8(0), tensor.shape)).shape  # nothing is read
    except (UsageError, ValueError):
        return None
    if result[1:] != shape[1:] and result != shape:
        return None
    return replace(tensor, shape=result, data=Computed(lambda: move(tensor.read())), storage=None)


def _move(role: TensorRole, other: TensorRole) -> Rearrange:
    """Axes of the other tensor as those of the first, its gates in the first's order."""
    here, there = role.meaning.axes, other.meaning.axes
    gates = _gates(role), _gates(other)
    known = _known(role) | _known(other)
    if not all(gates) or gates[0] == gates[1]:
        return lambda array: rearrange(array, there, here, known)
    apart = " ".join(name for group in parse(there) for name in group)
    at = apart.split().index("g")

    def move(array: Array) -> Array:
        loose = reorder_gates(rearrange(array, there, apart, known), at, gates[1], gates[0])
        return rearrange(loose, apart, here, known)

    return move


def _known(role: TensorRole) -> dict[str, int]:
    """The sizes that one side's fused axes do not tell."""
    gates = _gates(role)
    known = {"g": len(gates.split())} if gates else {}
    try:
        told = sizes(role.meaning.axes, role.tensor.shape, **known)
    except UsageError:
        return known
    return known | {name: size for name, size in told.items() if name in "mHe"}


def _gates(role: TensorRole) -> str:
    layout: Layout | None = _convention(role).get(role.meaning.kind)
    return layout.gates if layout is not None else ""


def _convention(role: TensorRole) -> dict[str, Layout]:
    return keras.LAYOUTS if "kernel" in role.tensor.name.rpartition("/")[2] else torch.LAYOUTS
