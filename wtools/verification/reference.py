"""Layers in NumPy, channels last, in double precision: for a hypothesis, not for speed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ..tree import Array

Pads = Sequence[tuple[int, int]]


def _erf(x: Array) -> Array:
    found: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return found


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _leaky(slope: float) -> Callable[[Array], Array]:
    return lambda x: np.where(x > 0, x, slope * x)


# name -> the function; the names of Keras 3 first
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softmax": _softmax,
    "log_softmax": lambda x: np.log(_softmax(x)),
    "elu": _elu,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * _elu(x)),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "gelu (tanh)": _gelu_tanh,
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_sigmoid (of Keras 2)": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": _leaky(0.2),
    "leaky_relu (slope 0.3)": _leaky(0.3),
    "leaky_relu (slope 0.01)": _leaky(0.01),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
}
ACTIVATIONS |= {"swish": ACTIVATIONS["silu"], "hard_swish": ACTIVATIONS["hard_silu"]}


def windows(
    x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Array:
    """(batch, *out, channels, *kernel): the windows of an image that has its padding."""
    axes = tuple(range(1, x.ndim - 1))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(x, extents, axes)
    cut = (slice(None), *(slice(None, None, s) for s in stride), slice(None))
    return found[(*cut, *(slice(None, None, d) for d in dilation))]


def padded(x: Array, pads: Pads, value: float = 0.0) -> Array:
    """The image with `value` around it; negative numbers cut it."""
    cut = [slice(None)] * x.ndim
    for axis, (before, after) in enumerate(pads, 1):
        cut[axis] = slice(max(0, -before), x.shape[axis] - max(0, -after))
    around = [(0, 0), *((max(0, b), max(0, a)) for b, a in pads), (0, 0)]
    return np.pad(x[tuple(cut)], around, constant_values=value)


def conv(
    x: Array,
    kernel: Array,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
    depthwise: bool = False,
) -> Array:
    """A convolution; kernel (*spatial, in / groups, out), depthwise (*spatial, in, multiplier)."""
    *extents, size, filters = kernel.shape
    seen = windows(padded(x, pads), extents, stride, dilation)
    count = len(extents)
    taps = [*range(seen.ndim - count, seen.ndim)]
    if depthwise:
        space = "uvw"[:count]
        made: Array = np.einsum(f"...c{space},{space}cm->...cm", seen, kernel)
        return made.reshape(*seen.shape[: count + 1], size * filters)
    groups = x.shape[-1] // size
    parts = []
    for g in range(groups):
        part = seen[(slice(None),) * (count + 1) + (slice(g * size, (g + 1) * size),)]
        mine = kernel[..., g * (filters // groups) : (g + 1) * (filters // groups)]
        parts.append(np.tensordot(part, mine, ([*taps, count + 1], [*range(count), count])))
    return np.concatenate(parts, -1)


def conv_transpose(x: Array, kernel: Array, *, stride: Sequence[int]) -> Array:
    """The whole result, nothing cut: kernel (*spatial, out, in)."""
    *extents, _, size = kernel.shape
    wide = np.zeros(
        (x.shape[0], *((n - 1) * s + 1 for n, s in zip(x.shape[1:-1], stride, strict=True)), size)
    )
    wide[(slice(None), *(slice(None, None, s) for s in stride))] = x
    turned = np.swapaxes(kernel[(slice(None, None, -1),) * len(extents)], -1, -2)
    ones = [1] * len(extents)
    return conv(wide, turned, stride=ones, dilation=ones, pads=[(k - 1, k - 1) for k in extents])


def pool(
    x: Array, kernel: Sequence[int], stride: Sequence[int], pads: Pads, how: str, *, all_in: bool
) -> Array:
    """Maxima or means of windows; all_in: the padding counts as zeros in a mean."""
    ones = [1] * len(kernel)
    axes = tuple(range(-len(kernel), 0))
    if how == "max":
        return np.asarray(windows(padded(x, pads, -np.inf), kernel, stride, ones).max(axes))
    sums = windows(padded(x, pads), kernel, stride, ones).sum(axes)
    if all_in:
        return np.asarray(sums / math.prod(kernel))
    inside = windows(padded(np.ones_like(x[:1, ..., :1]), pads), kernel, stride, ones).sum(axes)
    return np.asarray(sums / np.maximum(inside, 1))


def lstm(
    x: Array,
    kernel: Array,
    recurrent: Array,
    bias: Array,
    *,
    order: Sequence[int] = (0, 1, 2, 3),
    activation: str = "tanh",
    gate: str = "sigmoid",
) -> Array:
    """(batch, time, units); order: which of the stored gates serve as i, f, c, o."""
    act, gated = ACTIVATIONS[activation], ACTIVATIONS[gate]
    units = recurrent.shape[0]
    h = c = np.zeros((x.shape[0], units))
    outputs = []
    for t in range(x.shape[1]):
        gates = (x[:, t] @ kernel + h @ recurrent + bias).reshape(-1, 4, units)[:, order]
        c = gated(gates[:, 1]) * c + gated(gates[:, 0]) * act(gates[:, 2])
        h = gated(gates[:, 3]) * act(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def gru(
    x: Array,
    kernel: Array,
    recurrent: Array,
    bias: Array,
    *,
    order: Sequence[int] = (0, 1, 2),
    reset_after: bool = True,
    activation: str = "tanh",
    gate: str = "sigmoid",
) -> Array:
    """(batch, time, units); order: which of the stored gates serve as z, r, h. bias: (2, 3u)."""
    act, gated = ACTIVATIONS[activation], ACTIVATIONS[gate]
    units = recurrent.shape[0]
    weights = recurrent.reshape(units, 3, units)[:, order]
    h = np.zeros((x.shape[0], units))
    outputs = []
    for t in range(x.shape[1]):
        given = (x[:, t] @ kernel + bias[0]).reshape(-1, 3, units)[:, order]
        own = bias[1].reshape(3, units)[list(order)]
        z = gated(given[:, 0] + h @ weights[:, 0] + own[0])
        r = gated(given[:, 1] + h @ weights[:, 1] + own[1])
        after = (
            r * (h @ weights[:, 2] + own[2]) if reset_after else (r * h) @ weights[:, 2] + own[2]
        )
        h = z * h + (1 - z) * act(given[:, 2] + after)
        outputs.append(h)
    return np.stack(outputs, 1)


def rnn(x: Array, kernel: Array, recurrent: Array, bias: Array, *, activation: str) -> Array:
    """(batch, time, units)."""
    h = np.zeros((x.shape[0], recurrent.shape[0]))
    outputs = []
    for t in range(x.shape[1]):
        h = ACTIVATIONS[activation](x[:, t] @ kernel + h @ recurrent + bias)
        outputs.append(h)
    return np.stack(outputs, 1)


def orders(count: int) -> list[tuple[int, ...]]:
    """Every order of that many gates, the stored one first."""
    return list(itertools.permutations(range(count)))
