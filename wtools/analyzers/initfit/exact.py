"""Initializers that leave no distribution but a pattern: constants, identity, orthogonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...layers import Meaning
from ...sketch import Sketch
from ...tree import Tensor
from ..elements import reals

Array = NDArray[Any]
_LARGEST = 1 << 24  # elements of a tensor that is read as a whole
_VECTORS = 64  # of an orthogonal matrix held against one another
_MOVED = 0.02  # of the gain, by which a matrix may have changed that is still told as orthogonal
_GAINS = (1.0, math.sqrt(2), 5 / 3, 0.01, 0.1, 0.5)


@dataclass(frozen=True)
class Pattern:
    """name: the initializer. exact: is every element as it would be? gain: of an orthogonal one."""

    name: str
    exact: bool = True
    gain: float | None = None
    residual: float = 0.0


def pattern(tensor: Tensor, meaning: Meaning, sketch: Sketch, units: int = 0) -> Pattern | None:
    """The pattern that all elements follow, None if there is none."""
    if sketch.finite != sketch.count or not sketch.count:
        return None
    if sketch.min == sketch.max:
        return Pattern(constant_name(float(sketch.min)))
    if meaning.role in ("bias", "recurrent_bias") and _forget_gate(tensor, meaning, sketch):
        return Pattern("zeros, forget gate ones")
    if tensor.ndim < 2 or tensor.size > _LARGEST:
        return None
    side = min(tensor.shape[0], math.prod(tensor.shape[1:]))
    diagonal = max(min(tensor.shape[:2]), min(tensor.shape[-2:]))
    if sketch.min == 0 and sketch.count - sketch.zeros <= diagonal:
        return _identity(tensor, sketch)
    if side < 2:
        return None
    return _orthogonal(tensor, sketch)


def constant_name(value: float) -> str:
    """`zeros`, `ones`, `constant 1e-05`."""
    return {0.0: "zeros", 1.0: "ones"}.get(value) or f"constant {value:.6g}"


def _forget_gate(tensor: Tensor, meaning: Meaning, sketch: Sketch) -> bool:
    """An LSTM's bias of Keras: zeros, but ones where it forgets (the second of four gates)."""
    if meaning.kind not in ("lstm", "conv_lstm") or tensor.ndim != 1 or tensor.size % 4:
        return False
    if sketch.zeros * 4 != sketch.count * 3 or (sketch.min, sketch.max) != (0, 1):
        return False
    units = tensor.size // 4
    values = reals(tensor.read().reshape(-1), tensor.dtype)
    return bool((values[units : 2 * units] == 1).all())


def _identity(tensor: Tensor, sketch: Sketch) -> Pattern | None:
    """The identity of torch's eye_ and Keras' Identity, or of dirac_: a convolution's."""
    values = reals(tensor.read().reshape(-1), tensor.dtype).reshape(tensor.shape)
    if tensor.ndim == 2:
        same = np.array_equal(values, np.eye(tensor.shape[0], tensor.shape[1]) * float(sketch.max))
        name = "identity"
    else:
        name, centre = "dirac", tuple(size // 2 for size in tensor.shape[2:])
        dirac = np.zeros(tensor.shape)
        for k in range(min(tensor.shape[:2])):
            dirac[(k, k, *centre)] = 1
        same = np.array_equal(values, dirac)
    return Pattern(name, gain=float(sketch.max)) if same else None


def _orthogonal(tensor: Tensor, sketch: Sketch) -> Pattern | None:
    """Are the rows, or the columns, of the flattened tensor orthonormal, times a gain?

    Keras flattens all axes but the last, torch all but the first. Looked at only where the sum of
    squares is what it then must be: the smaller side times gain**2.
    """
    for shape in _flattened(tensor.shape):
        gain = math.sqrt(sketch.sum2 / min(shape))
        near = min(_GAINS, key=lambda known: abs(known / gain - 1))
        tolerance = _tolerance(tensor.dtype, shape)
        if abs(near / gain - 1) > 10 * tolerance + _MOVED:
            continue
        matrix = tensor.read().reshape(shape)
        some = matrix[:_VECTORS] if shape[0] <= shape[1] else matrix[:, :_VECTORS].T
        vectors = reals(np.ascontiguousarray(some), tensor.dtype) / near
        residual = float(np.abs(vectors @ vectors.T - np.eye(len(vectors))).max())
        if residual < 10 * tolerance:
            return Pattern("orthogonal", gain=gain, residual=residual)
        if residual < 0.5 / math.sqrt(max(shape)):  # of random vectors it is some four over that
            return Pattern("orthogonal", exact=False, gain=gain, residual=residual)
    return None


def _flattened(shape: Sequence[int]) -> list[tuple[int, int]]:
    first = (shape[0], math.prod(shape[1:]))
    last = (math.prod(shape[:-1]), shape[-1])
    return [first] if first == last else [last, first]


def _tolerance(dtype: str, shape: tuple[int, int]) -> float:
    """How far rounding to the type may take a product of two vectors; training goes far beyond."""
    bits = {"float64": 23, "float32": 23, "float16": 10, "bfloat16": 7}.get(dtype)
    if bits is None:
        bits = 2 if dtypes.get(dtype).kind == "float" else 23
    return 2.0**-bits + 1e-6 * math.sqrt(max(shape)) / 8
