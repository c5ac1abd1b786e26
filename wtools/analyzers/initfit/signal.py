"""How the size of a signal changes on its way through the layers: does it vanish or explode?

The mean-field recursion of Poole et al. (2016) and Schoenholz et al. (2017): with weights of
variance s and n inputs to a unit, activations of second moment q become pre-activations of
variance n s q, and after the activation f activations of second moment E[f(sqrt(n s q) z)²]. The
gradient's variance on the way back is multiplied by (outputs) s E[f'(sqrt(n s q) z)²]. A
normalization sets q to its own scale again. Residual branches are not in a file of weights: layers
are taken one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_BARS = "▁▂▃▄▅▆▇█"


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _selu(x: Array) -> Array:
    return np.asarray(1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": _selu,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(0, x),
}


@dataclass(frozen=True)
class Step:
    """One layer on the way. std: of its weights; norm: the scale that a normalization sets."""

    name: str
    ins: int = 0
    outs: int = 0
    std: float = 0.0
    bias: float = 0.0
    activation: str = "linear"
    norm: float = 0.0


@dataclass(frozen=True)
class Signal:
    """forward: second moment of the activations after each step; gains: what each multiplies it
    by; backward: what each multiplies the gradient's variance by."""

    names: tuple[str, ...]
    forward: tuple[float, ...]
    gains: tuple[float, ...]
    backward: tuple[float, ...]

    @property
    def total(self) -> float:
        return self.forward[-1] if self.forward else 1.0

    @property
    def total_backward(self) -> float:
        return math.prod(self.backward)

    @property
    def word(self) -> str:
        """`vanishing`, `exploding` or `steady`: by more than two powers of ten, either way."""
        for total in (self.total, self.total_backward):
            if total < 1e-2:
                return "vanishing"
            if total > 1e2:
                return "exploding"
        return "steady"


def propagate(steps: Sequence[Step]) -> Signal:
    """An input of second moment 1 through all steps, and a gradient of variance 1 back."""
    q, forward, gains, backward = 1.0, [], [], []
    for step in steps:
        before = q
        if step.norm:
            q, slope = moments(step.activation, step.norm**2)
            back = step.norm**2 * slope / before if before else 0.0
        else:
            spread = step.ins * step.std**2 * q + step.bias**2
            q, slope = moments(step.activation, spread)
            back = step.outs * step.std**2 * slope
        forward.append(q)
        gains.append(q / before if before else 0.0)
        backward.append(back)
    names = tuple(step.name for step in steps)
    return Signal(names, tuple(forward), tuple(gains), tuple(backward))


def moments(activation: str, variance: float) -> tuple[float, float]:
    """(E[f(x)²], E[f'(x)²]) for a normal x of that variance."""
    if activation in ("relu", "leaky_relu"):  # where quadrature stumbles over the corner
        part = (1 + (0.01**2 if activation == "leaky_relu" else 0)) / 2
        return part * variance, part
    f, scale = ACTIVATIONS[activation], math.sqrt(variance)
    x = scale * _NODES
    step = 1e-5
    slope = (f(x + step) - f(x - step)) / (2 * step)
    return float(_WEIGHTS @ np.square(f(x))), float(_WEIGHTS @ np.square(slope))


def bars(values: Sequence[float], most: int = 40) -> str:
    """The values as bars on a logarithmic scale: the middle height is 1, each step a factor 10."""
    if len(values) > most:
        picked = np.linspace(0, len(values) - 1, most).round().astype(int)
        values = [values[k] for k in picked]
    logs = [math.log10(v) if v > 0 else -9.0 for v in values]
    reach = max(3.5, *(abs(v) for v in logs)) if logs else 3.5
    return "".join(_BARS[min(7, max(0, round(3.5 + 3.5 * v / reach)))] for v in logs)
