"""Recurrent cells as ONNX has them: gates reordered, biases in two halves, activations by gate.

Keras -> ONNX: kernel (in, gates * units) -> W (1, gates * units, in); recurrent_kernel the same;
bias -> B (1, 2 * gates * units), that of the input before that of the state. Gates: LSTM i f c o
-> i o f c, GRU z r h in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...tree import Array, Tensor
from ..ir import Layer
from .activations import name_of
from .builder import Builder
from .call import Call

_GATES = {"SimpleRNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}
OPERATORS = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU"}
# Keras -> (ONNX, alpha, beta); the last two where the function has them
_FUNCTIONS: dict[str, tuple[str, float | None, float | None]] = {
    "tanh": ("Tanh", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "relu": ("Relu", None, None),
    "softsign": ("Softsign", None, None),
    "softplus": ("Softplus", None, None),
    "linear": ("Affine", 1.0, 0.0),
    "elu": ("Elu", 1.0, None),
    "leaky_relu": ("LeakyRelu", 0.2, None),
}


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrent layer. path: the layer's, for the names of combined weights."""

    kind: str
    units: int
    kernel: Tensor
    recurrent: Tensor
    bias: Tensor | None
    functions: tuple[tuple[str, float | None, float | None], ...]
    reset_after: bool = False

    @property
    def states(self) -> int:
        return 2 if self.kind == "LSTM" else 1

    def alike(self, other: Cell) -> bool:
        """Can one node run both?"""
        return (self.kind, self.units, self.functions, self.reset_after, self.kernel.shape) == (
            (other.kind, other.units, other.functions, other.reset_after, other.kernel.shape)
        )


def cell_of(
    call: Call, kind: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> Cell:
    """The cell of a layer with these options, its weights by the last part of their role."""
    by_role = {role.rpartition("/")[2]: tensor for role, tensor in weights.items()}
    if len(by_role) != len(weights):
        raise call.unsupported(f"the weights {list(weights)}")
    inner = replace(call, layer=Layer(call.layer.path, call.layer.kind, config, by_role))
    recurrent = inner.weight("recurrent_kernel")
    units = recurrent.shape[0]
    gates = [config.get("activation", "tanh")]
    if kind != "SimpleRNN":
        usual = "sigmoid" if call.version >= 3 else "hard_sigmoid"
        gates.insert(0, config.get("recurrent_activation") or usual)
    functions = [_function(inner, spec) for spec in gates]
    if kind == "LSTM":
        functions.append(functions[-1])
    after = bool(config.get("reset_after", False)) if kind == "GRU" else False
    bias = inner.weight("bias") if inner.flag("use_bias", True) else None
    count = len(_GATES[kind])
    expected = (2, 3 * units) if after else (count * units,)
    if bias is not None and bias.shape != expected:
        raise call.unsupported(f"a bias of shape {bias.shape}")
    return Cell(kind, units, inner.weight("kernel"), recurrent, bias, tuple(functions), after)


def _function(call: Call, spec: Any) -> tuple[str, float | None, float | None]:
    name = name_of(spec)
    if name == "hard_sigmoid":
        return "HardSigmoid", 1 / 6 if call.version >= 3 else 0.2, 0.5
    if name not in _FUNCTIONS:
        raise call.unsupported(f"activation={spec!r} in its cell")
    return _FUNCTIONS[name]


def attributes(cells: Sequence[Cell]) -> dict[str, Any]:
    """The attributes of a node that runs these cells, one a direction."""
    functions = [f for cell in cells for f in cell.functions]
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "SimpleRNN": ["Tanh"]}
    found: dict[str, Any] = {"hidden_size": cells[0].units}
    if [name for name, _, _ in functions] != usual[cells[0].kind] * len(cells):
        found["activations"] = [name for name, _, _ in functions]
        alphas = [alpha for _, alpha, _ in functions if alpha is not None]
        betas = [beta for _, _, beta in functions if beta is not None]
        found |= {"activation_alpha": alphas} if alphas else {}
        found |= {"activation_beta": betas} if betas else {}
    if cells[0].kind == "GRU":
        found["linear_before_reset"] = int(cells[0].reset_after)
    return found


def weights(b: Builder, cells: Sequence[Cell]) -> list[str]:
    """W, R and B of such a node."""
    order = _GATES[cells[0].kind]
    made = []
    for tensors in ([c.kernel for c in cells], [c.recurrent for c in cells]):
        rows, columns = tensors[0].shape
        name = _name(b, tensors)
        made.append(
            b.combined(
                name, (len(cells), columns, rows), tensors, lambda *all: _kernels(all, order)
            )
        )
    biases = [c.bias for c in cells if c.bias is not None]
    if len(biases) == len(cells):
        size = 2 * len(order) * cells[0].units
        name = _name(b, biases)
        made.append(b.combined(name, (len(cells), size), biases, lambda *all: _biases(all, order)))
    elif biases:
        raise ValueError("a bias in one direction only")
    else:
        made.append("")
    return made


def _name(b: Builder, tensors: Sequence[Tensor]) -> str:
    if len(tensors) == 1:
        return tensors[0].name
    return f"{b.scope}/{tensors[0].name.rpartition('/')[2]}"


def _kernels(arrays: Sequence[Array], order: Sequence[int]) -> Array:
    return np.stack([_reordered(array, order).T for array in arrays])


def _reordered(array: Array, order: Sequence[int]) -> Array:
    """The gates, blocks of the last axis, in another order."""
    gates = np.split(array, len(order), axis=-1)
    return np.concatenate([gates[i] for i in order], axis=-1)


def _biases(arrays: Sequence[Array], order: Sequence[int]) -> Array:
    halves = [a if a.ndim == 2 else np.stack([a, np.zeros_like(a)]) for a in arrays]
    return np.stack([_reordered(half, order).reshape(-1) for half in halves])
