"""What is likely to be wrong in the layer where two models part.

Each hypothesis is computed: the layer in NumPy with another epsilon, other pads, another order of
gates, on the very input that the layer had. One whose result is the other model's is a cause that
was reproduced; where none is, what usually goes wrong with such a layer is told as a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graphs.ir import Layer
from ..graphs.onnx_export.activations import name_of
from ..tree import Array
from . import reference
from .compare import gap_of, nearest
from .reference import ACTIVATIONS

Hypothesis = tuple[str, str, Array]  # the cause in a word or two, what it says, the layer's result

EXPLAINED = 0.02  # of the difference that may be left where a hypothesis explains it
EPSILONS = (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 1e-4, 1e-2)


@dataclass(frozen=True)
class Cause:
    """name: epsilon, padding, ... text: for people. left: how far the layer's result under the
    hypothesis is from the other model's; None for a guess that was not computed."""

    name: str
    text: str
    left: float | None = None


@dataclass(frozen=True)
class Suspect:
    """layer: as the Keras file has it. x: its input; a: its output there; b: candidates for the
    other model's, whose own input was `given`. images: shapes (*spatial, channels) of what went
    before. version: Keras' major one."""

    layer: Layer
    x: Array
    a: Array
    b: list[Array]
    given: list[Array]
    images: Sequence[tuple[int, ...]] = ()
    version: int = 3

    def option(self, name: str, default: Any = None) -> Any:
        value = self.layer.config.get(name, default)
        return default if value is None else value

    def numbers(self, name: str, count: int, default: int = 1) -> list[int]:
        value = self.option(name, default)
        return [int(value)] * count if not isinstance(value, (list, tuple)) else list(value)

    def weight(self, *roles: str) -> Array | None:
        """A weight by the last part of its role, in double precision."""
        for role, tensor in self.layer.weights.items():
            if role.rpartition("/")[2] in roles:
                return np.asarray(tensor.read(), np.float64)
        return None

    @property
    def activation(self) -> str:
        name = name_of(self.option("activation")) or ""
        return "hard_sigmoid (of Keras 2)" if name == "hard_sigmoid" and self.version < 3 else name


def cause_of(suspect: Suspect) -> Cause | None:
    """The hypothesis that explains the difference best, if any does."""
    gap, _ = nearest(suspect.a, suspect.b)
    if _is_permuted(suspect):
        return Cause(
            "flatten order",
            "the flattened image reaches it in another order (channels first, or last), and its "
            "rows were not permuted with it",
            0.0,
        )
    best: Cause | None = None
    for name, text, made in _hypotheses(suspect):
        left = min(nearest(one, suspect.b)[0] for one in _results(suspect, made))
        if left < EXPLAINED * gap and (best is None or left < (best.left or 0.0) * 0.5):
            best = Cause(name, text, left)
    return best


def _results(suspect: Suspect, made: Array) -> list[Array]:
    """With and without the layer's activation: a torch module is seen before it."""
    function = ACTIVATIONS.get(suspect.activation)
    return [made] if function is None else [made, function(made)]


def _is_permuted(suspect: Suspect) -> bool:
    """Does the other model's layer have the same numbers for an input, in another order?"""
    if suspect.layer.kind != "Dense" or suspect.x.ndim != 2:
        return False
    for given in suspect.given:
        far = 1e-3 * float(np.abs(suspect.x).max(initial=0.0))
        if given.shape == suspect.x.shape and gap_of(given, suspect.x) > far:
            return bool(np.allclose(np.sort(given, 1), np.sort(suspect.x, 1), rtol=1e-4, atol=1e-5))
    return False


def _wide(array: Any) -> Array:
    return np.asarray(array, np.float64)


def _hypotheses(suspect: Suspect) -> Iterator[Hypothesis]:
    kind = suspect.layer.kind
    try:
        if kind == "BatchNormalization":
            yield from _batch_norm(suspect)
        elif kind == "LayerNormalization":
            yield from _layer_norm(suspect)
        elif kind.endswith(("LSTM", "GRU", "SimpleRNN")) or kind == "Bidirectional":
            yield from _recurrent(suspect)
        elif kind == "Dense":
            yield from _dense(suspect)
        elif "Pooling" in kind and not kind.startswith("Global"):
            yield from _pooling(suspect)
        elif kind.endswith("Transpose"):
            yield from _transposed(suspect)
        elif "Conv" in kind:
            yield from _conv(suspect)
        else:
            yield from _activations(suspect.x, suspect.activation or kind)
    except (ValueError, TypeError, KeyError, IndexError):
        return  # a layer in a way that reference.py does not know


def _activations(x: Array, own: str) -> Iterator[Hypothesis]:
    for name, function in ACTIVATIONS.items():
        if name != own:
            yield "activation", f"its activation is {name}, not {own}", function(_wide(x))


def _batch_norm(s: Suspect) -> Iterator[Hypothesis]:
    mean, variance = s.weight("moving_mean"), s.weight("moving_variance")
    if mean is None or variance is None:
        return
    axis = s.option("axis", -1)
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    x = np.moveaxis(_wide(s.x), axis, -1)
    gamma, beta = s.weight("gamma"), s.weight("beta")
    own = float(s.option("epsilon", 1e-3))

    def normal(mean: Array, variance: Array, epsilon: float) -> Array:
        y = (x - mean) / np.sqrt(variance + epsilon)
        y = y * (1 if gamma is None else gamma) + (0 if beta is None else beta)
        return np.moveaxis(y, -1, axis)

    for epsilon in EPSILONS:
        if epsilon != own:
            text = f"its epsilon is {epsilon:g}, not {own:g}"
            yield "epsilon", text, normal(mean, variance, epsilon)
    yield "statistics", "mean and variance are exchanged", normal(variance, np.abs(mean), own)
    axes = tuple(range(x.ndim - 1))
    batch = normal(x.mean(axes), x.var(axes), own)
    yield "statistics", "it is in training mode: the batch's own statistics", batch


def _layer_norm(s: Suspect) -> Iterator[Hypothesis]:
    x = _wide(s.x)
    axes = s.option("axis", -1)
    axes = tuple(axes) if isinstance(axes, (list, tuple)) else (axes,)
    gamma, beta = s.weight("gamma"), s.weight("beta")
    own = float(s.option("epsilon", 1e-3))
    shape = [n if i in {a % x.ndim for a in axes} else 1 for i, n in enumerate(x.shape)]
    for epsilon in EPSILONS:
        if epsilon != own:
            y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)
            y = y * (1 if gamma is None else gamma.reshape(shape))
            y = y + (0 if beta is None else beta.reshape(shape))
            yield "epsilon", f"its epsilon is {epsilon:g}, not {own:g}", y


def _dense(s: Suspect) -> Iterator[Hypothesis]:
    kernel, bias = s.weight("kernel"), s.weight("bias")
    if kernel is None:
        return
    x = _wide(s.x)
    shift = 0.0 if bias is None else bias
    for image in s.images:
        if math.prod(image) != x.shape[-1] or x.ndim != 2:
            continue
        turned = np.moveaxis(x.reshape(-1, *image), -1, 1).reshape(x.shape)
        text = f"the flattened image of {image} is taken channels first"
        yield "flatten order", text, turned @ kernel + shift
        back = np.moveaxis(x.reshape(-1, image[-1], *image[:-1]), 1, -1).reshape(x.shape)
        yield (
            "flatten order",
            f"the flattened image of {image} is taken as if channels first",
            (back @ kernel + shift),
        )
    if kernel.shape[0] == kernel.shape[1]:
        yield "transposition", "its square kernel is not transposed", x @ kernel.T + shift
    if bias is not None:
        yield "bias", "its bias is left out", x @ kernel
    own = s.activation
    yield from (h for h in _activations(x @ kernel + shift, own) if own)


def _same(size: int, extent: int, stride: int) -> int:
    return max(0, (-(-size // stride) - 1) * stride + extent - size)


def _paddings(
    s: Suspect, extents: Sequence[int], strides: Sequence[int]
) -> Iterator[tuple[str, reference.Pads]]:
    """Other pads than the layer's: (what they are, the pads)."""
    sizes = s.x.shape[1:-1]
    totals = [_same(n, k, t) for n, k, t in zip(sizes, extents, strides, strict=True)]
    half = [(k // 2, k // 2) for k in extents]
    yield "even padding, as much before as after (padding=k//2)", half
    less = [((k - 1) // 2, (k - 1) // 2) for k in extents]
    if less != half:
        yield "even padding, as much before as after (padding=(k-1)//2)", less
    yield (
        "the odd one of the padding before, not after (SAME_LOWER)",
        [(total - total // 2, total // 2) for total in totals],
    )
    yield "padding as of `same`, more after", [(t // 2, t - t // 2) for t in totals]
    yield "no padding", [(0, 0)] * len(extents)
    yield "all padding before (causal)", [(k - 1, 0) for k in extents]


def _conv(s: Suspect) -> Iterator[Hypothesis]:
    depthwise = s.layer.kind.startswith("Depthwise")
    kernel, bias = s.weight("kernel", "depthwise_kernel"), s.weight("bias")
    if kernel is None or s.layer.kind.startswith("Separable"):
        return
    x, count = _wide(s.x), kernel.ndim - 2
    strides, dilations = s.numbers("strides", count), s.numbers("dilation_rate", count)
    wide = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    shift = 0.0 if bias is None else bias

    def made(kernel: Array, pads: reference.Pads) -> Array:
        y = reference.conv(
            x, kernel, stride=strides, dilation=dilations, pads=pads, depthwise=depthwise
        )
        return np.asarray(y + shift)

    for text, pads in _paddings(s, wide, strides):
        yield "padding", f"it has {text}", made(kernel, pads)
    own = _own_pads(s, wide, strides)
    if count == 2 and kernel.shape[0] == kernel.shape[1]:
        turned = made(np.swapaxes(kernel, 0, 1), own)
        yield "transposition", "height and width of its kernel are exchanged", turned
    flipped = made(kernel[(slice(None, None, -1),) * count], own)
    yield "transposition", "its kernel is flipped", flipped
    right = made(kernel, own)
    if bias is not None:
        yield "bias", "its bias is left out", right - shift
    own_activation = s.activation
    yield from (h for h in _activations(right, own_activation) if own_activation)


def _own_pads(s: Suspect, extents: Sequence[int], strides: Sequence[int]) -> reference.Pads:
    padding = str(s.option("padding", "valid")).lower()
    if padding == "causal":
        return [(k - 1, 0) for k in extents]
    if padding != "same":
        return [(0, 0)] * len(extents)
    sizes = s.x.shape[1:-1]
    totals = [_same(n, k, t) for n, k, t in zip(sizes, extents, strides, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def _transposed(s: Suspect) -> Iterator[Hypothesis]:
    kernel, bias = s.weight("kernel"), s.weight("bias")
    if kernel is None:
        return
    count = kernel.ndim - 2
    if any(d != 1 for d in s.numbers("dilation_rate", count)):
        return
    whole = reference.conv_transpose(_wide(s.x), kernel, stride=s.numbers("strides", count)) + (
        0.0 if bias is None else bias
    )
    shape = s.a.shape[1:-1]
    rest = [n - m for n, m in zip(whole.shape[1:-1], shape, strict=True)]
    for text, cuts in (
        ("the start of its result is cut off, not the end", [(r, 0) for r in rest]),
        ("the end of its result is cut off", [(0, r) for r in rest]),
        ("its result is cut more at the start", [(r - r // 2, r // 2) for r in rest]),
        ("its result is cut more at the end", [(r // 2, r - r // 2) for r in rest]),
    ):
        yield "padding", text, reference.padded(whole, [(-b, -a) for b, a in cuts])


def _pooling(s: Suspect) -> Iterator[Hypothesis]:
    how = "max" if "Max" in s.layer.kind else "mean"
    x = _wide(s.x)
    count = x.ndim - 2
    extents = s.numbers("pool_size", count, 2)
    strides = extents if s.option("strides") is None else s.numbers("strides", count)
    own = _own_pads(s, extents, strides)
    if how == "mean":
        counted = reference.pool(x, extents, strides, own, how, all_in=True)
        text = "its averages count the padding (count_include_pad=True), Keras' do not"
        yield "pooling count", text, counted
        half = [(k // 2, k // 2) for k in extents]
        counted = reference.pool(x, extents, strides, half, how, all_in=True)
        yield "pooling count", f"{text}, and it is even", counted
    for text, pads in _paddings(s, extents, strides):
        pooled = reference.pool(x, extents, strides, pads, how, all_in=False)
        yield "padding", f"it has {text}", pooled
    other = "mean" if how == "max" else "max"
    yield (
        "kind",
        f"it is a {other} pooling",
        reference.pool(x, extents, strides, own, other, all_in=False),
    )


def _recurrent(s: Suspect) -> Iterator[Hypothesis]:
    """One direction; of a Bidirectional both in the same wrong way."""
    kind, config = s.layer.kind, s.layer.config
    if kind == "Bidirectional":
        inner = config.get("layer")
        if not isinstance(inner, Mapping):
            return
        kind, config = str(inner["class_name"]), inner["config"]
    directions = _directions(s)
    whole = bool(config.get("return_sequences"))
    merge = s.layer.config.get("merge_mode", "concat") if len(directions) > 1 else "concat"
    if merge != "concat":
        return
    for name, text, options in _variants(kind, config, s.version):
        parts, ends = [], []
        for weights, back in directions:
            x = _wide(s.x[:, ::-1] if back else s.x)
            series = _run(kind, x, weights, config, s.version, options)
            series = series[:, ::-1] if back and len(directions) > 1 else series
            parts.append(series)
            ends.append(series[:, 0] if back and len(directions) > 1 else series[:, -1])
        made = np.concatenate(parts if whole else ends, -1)
        if name:
            yield name, text, made
        elif len(directions) > 1 and not whole:
            last = np.concatenate([part[:, -1] for part in parts], -1)
            yield "last step", "its backward half is taken at the last step, not the first", last


def _directions(s: Suspect) -> list[tuple[dict[str, Array], bool]]:
    """(weights by role, backwards?) of each direction."""
    apart: dict[str, dict[str, Array]] = {}
    for role, tensor in s.layer.weights.items():
        head = role.partition("/")[0] if s.layer.kind == "Bidirectional" else ""
        found = np.asarray(tensor.read(), np.float64)
        apart.setdefault(head, {})[role.rpartition("/")[2]] = found
    own = bool(s.layer.config.get("go_backwards"))
    return [(weights, own or head.startswith("backward")) for head, weights in apart.items()]


def _variants(
    kind: str, config: Mapping[str, Any], version: int
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "", "", {}  # as it should be
    gates = {"LSTM": "i f c o", "GRU": "z r h"}.get(kind, "").split()
    for order in reference.orders(len(gates))[1:] if gates else ():
        served = " ".join(gates[i] for i in order)
        text = f"its gates are taken in the order {served}, not {' '.join(gates)}"
        yield "gate order", text, {"order": order}
    if kind == "GRU":
        after = not config.get("reset_after", False)
        how = "after" if after else "before"
        text = f"its reset gate acts {how} the product with the weights"
        yield "reset gate", text, {"reset_after": after}
    for option, key in (("activation", "activation"), ("recurrent_activation", "gate")):
        if key == "gate" and kind == "SimpleRNN":
            continue
        own = _activation(config.get(option), version, "tanh" if key == "activation" else "sigmoid")
        for name in ("tanh", "relu", "sigmoid", "hard_sigmoid", "hard_sigmoid (of Keras 2)"):
            if name != own:
                yield "activation", f"its {option} is {name}, not {own}", {key: name}


def _activation(spec: Any, version: int, default: str) -> str:
    name = default if spec is None else name_of(spec) or default
    return "hard_sigmoid (of Keras 2)" if name == "hard_sigmoid" and version < 3 else name


def _run(
    kind: str,
    x: Array,
    weights: Mapping[str, Array],
    config: Mapping[str, Any],
    version: int,
    changes: Mapping[str, Any],
) -> Array:
    kernel, recurrent = weights["kernel"], weights["recurrent_kernel"]
    bias = weights.get("bias", np.zeros(kernel.shape[1]))
    options = {"activation": _activation(config.get("activation"), version, "tanh")}
    if kind == "SimpleRNN":
        return reference.rnn(x, kernel, recurrent, bias, **{**options, **changes})
    options["gate"] = _activation(config.get("recurrent_activation"), version, "sigmoid")
    if kind == "LSTM":
        return reference.lstm(x, kernel, recurrent, bias, **{**options, **changes})
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    after = {"reset_after": bool(config.get("reset_after", False))}
    return reference.gru(x, kernel, recurrent, both, **{**options, **after, **changes})
