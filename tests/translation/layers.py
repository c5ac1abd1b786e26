"""Layers of every kind in Keras and in torch, which compute the same with the same weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A layer in both frameworks.

    build: keras.layers -> the layer, named "it". shape: of its input, with the batch. module:
    what torch has for it. run: module, input -> output, both as Keras lays them out; None for
    a module that takes channels first. added: torch -> Keras adds two biases up.
    back: the weights in torch alone tell that it is this layer. options: of the translation.
    """

    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    module: Callable[[], nn.Module]
    run: Callable[[Any, Any], Any] | None = None
    added: bool = False
    back: bool = True
    options: dict[str, Any] = field(default_factory=dict)


def plain(module: Any, x: Any) -> Any:
    result = module(x)
    return result[0] if isinstance(result, tuple) else result


def channels_first(module: Any, x: Any) -> Any:
    return module(x.movedim(-1, 1)).movedim(1, -1)


class Between(nn.Module):
    """nn.Linear layers as attention, for heads whose width is not the model's."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj"):
            self.add_module(name, nn.Linear(width, heads * size))
        self.out_proj = nn.Linear(heads * size, width)
        self.heads = heads

    def forward(self, x: Any) -> Any:
        split = (*x.shape[:2], self.heads, -1)
        q, k, v = (
            p(x).reshape(split).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Stacked(nn.Module):
    """Levels of different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("0", nn.LSTM(4, 5, batch_first=True))
        self.add_module("1", nn.LSTM(5, 3, batch_first=True))

    def forward(self, x: Any) -> Any:
        return self._modules["1"](self._modules["0"](x)[0])[0]  # type: ignore[misc]


def separable(n: int) -> nn.Module:
    conv = {1: nn.Conv1d, 2: nn.Conv2d}[n]
    return nn.Sequential(
        OrderedDict(
            depthwise=conv(4, 8, 3, groups=4, bias=False),
            pointwise=conv(8, 5, 1),
        )
    )


def _conv(n: int, shape: tuple[int, ...], **options: Any) -> Case:
    torch_options = {k: options[k] for k in ("groups",) if k in options}
    torch_options |= {
        "stride": options.get("strides", 1),
        "dilation": options.get("dilation_rate", 1),
    }
    torch_options["bias"] = options.get("use_bias", True)
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[n]
    return Case(
        lambda L: getattr(L, f"Conv{n}D")(6, 2, name="it", **options),
        shape,
        lambda: conv(4, 6, 2, **torch_options),
        channels_first,
    )


def _transposed(n: int, shape: tuple[int, ...]) -> Case:
    conv = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[n]
    return Case(
        lambda L: getattr(L, f"Conv{n}DTranspose")(5, 2, strides=2, name="it"),
        shape,
        lambda: conv(4, 5, 2, 2),
        channels_first,
    )


def _norm(build: Callable[[Any], Any], module: Callable[[], nn.Module], **more: Any) -> Case:
    return Case(build, (2, 5, 5, 4), module, channels_first, **more)


def _recurrent(name: str, module: Any, both: bool = False, **options: Any) -> Case:
    def build(L: Any) -> Any:
        inner = getattr(L, name)(
            5, return_sequences=True, name="it" if not both else "inner", **options
        )
        return L.Bidirectional(inner, name="it") if both else inner

    bias = options.get("use_bias", True)
    return Case(
        build,
        (2, 6, 4),
        lambda: module(4, 5, batch_first=True, bidirectional=both, bias=bias),
        plain,
        added=name != "GRU" and bias,
    )


CASES: dict[str, Case] = {
    "dense": Case(lambda L: L.Dense(5, name="it"), (2, 3), lambda: nn.Linear(3, 5), plain),
    "dense without bias": Case(
        lambda L: L.Dense(5, use_bias=False, name="it"),
        (2, 3),
        lambda: nn.Linear(3, 5, bias=False),
        plain,
    ),
    "dense on sequences": Case(
        lambda L: L.Dense(5, name="it"), (2, 7, 3), lambda: nn.Linear(3, 5), plain
    ),
    "conv1d": _conv(1, (2, 9, 4), strides=2),
    "conv1d dilated": _conv(1, (2, 9, 4), dilation_rate=2),
    "conv2d": _conv(2, (2, 7, 8, 4)),
    "conv2d in groups": _conv(2, (2, 7, 8, 4), groups=2),
    "conv2d without bias": _conv(2, (2, 7, 8, 4), use_bias=False),
    "conv3d": _conv(3, (2, 5, 4, 6, 4)),
    "transposed conv1d": _transposed(1, (2, 5, 4)),
    "transposed conv2d": _transposed(2, (2, 5, 6, 4)),
    "transposed conv3d": _transposed(3, (2, 3, 4, 5, 4)),
    "depthwise conv1d": Case(
        lambda L: L.DepthwiseConv1D(3, name="it"),
        (2, 9, 4),
        lambda: nn.Conv1d(4, 4, 3, groups=4),
        channels_first,
        options={"kinds": {"it": "depthwise_conv1d"}},
    ),
    "depthwise conv2d": Case(
        lambda L: L.DepthwiseConv2D((3, 2), name="it"),
        (2, 9, 8, 4),
        lambda: nn.Conv2d(4, 4, (3, 2), groups=4),
        channels_first,
        options={"kinds": {"it": "depthwise_conv2d"}},
    ),
    "depthwise conv2d with a multiplier": Case(
        lambda L: L.DepthwiseConv2D((3, 2), depth_multiplier=2, name="it"),
        (2, 9, 8, 4),
        lambda: nn.Conv2d(4, 8, (3, 2), groups=4),
        channels_first,
        back=False,
    ),
    "separable conv1d": Case(
        lambda L: L.SeparableConv1D(5, 3, depth_multiplier=2, name="it"),
        (2, 9, 4),
        lambda: separable(1),
        channels_first,
        back=False,
    ),
    "separable conv2d": Case(
        lambda L: L.SeparableConv2D(5, 3, depth_multiplier=2, name="it"),
        (2, 9, 8, 4),
        lambda: separable(2),
        channels_first,
        back=False,
    ),
    "embedding": Case(
        lambda L: L.Embedding(11, 4, name="it"),
        (2, 6),
        lambda: nn.Embedding(11, 4),
        plain,
        options={"kinds": {"it": "embedding"}},
    ),
    "batch norm": _norm(
        lambda L: L.BatchNormalization(epsilon=1e-5, name="it"), lambda: nn.BatchNorm2d(4).eval()
    ),
    "batch norm without scale": _norm(
        lambda L: L.BatchNormalization(scale=False, epsilon=1e-5, name="it"),
        lambda: nn.BatchNorm2d(4).eval(),
        back=False,
    ),
    "batch norm without scale and center": _norm(
        lambda L: L.BatchNormalization(scale=False, center=False, epsilon=1e-5, name="it"),
        lambda: nn.BatchNorm2d(4).eval(),
        back=False,
    ),
    "layer norm": Case(
        lambda L: L.LayerNormalization(epsilon=1e-5, name="it"),
        (2, 7, 4),
        lambda: nn.LayerNorm(4),
        plain,
    ),
    "group norm": _norm(
        lambda L: L.GroupNormalization(2, epsilon=1e-5, name="it"), lambda: nn.GroupNorm(2, 4)
    ),
    "rms norm": Case(
        lambda L: L.RMSNormalization(epsilon=1e-6, name="it"),
        (2, 7, 4),
        lambda: nn.RMSNorm(4, eps=1e-6),
        plain,
    ),
    "prelu": _norm(
        lambda L: L.PReLU(shared_axes=[1, 2], name="it"),
        lambda: nn.PReLU(4),
        options={"kinds": {"it": "prelu"}},
    ),
    "rnn": _recurrent("SimpleRNN", nn.RNN),
    "lstm": _recurrent("LSTM", nn.LSTM),
    "lstm without bias": _recurrent("LSTM", nn.LSTM, use_bias=False),
    "gru": _recurrent("GRU", nn.GRU),
    "bidirectional rnn": _recurrent("SimpleRNN", nn.RNN, both=True),
    "bidirectional lstm": _recurrent("LSTM", nn.LSTM, both=True),
    "bidirectional gru": _recurrent("GRU", nn.GRU, both=True),
    "stacked lstm": Case(
        lambda L: L.RNN([L.LSTMCell(5), L.LSTMCell(5)], return_sequences=True, name="it"),
        (2, 6, 4),
        lambda: nn.LSTM(4, 5, 2, batch_first=True),
        plain,
        added=True,
    ),
    "stacked lstm of two sizes": Case(
        lambda L: L.RNN([L.LSTMCell(5), L.LSTMCell(3)], return_sequences=True, name="it"),
        (2, 6, 4),
        Stacked,
        plain,
        added=True,
        back=False,
    ),
    "attention": Case(
        lambda L: L.MultiHeadAttention(2, 3, name="it"),
        (2, 5, 6),
        lambda: nn.MultiheadAttention(6, 2, batch_first=True),
        lambda module, x: module(x, x, x)[0],
        options={"heads": {"it": 2}},
    ),
    "attention of narrow heads": Case(
        lambda L: L.MultiHeadAttention(2, 2, name="it"),
        (2, 5, 6),
        lambda: Between(6, 2, 2),
        plain,
        back=False,
    ),
    "einsum dense": Case(
        lambda L: L.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d", name="it"),
        (2, 6, 4),
        lambda: nn.Linear(4, 5),
        plain,
        back=False,
    ),
    "einsum dense of three axes": Case(
        lambda L: L.EinsumDense("ab,bcd->acd", output_shape=(2, 3), bias_axes="cd", name="it"),
        (2, 4),
        lambda: nn.Linear(4, 6),
        lambda module, x: module(x).unflatten(-1, (2, 3)),
        back=False,
    ),
}


def random(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return (rng.normal(size=shape) * 0.5).astype("float32")


def inputs(case: Case, rng: np.random.Generator) -> Any:
    if len(case.shape) == 2 and case.shape[1] == 6:  # of an embedding
        return rng.integers(0, 11, case.shape)
    return random(case.shape, rng)


def keras_model(case: Case, rng: np.random.Generator) -> Any:
    """The layer as a model, with random weights; variances are positive."""
    import keras

    keras.utils.clear_session()  # cells are named by counting
    x = keras.Input(case.shape[1:])
    layer = case.build(keras.layers)
    y = layer(x, x) if isinstance(layer, keras.layers.MultiHeadAttention) else layer(x)
    model = keras.Model(x, y)
    for weight in model.weights:
        values = random(tuple(weight.shape), rng)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def torch_module(case: Case, seed: int = 0) -> nn.Module:
    """The module under the name "it", with random weights; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.ModuleDict({"it": case.module()})
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator) * 0.5
            value.copy_(drawn.abs() + 0.5 if "running_var" in name else drawn)
    return module


def run(case: Case, module: nn.Module, x: Any) -> Any:
    with torch.no_grad():
        return (case.run or plain)(module["it"], torch.tensor(x)).numpy()  # type: ignore[index]
