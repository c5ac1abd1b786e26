"""What was added up in a translation, kept beside the sum, so that the way back is exact.

torch has two biases in an LSTM where Keras has one. The record of the sum (see `records`) keeps
both, {"addends": {"bias": elements, "recurrent_bias": elements}}, as tensors until they are
written and then as base64. They are advice, like the record: they are what the sum is made of
only if they add up to it bit for bit; the weights may have been trained since.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .. import dtypes
from ..tree import Array, Tensor
from .pieces import Computed

KEY = "addends"
MOST = 4 << 20  # bytes of addends that a file keeps


def total(arrays: Iterable[Array]) -> Array:
    """The sum; what is all zeros is left out, as -0 + 0 would be 0."""
    first, *more = arrays
    for other in more:
        first = first + other if np.any(other) else first
    return first


def nbytes(addends: Mapping[str, Tensor]) -> int:
    """Bytes of the elements together."""
    return sum(tensor.nbytes for tensor in addends.values())


def apart(sum_: Tensor, told: Any, role: str) -> dict[str, Tensor]:
    """The tensors that were added up to `sum_`, which has the role `role`, under their roles.

    Nothing where `told` is not what adds up to it. Reads the sum, if it is no larger than MOST.
    """
    second = f"{role.removesuffix('bias')}recurrent_bias"
    if not isinstance(told, Mapping) or set(told) != {role, second} or sum_.nbytes > MOST:
        return {}
    if dtypes.get(sum_.dtype).kind != "float" or dtypes.get(sum_.dtype).packed:
        return {}
    arrays = {one: _elements(told[one], sum_) for one in (role, second)}
    found = {one: array for one, array in arrays.items() if array is not None}
    if len(found) < len(arrays):
        return {}
    with np.errstate(all="ignore"):
        same = total(found.values()).tobytes() == sum_.read().tobytes()
    return {one: _holding(sum_, array) for one, array in found.items()} if same else {}


def _elements(value: Any, like: Tensor) -> Array | None:
    """Elements of the dtype and shape of `like`; None where they are anything else."""
    if isinstance(value, Tensor):
        return value.read() if (value.dtype, value.shape) == (like.dtype, like.shape) else None
    if not isinstance(value, str) or len(value) > 4 * (like.nbytes + 2) // 3 + 4:
        return None
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != like.nbytes:
        return None
    return np.frombuffer(raw, dtypes.get(like.dtype).numpy).reshape(like.shape)


def _holding(like: Tensor, array: Array) -> Tensor:
    return replace(like, data=Computed(lambda: array), storage=None, quantization=None)
