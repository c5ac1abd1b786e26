"""Small Keras models, one for each way of a layer: name -> (input shapes, what they become).

Every case is a function of the inputs, called when the model is wanted, so that collecting the
tests imports no framework. Shapes are without the batch; a dtype stands after a shape of integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Case = tuple[list[Any], Callable[..., Any]]
IMAGE = (9, 8, 3)


def layers() -> Any:
    import keras

    return keras.layers


def _one(shape: tuple[int | None, ...], kind: str, *args: Any, **options: Any) -> Case:
    return [shape], lambda x: getattr(layers(), kind)(*args, **options)(x)


def convolutions() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for padding in ("valid", "same"):
        cases |= {
            f"conv2d {padding}": _one(IMAGE, "Conv2D", 5, 3, padding=padding),
            f"conv2d {padding} strides": _one(IMAGE, "Conv2D", 5, 3, strides=2, padding=padding),
            f"conv2d {padding} uneven": _one(
                IMAGE, "Conv2D", 4, (2, 5), strides=(3, 2), padding=padding, use_bias=False
            ),
            f"conv2d {padding} dilation": _one(
                IMAGE, "Conv2D", 4, 3, dilation_rate=2, padding=padding, activation="relu"
            ),
            f"conv1d {padding}": _one((11, 4), "Conv1D", 6, 4, strides=2, padding=padding),
            f"conv3d {padding}": _one((5, 6, 7, 2), "Conv3D", 3, 2, strides=2, padding=padding),
            f"depthwise {padding}": _one(
                IMAGE, "DepthwiseConv2D", 3, strides=2, depth_multiplier=2, padding=padding
            ),
            f"depthwise1d {padding}": _one((11, 4), "DepthwiseConv1D", 3, padding=padding),
            f"separable {padding}": _one(
                IMAGE, "SeparableConv2D", 5, 3, depth_multiplier=2, padding=padding
            ),
            f"separable1d {padding}": _one((11, 4), "SeparableConv1D", 5, 3, padding=padding),
            f"transpose {padding} 3/2": _one(
                IMAGE, "Conv2DTranspose", 4, 3, strides=2, padding=padding
            ),
            f"transpose {padding} 2/3": _one(
                IMAGE, "Conv2DTranspose", 4, 2, strides=3, padding=padding
            ),
            f"transpose {padding} 4/2": _one(
                IMAGE, "Conv2DTranspose", 4, 4, strides=2, padding=padding, use_bias=False
            ),
            f"transpose1d {padding}": _one(
                (7, 3), "Conv1DTranspose", 4, 3, strides=2, padding=padding
            ),
            f"transpose3d {padding}": _one(
                (4, 3, 5, 2), "Conv3DTranspose", 3, 3, strides=2, padding=padding
            ),
        }
    return cases | {
        "conv2d groups": _one((8, 8, 6), "Conv2D", 4, 3, groups=2, padding="same"),
        "conv2d any size": _one((None, None, 3), "Conv2D", 4, 3, strides=2, padding="same"),
        "conv1d causal": _one((9, 3), "Conv1D", 4, 3, padding="causal", dilation_rate=2),
        "conv1d any length": _one((None, 3), "Conv1D", 4, 5, padding="same"),
    }


def pooling() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for kind in ("Max", "Average"):
        for padding in ("valid", "same"):
            cases |= {
                f"{kind} {padding}": _one(IMAGE, f"{kind}Pooling2D", 2, padding=padding),
                f"{kind} {padding} 3/2": _one(
                    IMAGE, f"{kind}Pooling2D", 3, strides=2, padding=padding
                ),
                f"{kind} {padding} 3/1": _one(
                    IMAGE, f"{kind}Pooling2D", 3, strides=1, padding=padding
                ),
                f"{kind} 1d {padding}": _one((9, 3), f"{kind}Pooling1D", 2, padding=padding),
                f"{kind} 3d {padding}": _one((5, 4, 6, 2), f"{kind}Pooling3D", 2, padding=padding),
            }
        cases |= {
            f"Global{kind} 1d": _one((9, 3), f"Global{kind}Pooling1D"),
            f"Global{kind} 2d": _one(IMAGE, f"Global{kind}Pooling2D"),
            f"Global{kind} keep": _one(IMAGE, f"Global{kind}Pooling2D", keepdims=True),
            f"Global{kind} 3d": _one((5, 4, 6, 2), f"Global{kind}Pooling3D"),
        }
    return cases


def dense() -> dict[str, Case]:
    def flattened(x: Any) -> Any:
        L = layers()
        x = L.Conv2D(4, 3, activation="relu")(x)
        return L.Dense(5)(L.Dropout(0.5)(L.Flatten()(x)))

    def flattened_twice(x: Any) -> Any:
        L = layers()
        flat = L.Flatten()(L.MaxPooling2D(2)(L.Conv2D(4, 3)(x)))
        return L.Concatenate()([L.Dense(5)(flat), L.Dense(5, use_bias=False)(flat), flat])

    def normalized(x: Any) -> Any:
        L = layers()
        flat = L.Flatten()(L.Conv2D(4, 3)(x))
        return L.Dense(5)(L.Activation("tanh")(L.BatchNormalization()(flat)))

    def shared(x: Any) -> Any:
        L = layers()
        layer = L.Dense(6, activation="tanh")
        flat = L.Flatten()(L.Conv2D(2, 8)(x))
        return layer(L.Dense(4)(layer(L.Dense(4)(flat))))

    return {
        "dense": _one((7,), "Dense", 5),
        "dense no bias": _one((7,), "Dense", 5, use_bias=False, activation="sigmoid"),
        "dense on a series": _one((4, 7), "Dense", 5, activation="relu"),
        "dense on an image": _one(IMAGE, "Dense", 5),
        "dense after flatten": ([IMAGE], flattened),
        "flatten for several": ([IMAGE], flattened_twice),
        "flatten, norm, dense": ([IMAGE], normalized),
        "shared dense": ([IMAGE], shared),
        "einsum": _one((4, 7), "EinsumDense", "abc,cd->abd", output_shape=(None, 5), bias_axes="d"),
        "einsum heads": _one((4, 6), "EinsumDense", "...x,xyz->...yz", output_shape=(2, 3)),
    }


def normalization() -> dict[str, Case]:
    def adapted(x: Any) -> Any:
        layer = layers().Normalization()
        layer.adapt(np.random.default_rng(3).normal(2, 3, (20, *IMAGE)).astype("f"))
        return layer(x)

    return {
        "batch norm": _one(IMAGE, "BatchNormalization"),
        "batch norm epsilon": _one(IMAGE, "BatchNormalization", epsilon=0.1, momentum=0.7),
        "batch norm bare": _one(IMAGE, "BatchNormalization", scale=False, center=False),
        "batch norm no scale": _one((7,), "BatchNormalization", scale=False),
        "batch norm series": _one((5, 7), "BatchNormalization"),
        "batch norm axis 1": _one(IMAGE, "BatchNormalization", axis=1),
        "batch norm axis 2": _one(IMAGE, "BatchNormalization", axis=2),
        "layer norm": _one((5, 7), "LayerNormalization"),
        "layer norm no shift": _one((5, 7), "LayerNormalization", center=False, epsilon=1e-6),
        "layer norm no scale": _one((5, 7), "LayerNormalization", scale=False),
        "layer norm axes": _one(IMAGE, "LayerNormalization", axis=[1, 2, 3]),
        "layer norm axis 1": _one(IMAGE, "LayerNormalization", axis=1),
        "group norm": _one((6, 5, 8), "GroupNormalization", groups=2),
        "group norm no scale": _one((6, 5, 8), "GroupNormalization", groups=4, scale=False),
        "rms norm": _one((5, 7), "RMSNormalization"),
        "unit norm": _one((5, 7), "UnitNormalization"),
        "normalization": _one(IMAGE, "Normalization", mean=[1.0, 2, 3], variance=[2.0, 3, 4]),
        "normalization inverse": _one((3,), "Normalization", mean=1.0, variance=4.0, invert=True),
        "normalization adapted": ([IMAGE], adapted),
        "rescaling": _one(IMAGE, "Rescaling", 1 / 127.5, offset=-1.0),
    }


ACTIVATIONS = (
    *("relu", "relu6", "sigmoid", "tanh", "exponential", "softplus", "softsign", "selu", "elu"),
    *("celu", "silu", "gelu", "mish", "hard_silu", "hard_sigmoid", "hard_tanh", "hard_shrink"),
    *("soft_shrink", "tanh_shrink", "squareplus", "leaky_relu", "softmax", "log_softmax"),
    *("log_sigmoid", "sparse_sigmoid", "glu", "linear"),
)


def activations() -> dict[str, Case]:
    def on_an_image(name: str) -> Case:
        def made(x: Any) -> Any:
            L = layers()
            return L.Activation(name)(L.Conv2D(4, 3)(x))

        return [IMAGE], made

    cases = {f"{name}": _one((8,), "Dense", 6, activation=name) for name in ACTIVATIONS}
    cases |= {f"{n} image": on_an_image(n) for n in ("softmax", "glu", "gelu")}
    return cases | {
        "ReLU": _one((8,), "ReLU", max_value=1.0, negative_slope=0.2, threshold=0.1),
        "ReLU 6": _one((8,), "ReLU", max_value=6.0),
        "LeakyReLU": _one((8,), "LeakyReLU", negative_slope=0.3),
        "ELU": _one((8,), "ELU", alpha=0.7),
        "PReLU": _one(IMAGE, "PReLU"),
        "PReLU shared": _one(IMAGE, "PReLU", shared_axes=[1, 2]),
        "Softmax axis": _one((4, 5), "Softmax", axis=1),
    }


def shapes() -> dict[str, Case]:
    return {
        "flatten": _one(IMAGE, "Flatten"),
        "reshape": _one(IMAGE, "Reshape", (4, -1)),
        "permute": _one(IMAGE, "Permute", (3, 1, 2)),
        "repeat": _one((5,), "RepeatVector", 3),
        "zero padding": _one(IMAGE, "ZeroPadding2D", ((1, 2), (0, 3))),
        "zero padding 1d": _one((5, 2), "ZeroPadding1D", (1, 2)),
        "zero padding 3d": _one((3, 4, 5, 2), "ZeroPadding3D", 1),
        "cropping": _one(IMAGE, "Cropping2D", ((1, 2), (0, 3))),
        "cropping 1d": _one((5, 2), "Cropping1D", (1, 0)),
        "upsampling": _one(IMAGE, "UpSampling2D", (2, 3)),
        "upsampling bilinear": _one(IMAGE, "UpSampling2D", 2, interpolation="bilinear"),
        "upsampling 1d": _one((5, 2), "UpSampling1D", 3),
        "upsampling 3d": _one((2, 3, 4, 2), "UpSampling3D", 2),
        "resizing": _one(IMAGE, "Resizing", 5, 13),
        "resizing nearest": _one(IMAGE, "Resizing", 5, 13, interpolation="nearest"),
    }


def merging() -> dict[str, Case]:
    kinds = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")

    def residual(x: Any) -> Any:
        L = layers()
        y = L.Conv2D(3, 3, padding="same")(x)
        gate = L.Dense(3, activation="sigmoid")(L.Dense(2)(L.GlobalAveragePooling2D()(y)))
        return L.Add()([x, L.Multiply()([y, L.Reshape((1, 1, 3))(gate)])])

    cases: dict[str, Case] = {
        kind: ([(4, 5), (4, 5)], lambda a, b, kind=kind: getattr(layers(), kind)()([a, b]))
        for kind in kinds
    }
    return cases | {
        "concatenate axis": ([(4, 5), (2, 5)], lambda a, b: layers().Concatenate(axis=1)([a, b])),
        "dot": ([(4, 5), (3, 5)], lambda a, b: layers().Dot(axes=(2, 2))([a, b])),
        "cosine": ([(5,), (5,)], lambda a, b: layers().Dot(axes=1, normalize=True)([a, b])),
        "several outputs": (
            [(5,), (6,)],
            lambda a, b: [layers().Dense(2)(a), layers().Dense(3)(b)],
        ),
        "residual": ([IMAGE], residual),
        "operators": ([(5,), (5,)], lambda a, b: (a + 2 * b) / 3 - b[:, 1:2]),
    }


def recurrent() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        cases |= {
            kind: _one((6, 3), kind, 4),
            f"{kind} sequence": _one((None, 3), kind, 4, return_sequences=True),
            f"{kind} state": _one((6, 3), kind, 4, return_state=True),
            f"{kind} no bias": _one((6, 3), kind, 4, use_bias=False),
            f"{kind} backwards": _one((6, 3), kind, 4, go_backwards=True, return_sequences=True),
            f"{kind} relu": _one((6, 3), kind, 4, activation="relu"),
            f"{kind} masked": ([((7,), "int32")], _masked(kind)),
            f"{kind} initial": ([(6, 3), (5,)], _initial(kind)),
        }
        for mode in ("concat", "sum", "mul", "ave", None):
            for whole in (False, True):
                cases[f"{kind} bidirectional {mode} {whole}"] = _bidirectional(kind, mode, whole)
    return cases | {
        "LSTM hard_sigmoid": _one((6, 3), "LSTM", 4, recurrent_activation="hard_sigmoid"),
        "GRU reset before": _one((6, 3), "GRU", 4, reset_after=False),
        "GRU reset before, bidirectional": _bidirectional("GRU", "concat", True, reset_after=False),
        "LSTM relu, bidirectional": _bidirectional("LSTM", "concat", False, activation="relu"),
        "cell": ([(6, 3)], lambda x: layers().RNN(layers().LSTMCell(4))(x)),
        "stacked cells": (
            [(6, 3)],
            lambda x: layers().RNN([layers().LSTMCell(4), layers().GRUCell(5)])(x),
        ),
        "time distributed": (
            [(4, 6, 6, 2)],
            lambda x: layers().TimeDistributed(layers().Conv2D(3, 3, padding="same"))(x),
        ),
    }


def _bidirectional(kind: str, mode: str | None, whole: bool, **options: Any) -> Case:
    def made(x: Any) -> Any:
        inner = getattr(layers(), kind)(4, return_sequences=whole, **options)
        return layers().Bidirectional(inner, merge_mode=mode)(x)

    return [(6, 3)], made


def _masked(kind: str) -> Callable[..., Any]:
    def made(ids: Any) -> Any:
        L = layers()
        x = L.Embedding(10, 3, mask_zero=True)(ids)
        x = L.Bidirectional(getattr(L, kind)(4, return_sequences=True))(x)
        return getattr(L, kind)(3)(x)

    return made


def _initial(kind: str) -> Callable[..., Any]:
    def made(x: Any, seed: Any) -> Any:
        L = layers()
        states = [L.Dense(4, activation="tanh")(seed) for _ in range(2 if kind == "LSTM" else 1)]
        return getattr(L, kind)(4, return_sequences=True)(x, initial_state=states)

    return made


def attention() -> dict[str, Case]:
    def heads(**options: Any) -> Callable[..., Any]:
        return lambda q, v: layers().MultiHeadAttention(2, 5, **options)(q, v)

    def causal(x: Any) -> Any:
        return layers().MultiHeadAttention(3, 2)(x, x, use_causal_mask=True)

    def masked(dropout: float) -> Callable[..., Any]:
        def made(ids: Any) -> Any:
            x = layers().Embedding(10, 6, mask_zero=True)(ids)
            return layers().MultiHeadAttention(2, 3, dropout=dropout)(x, x)

        return made

    def simple(kind: str, **options: Any) -> Callable[..., Any]:
        return lambda q, v: getattr(layers(), kind)(**options)([q, v])

    both = [(4, 6), (5, 7)]
    return {
        "multi head": (both, heads()),
        "multi head value_dim": (both, heads(value_dim=3, use_bias=False)),
        "multi head output": (both, heads(output_shape=9)),
        "multi head causal": ([(5, 6)], causal),
        "multi head masked": ([((7,), "int32")], masked(0.0)),
        "multi head masked, dropout": ([((7,), "int32")], masked(0.5)),
        "grouped": ([(4, 6)], lambda x: layers().GroupQueryAttention(3, 4, 2)(x, x)),
        "attention": ([(4, 6), (5, 6)], simple("Attention")),
        "attention scaled": ([(4, 6), (5, 6)], simple("Attention", use_scale=True)),
        "additive": ([(4, 6), (5, 6)], simple("AdditiveAttention")),
    }


FAMILIES = {
    family.__name__: family
    for family in (
        *(convolutions, pooling, dense, normalization, activations),
        *(shapes, merging, recurrent, attention),
    )
}


def build(case: Case, seed: int = 0) -> tuple[Any, list[Any]]:
    """(the model with random weights and statistics, inputs for it)."""
    import keras

    specs, function = case
    keras.utils.clear_session(free_memory=False)
    rng = np.random.default_rng(seed)
    inputs, arrays = [], []
    for spec in specs:
        shape, dtype = spec if isinstance(spec[-1], str) else (spec, "float32")
        inputs.append(keras.Input(shape, dtype=dtype))
        size = (3, *(n or 10 for n in shape))
        integers = dtype != "float32"
        arrays.append(
            rng.integers(0, 10, size).astype(dtype)
            if integers
            else rng.normal(size=size).astype(dtype)
        )
    model = keras.Model(inputs, function(*inputs))
    randomize(model, rng)
    return model, arrays


def randomize(model: Any, rng: Any) -> None:
    """Random weights whose outputs are neither tiny nor huge, statistics included."""
    for weight in model.weights:
        name, shape = weight.path.rpartition("/")[2], tuple(weight.shape)
        if str(weight.dtype) != "float32" or name in ("mean", "variance", "count"):
            continue
        if name in ("moving_variance", "gamma", "scale"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            value = rng.normal(0, 0.5, shape)
        else:
            value = rng.normal(0, np.sqrt(2 / max(1, np.prod(shape[:-1]))), shape)
        weight.assign(value.astype("float32"))
