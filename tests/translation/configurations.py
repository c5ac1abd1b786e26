"""Layers of every kind in several configurations, as Keras has them and as torch does.

kind -> name -> Config. Weights alone are translated; strides, padding, activations and merge modes
are code, which both sides have: Keras in its options, torch in the `run` that is written here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .layers import Between, Stacked, separable

Run = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Config:
    """layer: keras.layers -> what is called with the input, its weights named "it/...".

    shape: of the input, the batch included. module: what takes the weights in torch, None where
    nothing does. run: (module, input) -> output, both laid out as in Keras. refused: what the
    error says where torch has no equal. lossy: torch has more numbers than Keras; told so.
    integers: the input's numbers are integers below this. dynamo: only torch's newer exporter
    writes it as ONNX.
    """

    layer: Callable[[Any], Any]
    shape: tuple[int, ...]
    module: Callable[[], nn.Module] | None
    run: Run
    refused: str = ""
    lossy: bool = False
    integers: int = 0
    dynamo: bool = False


class Twin(nn.Module):
    """A configuration in torch, under the names of the translated weights."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        assert config.module is not None
        self.it = config.module()
        self.how = config.run

    def forward(self, x: Any) -> Any:
        return self.how(self.it, x)


def plain(module: Any, x: Any) -> Any:
    return module(x)


def to_first(x: Any) -> Any:
    return x.permute(0, x.ndim - 1, *range(1, x.ndim - 1))


def to_last(x: Any) -> Any:
    return x.permute(0, *range(2, x.ndim), 1)


def first(module: Any, x: Any) -> Any:
    """A module that takes channels first."""
    return to_last(module(to_first(x)))


def then(activation: Callable[[Any], Any], run: Run = plain) -> Run:
    return lambda module, x: activation(run(module, x))


def around(*pads: int) -> Run:
    """Zeros before and after each axis of an image, the last axis first, as F.pad has them."""
    return lambda module, x: to_last(module(F.pad(to_first(x), pads)))


CONFIGS: dict[str, dict[str, Config]] = {}


def add(kind: str, name: str, *args: Any, **options: Any) -> None:
    cases = CONFIGS.setdefault(kind, {})
    assert name not in cases
    cases[name] = Config(*args, **options)


# --- dense ---------------------------------------------------------------------------------------

for name, activation in (
    *(("relu", F.relu), ("gelu", F.gelu), ("tanh", torch.tanh), ("silu", F.silu)),
    *(("elu", F.elu), ("softplus", F.softplus), ("hard_sigmoid", F.hardsigmoid)),
):
    add(
        "dense",
        f"activation={name}",
        lambda L, name=name: L.Dense(5, name, name="it"),
        (3, 7),
        lambda: nn.Linear(7, 5),
        then(activation),
    )
add("dense", "plain", lambda L: L.Dense(5, name="it"), (3, 7), lambda: nn.Linear(7, 5), plain)
add(
    "dense",
    "no bias",
    lambda L: L.Dense(5, use_bias=False, name="it"),
    (3, 7),
    lambda: nn.Linear(7, 5, bias=False),
    plain,
)
add("dense", "series", lambda L: L.Dense(5, name="it"), (3, 4, 7), lambda: nn.Linear(7, 5), plain)
add(
    "dense",
    "after Flatten",
    lambda L: lambda x: L.Dense(5, name="it")(L.Flatten()(L.MaxPooling2D(2)(x))),
    (3, 8, 6, 2),
    lambda: nn.Linear(24, 5),
    lambda module, x: module(F.max_pool2d(to_first(x), 2).flatten(1)),
)


def _einsum(
    name: str, equation: str, shape: tuple[int, ...], out: Any, bias: str, run: Any
) -> None:
    sizes = [n for n in out if n]
    width = 1
    for n in sizes:
        width *= n
    add(
        "einsum dense",
        name,
        lambda L: L.EinsumDense(equation, out, bias_axes=bias or None, name="it"),
        shape,
        lambda: nn.Linear(shape[-1], width, bias=bool(bias)),
        run,
    )


_einsum("matrix", "abc,cd->abd", (3, 6, 4), (None, 5), "d", plain)
_einsum("no bias", "abc,cd->abd", (3, 6, 4), (None, 5), "", plain)
_einsum("heads", "ab,bcd->acd", (3, 4), (2, 3), "cd", lambda m, x: m(x).unflatten(-1, (2, 3)))

# --- convolutions --------------------------------------------------------------------------------

_SHAPES = {1: (2, 11, 4), 2: (2, 9, 8, 4), 3: (2, 6, 5, 7, 4)}
_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def same(sizes: Sequence[int], kernel: int, stride: int) -> list[int]:
    """What `same` adds: what is missing, the odd one at the end."""
    pads: list[int] = []
    for size in reversed(sizes):
        missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        pads += [missing // 2, missing - missing // 2]
    return pads


def _conv(n: int, name: str, options: dict[str, Any], module: dict[str, Any], run: Any) -> None:
    add(
        f"conv{n}d",
        name,
        lambda L: getattr(L, f"Conv{n}D")(6, 3, name="it", **options),
        _SHAPES[n],
        lambda: _CONV[n](4, 6, 3, **module),
        run,
    )


for n, shape in _SHAPES.items():
    sizes = shape[1:-1]
    _conv(n, "valid", {}, {}, first)
    _conv(n, "same", {"padding": "same"}, {"padding": "same"}, first)
    _conv(n, "strides", {"strides": 2}, {"stride": 2}, first)
    pads = same(sizes, 3, 2)
    _conv(n, "same, strides", {"strides": 2, "padding": "same"}, {"stride": 2}, around(*pads))
    _conv(n, "dilation", {"dilation_rate": 2}, {"dilation": 2}, first)
    _conv(n, "groups", {"groups": 2}, {"groups": 2}, first)
    _conv(n, "no bias", {"use_bias": False}, {"bias": False}, first)
    _conv(n, "relu", {"activation": "relu"}, {}, then(F.relu, first))
_conv(1, "causal", {"padding": "causal"}, {}, around(2, 0))
_conv(
    1, "causal, dilation", {"padding": "causal", "dilation_rate": 2}, {"dilation": 2}, around(4, 0)
)


def _transposed(
    n: int,
    name: str,
    kernel: int,
    options: dict[str, Any],
    module: dict[str, Any],
    run: Any = first,
) -> None:
    add(
        f"conv{n}d transposed",
        name,
        lambda L: getattr(L, f"Conv{n}DTranspose")(5, kernel, name="it", **options),
        _SHAPES[n],
        lambda: _TRANSPOSED[n](4, 5, kernel, **module),
        run,
    )


for n in _SHAPES:
    _transposed(n, "valid", 3, {}, {})
    _transposed(n, "strides", 2, {"strides": 2}, {"stride": 2})
    _transposed(n, "no bias", 2, {"strides": 2, "use_bias": False}, {"stride": 2, "bias": False})
    _transposed(n, "same", 4, {"strides": 2, "padding": "same"}, {"stride": 2, "padding": 1})


def _depthwise(
    n: int, name: str, options: dict[str, Any], module: dict[str, Any], run: Any
) -> None:
    many = 4 * options.get("depth_multiplier", 1)
    add(
        f"depthwise conv{n}d",
        name,
        lambda L: getattr(L, f"DepthwiseConv{n}D")(3, name="it", **options),
        _SHAPES[n],
        lambda: _CONV[n](4, many, 3, groups=4, **module),
        run,
    )


for n in (1, 2):
    _depthwise(n, "valid", {}, {}, first)
    _depthwise(n, "same", {"padding": "same"}, {"padding": "same"}, first)
    _depthwise(n, "strides", {"strides": 2}, {"stride": 2}, first)
    _depthwise(n, "multiplier", {"depth_multiplier": 2}, {}, first)
    _depthwise(n, "no bias", {"use_bias": False}, {"bias": False}, first)
    add(
        f"separable conv{n}d",
        "plain",
        lambda L, n=n: getattr(L, f"SeparableConv{n}D")(5, 3, depth_multiplier=2, name="it"),
        _SHAPES[n],
        lambda n=n: separable(n),
        first,
    )
    add(
        f"separable conv{n}d",
        "multiplier 1, no bias",
        lambda L, n=n: getattr(L, f"SeparableConv{n}D")(5, 3, use_bias=False, name="it"),
        _SHAPES[n],
        lambda n=n: nn.Sequential(
            OrderedDict(
                depthwise=_CONV[n](4, 4, 3, groups=4, bias=False),
                pointwise=_CONV[n](4, 5, 1, bias=False),
            )
        ),
        first,
    )

# --- embeddings, norms, PReLU --------------------------------------------------------------------

add(
    "embedding",
    "plain",
    lambda L: L.Embedding(11, 4, name="it"),
    (3, 6),
    lambda: nn.Embedding(11, 4),
    lambda module, x: module(x.long()),
    integers=11,
)
_IMAGE = (2, 5, 6, 4)


def _norm(
    kind: str, name: str, layer: Any, module: Any, run: Any, shape: Any = _IMAGE, **more: Any
) -> None:
    add(kind, name, layer, shape, module, run, **more)


_norm(
    "batch norm",
    "image",
    lambda L: L.BatchNormalization(epsilon=1e-5, name="it"),
    lambda: nn.BatchNorm2d(4).eval(),
    first,
)
_norm(
    "batch norm",
    "epsilon",
    lambda L: L.BatchNormalization(name="it"),
    lambda: nn.BatchNorm2d(4, eps=1e-3).eval(),
    first,
)
_norm(
    "batch norm",
    "vector",
    lambda L: L.BatchNormalization(name="it"),
    lambda: nn.BatchNorm1d(4, eps=1e-3).eval(),
    plain,
    (3, 4),
)
for missing in ({"scale": False}, {"center": False}, {"scale": False, "center": False}):
    _norm(
        "batch norm",
        f"no {' and '.join(missing)}",
        lambda L, missing=missing: L.BatchNormalization(name="it", **missing),
        lambda: nn.BatchNorm2d(4, eps=1e-3).eval(),
        first,
    )
_norm(
    "layer norm",
    "plain",
    lambda L: L.LayerNormalization(epsilon=1e-5, name="it"),
    lambda: nn.LayerNorm(4),
    plain,
    (3, 7, 4),
)
_norm(
    "layer norm",
    "no center",
    lambda L: L.LayerNormalization(epsilon=1e-5, center=False, name="it"),
    lambda: nn.LayerNorm(4),
    plain,
    (3, 7, 4),
)
for groups in (2, 4):
    _norm(
        "group norm",
        f"groups={groups}",
        lambda L, groups=groups: L.GroupNormalization(groups, epsilon=1e-5, name="it"),
        lambda groups=groups: nn.GroupNorm(groups, 4),
        first,
    )
_norm(
    "instance norm",
    "plain",
    lambda L: L.GroupNormalization(-1, epsilon=1e-5, name="it"),
    lambda: nn.InstanceNorm2d(4, affine=True),
    first,
)
_norm(
    "rms norm",
    "plain",
    lambda L: L.RMSNormalization(epsilon=1e-6, name="it"),
    lambda: nn.RMSNorm(4, eps=1e-6),
    plain,
    (3, 7, 4),
    dynamo=True,
)
_norm(
    "prelu", "shared", lambda L: L.PReLU(shared_axes=[1, 2], name="it"), lambda: nn.PReLU(4), first
)
_norm("prelu", "vector", lambda L: L.PReLU(name="it"), lambda: nn.PReLU(4), plain, (3, 4))

# --- recurrent -----------------------------------------------------------------------------------

_RNN = {"SimpleRNN": ("simple rnn", nn.RNN), "LSTM": ("lstm", nn.LSTM), "GRU": ("gru", nn.GRU)}
_SERIES = (2, 6, 4)


def sequence(module: Any, x: Any) -> Any:
    return module(x)[0]


def last(module: Any, x: Any) -> Any:
    return module(x)[0][:, -1]


def backwards(module: Any, x: Any) -> Any:
    return module(x.flip(1))[0]


def merged(mode: str | None) -> Run:
    """The two directions of a whole series, put together as Keras' merge_mode says."""

    def run(module: Any, x: Any) -> Any:
        one, other = module(x)[0].chunk(2, -1)
        if mode == "sum":
            return one + other
        if mode == "mul":
            return one * other
        return (one + other) / 2 if mode == "ave" else torch.cat([one, other], -1)

    return run


def ends(module: Any, x: Any) -> Any:
    """Where each direction ends: the last step of one, the first of the other."""
    one, other = module(x)[0].chunk(2, -1)
    return torch.cat([one[:, -1], other[:, 0]], -1)


def _recurrent(
    cls: str, name: str, options: dict[str, Any], run: Any, module: Any = None, **more: Any
) -> None:
    kind, made = _RNN[cls]
    bias = options.get("use_bias", True)
    more.setdefault("lossy", cls != "GRU" and bias)
    add(
        kind,
        name,
        lambda L: getattr(L, cls)(5, name="it", **options),
        _SERIES,
        module or (lambda: made(4, 5, batch_first=True, bias=bias)),
        run,
        **more,
    )


for cls, (kind, made) in _RNN.items():
    whole = {"return_sequences": True}
    _recurrent(cls, "last step", {}, last)
    _recurrent(cls, "sequence", whole, sequence)
    _recurrent(cls, "no bias", {**whole, "use_bias": False}, sequence)
    _recurrent(cls, "backwards", {**whole, "go_backwards": True}, backwards)
    for mode in ("concat", "sum", "mul", "ave"):
        add(
            f"bidirectional {kind}",
            f"merge_mode={mode}",
            lambda L, cls=cls, mode=mode: L.Bidirectional(
                getattr(L, cls)(5, return_sequences=True, name="inner"), mode, name="it"
            ),
            _SERIES,
            lambda made=made: made(4, 5, batch_first=True, bidirectional=True),
            merged(mode),
            lossy=cls != "GRU",
        )
    add(
        f"bidirectional {kind}",
        "last step",
        lambda L, cls=cls: L.Bidirectional(getattr(L, cls)(5, name="inner"), name="it"),
        _SERIES,
        lambda made=made: made(4, 5, batch_first=True, bidirectional=True),
        ends,
        lossy=cls != "GRU",
    )
_recurrent(
    "SimpleRNN",
    "relu",
    {"activation": "relu"},
    last,
    lambda: nn.RNN(4, 5, nonlinearity="relu", batch_first=True),
)
_recurrent("GRU", "reset before", {"reset_after": False}, last, refused="reset_after")
for cls, options in (
    ("LSTM", {"activation": "relu"}),
    ("LSTM", {"recurrent_activation": "hard_sigmoid"}),
    ("GRU", {"activation": "softsign"}),
):  # torch.nn has no layer that computes so
    said = ", ".join(f"{key}={value}" for key, value in options.items())
    add(
        _RNN[cls][0],
        said,
        lambda L, cls=cls, options=options: getattr(L, cls)(5, name="it", **options),
        _SERIES,
        None,
        plain,
    )
add(
    "stacked rnn",
    "one size",
    lambda L: L.RNN([L.LSTMCell(5), L.LSTMCell(5)], return_sequences=True, name="it"),
    _SERIES,
    lambda: nn.LSTM(4, 5, 2, batch_first=True),
    sequence,
    lossy=True,
)
add(
    "stacked rnn",
    "two sizes",
    lambda L: L.RNN([L.LSTMCell(5), L.LSTMCell(3)], return_sequences=True, name="it"),
    _SERIES,
    Stacked,
    plain,
    lossy=True,
)

# --- attention -----------------------------------------------------------------------------------


def itself(layer: Any) -> Any:
    return lambda x: layer(x, x)


add(
    "attention",
    "fused in torch",
    lambda L: itself(L.MultiHeadAttention(2, 3, name="it")),
    (2, 5, 6),
    lambda: nn.MultiheadAttention(6, 2, batch_first=True),
    lambda module, x: module(x, x, x, need_weights=False)[0],
)
add(
    "attention",
    "narrow heads",
    lambda L: itself(L.MultiHeadAttention(2, 2, name="it")),
    (2, 5, 6),
    lambda: Between(6, 2, 2),
    plain,
)
