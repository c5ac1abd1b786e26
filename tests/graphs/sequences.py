"""Cases of layers over time: recurrent ones, attention, masks, operations. See cases.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import CASES, each, one, several

KINDS = ("SimpleRNN", "LSTM", "GRU")


def masked(layer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The layer behind a Masking."""

    def build(keras: Any) -> Any:
        given = keras.Input((None, 4))
        return keras.Model(given, layer(keras.layers)(keras.layers.Masking()(given)))

    return build


def sequential(layer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same in a Sequential, whose file does not say where masks go."""

    def build(keras: Any) -> Any:
        L = keras.layers
        return keras.Sequential([keras.Input((None, 4)), L.Masking(), L.Dropout(0.5), layer(L)])

    return build


ALL = {"return_sequences": True, "return_state": True}
for kind in KINDS:
    each(
        kind,
        (None, 4),
        {},
        {"return_sequences": True},
        ALL,
        {**ALL, "go_backwards": True},
        {"use_bias": False},
        {"activation": "relu"},
        first=[5],
    )
    for config in ({}, ALL, {**ALL, "go_backwards": True}, {**ALL, "zero_output_for_mask": True}):
        several(
            f"masked {kind}({config})",
            masked(lambda L, kind=kind, config=config: getattr(L, kind)(5, **config)),
            (None, 4),
            zeros=True,
        )
    several(
        f"masked {kind} in a Sequential",
        sequential(lambda L, kind=kind: getattr(L, kind)(5, return_sequences=True)),
        (None, 4),
        zeros=True,
    )
    for mode in ("concat", "sum", "mul", "ave", None):
        for whole in (True, False):
            one(
                f"Bidirectional {kind}(merge_mode={mode},return_sequences={whole})",
                lambda L, kind=kind, mode=mode, whole=whole: L.Bidirectional(
                    getattr(L, kind)(3, return_sequences=whole), merge_mode=mode
                ),
                None,
                4,
            )
    several(
        f"masked Bidirectional {kind}",
        masked(lambda L, kind=kind: L.Bidirectional(getattr(L, kind)(3, **ALL))),
        (None, 4),
        zeros=True,
    )
    one(
        f"Bidirectional {kind} of two layers",
        lambda L, kind=kind: L.Bidirectional(
            getattr(L, kind)(3), backward_layer=getattr(L, kind)(2, go_backwards=True)
        ),
        7,
        4,
    )
each("GRU", (7, 4), {"reset_after": False}, {"reset_after": False, "use_bias": False}, first=[5])
for gate, inner in (
    ("hard_sigmoid", "elu"),
    ("sigmoid", "softsign"),
    ("sigmoid", "softplus"),
    ("tanh", "linear"),
    ("sigmoid", "leaky_relu"),
):
    config = {"activation": inner, "recurrent_activation": gate}
    each("LSTM", (7, 4), config, first=[5])
    each("GRU", (7, 4), config, first=[5])
one("RNN of a cell", lambda L: L.RNN(L.LSTMCell(3), return_sequences=True), None, 4)
one(
    "RNN of cells",
    lambda L: L.RNN([L.LSTMCell(3), L.LSTMCell(2), L.GRUCell(2)], **ALL),
    None,
    4,
)


def _encoder_decoder(keras: Any) -> Any:
    L = keras.layers
    given, other = keras.Input((None, 4)), keras.Input((None, 4))
    _, h, c = L.LSTM(5, return_state=True)(given)
    y = L.LSTM(5, return_sequences=True)(other, initial_state=[h, c])
    z, state = L.GRU(3, return_state=True)(y)
    back = L.Bidirectional(L.GRU(3, return_sequences=True))(y, initial_state=[state, z])
    return keras.Model([given, other], [y, back])


several("initial states", _encoder_decoder, (None, 4), (None, 4))

# --- TimeDistributed ----------------------------------------------------------------------------

one("TimeDistributed Dense", lambda L: L.TimeDistributed(L.Dense(3)), None, 4)
one("TimeDistributed Conv2D", lambda L: L.TimeDistributed(L.Conv2D(3, 2)), None, 6, 5, 2)
one("TimeDistributed LSTM", lambda L: L.TimeDistributed(L.LSTM(3)), 5, 6, 4)


def _per_frame(keras: Any) -> Any:
    L = keras.layers
    frame = [keras.Input((6, 5, 2)), L.Conv2D(3, 2), L.Flatten(), L.Dense(4, name="d")]
    given = keras.Input((None, 6, 5, 2))
    y = L.TimeDistributed(keras.Sequential(frame, name="frame"))(given)
    step = keras.Input((4,))
    each_step = keras.Model(step, L.Dense(2, name="d")(L.Dense(3, name="e")(step)), name="step")
    return keras.Model(given, L.LSTM(3)(L.TimeDistributed(each_step)(y)))


several("TimeDistributed models", _per_frame, (None, 6, 5, 2))

# --- embeddings and masks -----------------------------------------------------------------------

each("Embedding", (None,), {}, first=[9, 4], integers=9)


def _words(keras: Any) -> Any:
    L = keras.layers
    given = keras.Input((None,), dtype="int32")
    y = L.Embedding(5, 4, mask_zero=True)(given)
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(L.Dense(4)(y))
    return keras.Model(given, L.Dense(2)(L.GRU(3)(y)))


several("masked words", _words, (None,), integers=5)


def _average_of_words(keras: Any) -> Any:
    L = keras.layers
    return keras.Sequential(
        [keras.Input((None, 4)), L.Masking(), L.Dense(5), L.GlobalAveragePooling1D()]
    )


several("average of the steps that count", _average_of_words, (None, 4), zeros=True)


def _sum_of_masked(keras: Any) -> Any:
    L = keras.layers
    given = keras.Input((None, 4))
    steps = L.Masking()(given)
    return keras.Model(given, L.LSTM(3)(L.Add()([L.Dense(5)(steps), L.Dense(5)(steps)])))


several("masks through a merge", _sum_of_masked, (None, 4), zeros=True)

# --- attention ----------------------------------------------------------------------------------


def _attention(make: Callable[[Any, Any, Any], Any]) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        query, value = keras.Input((None, 6)), keras.Input((None, 6))
        return keras.Model([query, value], make(keras.layers, query, value))

    return build


for label, make in {
    "MultiHeadAttention": lambda L, q, v: L.MultiHeadAttention(2, 3)(q, v),
    "MultiHeadAttention with keys": lambda L, q, v: L.MultiHeadAttention(2, 3, value_dim=4)(
        q, v, q
    ),
    "MultiHeadAttention to 5": lambda L, q, v: L.MultiHeadAttention(
        3, 4, output_shape=5, use_bias=False
    )(q, v),
    "MultiHeadAttention scores": lambda L, q, v: L.MultiHeadAttention(2, 3)(
        q, v, return_attention_scores=True
    ),
    "MultiHeadAttention causal": lambda L, q, v: L.MultiHeadAttention(2, 3)(
        q, v, use_causal_mask=True
    ),
    "MultiHeadAttention masked": lambda L, q, v: L.MultiHeadAttention(2, 3)(
        L.Masking()(q), L.Masking()(v), use_causal_mask=True
    ),
    "GroupQueryAttention": lambda L, q, v: L.GroupQueryAttention(3, 4, 2)(q, v),
    "Attention": lambda L, q, v: L.Attention()([q, v]),
    "Attention scaled": lambda L, q, v: L.Attention(use_scale=True)(
        [q, v, v], return_attention_scores=True
    ),
    "Attention concat": lambda L, q, v: L.Attention(score_mode="concat", use_scale=True)([q, v]),
    "Attention causal": lambda L, q, v: L.Attention()([q, v], use_causal_mask=True),
    "Attention masked": lambda L, q, v: L.Attention()([L.Masking()(q), L.Masking()(v)]),
    "AdditiveAttention": lambda L, q, v: L.AdditiveAttention()([q, v]),
    "AdditiveAttention unscaled": lambda L, q, v: L.AdditiveAttention(use_scale=False)([q, v]),
}.items():
    several(label, _attention(make), (None, 6), (None, 6), zeros="masked" in label)

# --- operations ---------------------------------------------------------------------------------


def _ops(make: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """An operation on an image whose channels come first in the graph."""

    def build(keras: Any) -> Any:
        given = keras.Input((6, 5, 3))
        return keras.Model(given, make(keras.ops, keras.layers.Conv2D(4, 2)(given)))

    return build


for label, make in {
    "arithmetic": lambda o, x: (1.0 - x * 2.0 + x / 3.0) ** 2.0 - (-x),
    "arithmetic with a vector": lambda o, x: x * np.array([1, 2, 3, 4], np.float32),
    "getitem": lambda o, x: x[:, 1:-1, ::2],
    "getitem of a channel": lambda o, x: x[..., 1],
    "getitem with a new axis": lambda o, x: x[:, None, 0, ...],
    "relu": lambda o, x: o.relu(x),
    "relu6": lambda o, x: o.relu6(x),
    "gelu": lambda o, x: o.gelu(x) + o.gelu(x, approximate=False),
    "leaky relu": lambda o, x: o.leaky_relu(x, 0.3) + o.elu(x, 0.5),
    "softmax": lambda o, x: o.softmax(x) + o.log_softmax(x, axis=1),
    "mean": lambda o, x: o.mean(x, axis=(1, 2)),
    "mean kept": lambda o, x: x - o.mean(x, axis=-1, keepdims=True),
    "max of rows": lambda o, x: o.max(x, axis=1) + o.min(x, axis=1),
    "reshape": lambda o, x: o.reshape(x, (-1, 20, 4)),
    "transpose": lambda o, x: o.transpose(x, (0, 3, 1, 2)),
    "expand and squeeze": lambda o, x: o.squeeze(o.expand_dims(x, 1), 1),
    "concatenate": lambda o, x: o.concatenate([x, o.tanh(x)], axis=-1),
    "stack": lambda o, x: o.stack([x, o.sigmoid(x)], axis=1),
    "split": lambda o, x: o.add(*o.split(x, 2, axis=-1)),
    "pad": lambda o, x: o.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))),
    "clip": lambda o, x: o.clip(x, -0.5, 0.5),
    "where": lambda o, x: o.where(x > 0.2, x, -1.0),
    "maximum": lambda o, x: o.maximum(x, 0.1) + o.minimum(x, o.abs(x)),
    "matmul": lambda o, x: o.matmul(x, o.swapaxes(x, -1, -2)),
    "einsum": lambda o, x: o.einsum("bhwi,bhvi->bhwv", x, x),
    "exp and log": lambda o, x: o.log(o.exp(x) + 1.0) + o.sqrt(o.square(x) + 1.0),
    "elementwise": lambda o, x: [
        *(o.sin(x), o.cos(x), o.tan(x * 0.2), o.floor(x), o.ceil(x), o.round(x), o.sign(x)),
        *(o.erf(x), o.reciprocal(o.exp(x)), o.rsqrt(o.abs(x) + 1.0), o.log(o.abs(x) + 0.5)),
    ],
    "activations": lambda o, x: [
        *(o.selu(x), o.silu(x), o.softplus(x), o.softsign(x), o.hard_sigmoid(x), o.hard_silu(x)),
        *(o.hard_tanh(x), o.log_sigmoid(x), o.tanh_shrink(x), o.squareplus(x), o.celu(x)),
        *(o.sparse_sigmoid(x), o.elu(x), o.stop_gradient(x)),
    ],
    "comparisons": lambda o, x: [
        o.cast(made, "float32")
        for made in (
            *(x > 0.1, x >= 0.1, x < 0.1, x <= 0.1, o.equal(x, x), o.not_equal(x, 0.0)),
            *(o.logical_and(x > 0, x < 1), o.logical_or(x > 1, x < 0), o.logical_not(x > 0)),
            *(o.logical_xor(x > 0, x < 1), o.any(x > 2, axis=-1), o.all(x > -1, axis=1)),
        )
    ],
    "reductions": lambda o, x: [
        *(o.sum(x, axis=-1), o.prod(x, axis=1), o.logsumexp(x, axis=-1), o.max(x, axis=(1, 3))),
        *(
            o.moveaxis(x, 1, 3),
            o.tile(x, (1, 2, 1, 1)),
            o.true_divide(x, 2.0),
            o.divide(2.0, o.exp(x)),
        ),
    ],
}.items():
    several(f"keras.ops {label}", _ops(make), (6, 5, 3))


def _activations(keras: Any) -> Any:
    given = keras.Input((6, 5, 3))
    x, a = keras.layers.Conv2D(4, 2)(given), keras.activations
    bounded = a.relu(x, negative_slope=0.1, max_value=1.0, threshold=0.2)
    return keras.Model(given, [bounded, a.leaky_relu(x), a.tanh_shrink(x)])


several("keras.activations", _activations, (6, 5, 3))

__all__ = ["CASES"]
