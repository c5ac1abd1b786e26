"""Every layer that is exported, in several configurations: name -> (model, inputs).

A model is made by a function of `keras`, so that nothing is imported before a test runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Case:
    """build: keras -> model. shapes: of each input, without the batch. sizes: what None stands
    for, one batch each. integers: inputs are numbers below this, not floats."""

    build: Callable[[Any], Any]
    shapes: tuple[Shape, ...]
    sizes: tuple[int, ...] = (9,)
    integers: int = 0
    zeros: bool = False

    def batches(self) -> list[list[Any]]:
        rng = np.random.default_rng(7)
        found = []
        for count, size in enumerate(self.sizes, 2):
            shapes = [(count, *(size if n is None else n for n in s)) for s in self.shapes]
            found.append([self.array(rng, shape) for shape in shapes])
        return found

    def array(self, rng: Any, shape: tuple[int, ...]) -> Any:
        if self.integers:
            return rng.integers(0, self.integers, shape).astype(np.int32)
        array = rng.normal(0, 1.5, shape).astype(np.float32)
        if self.zeros:  # steps that a mask leaves out: at the end, within, at the beginning
            array[0, 5:] = 0
            array[1, [0, 2, 3]] = 0
        return array


CASES: dict[str, Case] = {}


def one(name: str, layer: Callable[[Any], Any], *shape: int | None, **options: Any) -> None:
    """A model of one layer; `layer` is a function of keras.layers."""

    def build(keras: Any) -> Any:
        given = keras.Input(shape, dtype="int32" if options.get("integers") else "float32")
        return keras.Model(given, layer(keras.layers)(given))

    several(name, build, shape, **options)


def several(name: str, build: Callable[[Any], Any], *shapes: Shape, **options: Any) -> None:
    if any(None in shape for shape in shapes):
        options.setdefault("sizes", (9, 12))
    assert name not in CASES, name
    CASES[name] = Case(build, shapes, **options)


def spelled(options: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in options.items()) or "plain"


def each(
    kind: str, shape: Shape, *configs: dict[str, Any], first: Sequence[Any] = (), **options: Any
) -> None:
    """A case for each configuration of a class of layers."""
    for config in configs:
        one(
            f"{kind}({spelled(config)})",
            lambda L, config=config: getattr(L, kind)(*first, **config),
            *shape,
            **options,
        )


# --- dense --------------------------------------------------------------------------------------

each("Dense", (6,), {}, {"use_bias": False}, {"activation": "gelu"}, first=[4])
one("Dense on series", lambda L: L.Dense(4, activation="tanh"), None, 6)
one("Dense on images", lambda L: L.Dense(4, use_bias=False), 5, 4, 3)
for equation, axes, bias, shape in (
    ("abc,cd->abd", (None, 4), "d", (6, 4)),
    ("...x,xy->...y", (3,), "y", (6, 3)),
    ("abcd,cde->abe", (None, 3), "e", (5, 5, 3)),
    ("abc,cde->abde", (None, 2, 3), "de", (5, 4)),
):
    one(
        f"EinsumDense({equation})",
        lambda L, equation=equation, axes=axes, bias=bias: L.EinsumDense(
            equation, axes, bias_axes=bias, activation="tanh"
        ),
        *shape,
    )

# --- convolutions -------------------------------------------------------------------------------

_CONV = (
    {},
    {"padding": "same"},
    {"padding": "same", "strides": 2},
    {"padding": "valid", "strides": 2, "use_bias": False},
    {"padding": "same", "dilation_rate": 2},
    {"groups": 2, "activation": "relu"},
)
for n, shape in ((1, (13, 4)), (2, (8, 9, 4)), (3, (6, 5, 7, 4))):
    each(f"Conv{n}D", shape, *_CONV, first=[6, 3])
    kinds = ({}, {"padding": "same"}, {"strides": 2}, {"strides": 2, "padding": "same"})
    each(f"Conv{n}DTranspose", shape, *kinds, {"strides": 3}, first=[5, 2])
    each(f"Conv{n}DTranspose", shape, {"strides": 2, "padding": "same", "name": "k3"}, first=[5, 3])
each("Conv2DTranspose", (6, 7, 3), {"output_padding": 1, "strides": 2}, first=[4, 3])
each(
    "Conv2DTranspose",
    (6, 7, 3),
    {"output_padding": 1, "strides": 2, "padding": "same"},
    {"dilation_rate": 2, "padding": "same"},
    first=[4, 3],
)
each(
    "Conv1D",
    (13, 4),
    {"padding": "causal"},
    {"padding": "causal", "dilation_rate": 2},
    first=[6, 3],
)
one("Conv1D over time of any length", lambda L: L.Conv1D(5, 3, padding="same"), None, 4)
one(
    "Conv2D on images of any size",
    lambda L: L.Conv2D(5, 3, strides=2, padding="same"),
    None,
    None,
    3,
)
one("Conv2D even kernel", lambda L: L.Conv2D(5, (4, 2), padding="same"), 8, 9, 3)
for n, shape in ((1, (13, 4)), (2, (8, 9, 4))):
    kinds = (
        {},
        {"padding": "same", "strides": 2},
        {"depth_multiplier": 3, "activation": "relu"},
        {"padding": "same", "dilation_rate": 2, "use_bias": False},
    )
    each(f"DepthwiseConv{n}D", shape, *kinds, first=[3])
    each(f"SeparableConv{n}D", shape, *kinds, first=[5, 3])

# --- pooling ------------------------------------------------------------------------------------

for n, shape in ((1, (13, 4)), (2, (8, 9, 4)), (3, (6, 5, 7, 4))):
    for kind in (f"MaxPooling{n}D", f"AveragePooling{n}D"):
        kinds = (
            {"pool_size": 2},
            {"pool_size": 2, "padding": "same"},
            {"pool_size": 3, "strides": 2, "padding": "same"},
        )
        each(kind, shape, *kinds, {"pool_size": 3, "strides": 1})
    for kind in (f"GlobalMaxPooling{n}D", f"GlobalAveragePooling{n}D"):
        each(kind, shape, {}, {"keepdims": True})
one("AveragePooling2D on images of any size",
    lambda L: L.AveragePooling2D(3, 2, padding="same"), None, None, 3)  # fmt: skip
one("GlobalAveragePooling2D on images of any size",
    lambda L: L.GlobalAveragePooling2D(), None, None, 3)  # fmt: skip

# --- shapes -------------------------------------------------------------------------------------

each("ZeroPadding1D", (7, 3), {}, {"padding": (1, 2)})
each("ZeroPadding2D", (7, 6, 3), {}, {"padding": (1, 2)}, {"padding": ((0, 1), (2, 3))})
each("ZeroPadding3D", (4, 5, 6, 2), {}, {"padding": ((0, 1), (2, 3), (1, 1))})
each("Cropping1D", (7, 3), {}, {"cropping": (0, 2)})
each("Cropping2D", (7, 6, 3), {"cropping": 1}, {"cropping": ((0, 1), (2, 0))})
each("Cropping3D", (5, 6, 7, 2), {"cropping": 1})
each("UpSampling1D", (5, 3), {}, {"size": 3})
each("UpSampling2D", (5, 4, 3), {}, {"size": (2, 3)}, {"interpolation": "bilinear"})
each("UpSampling3D", (3, 4, 5, 2), {"size": (1, 2, 3)})
each("Resizing", (5, 4, 3), {}, first=[8, 7])
each("Resizing", (9, 8, 3), {"interpolation": "nearest"}, first=[6, 16])
each("Flatten", (4, 3, 2), {})
one("Flatten of a series", lambda L: L.Flatten(), 5)
each("Reshape", (4, 6), {"target_shape": (2, 12)}, {"target_shape": (-1, 3)})
each("Reshape", (6,), {"target_shape": (1, 1, 6)})
each("Permute", (4, 5, 3), {"dims": (2, 1, 3)}, {"dims": (3, 1, 2)})
each("RepeatVector", (4,), {"n": 3})

# --- activations --------------------------------------------------------------------------------

for function in [
    "linear",
    "relu",
    "relu6",
    "sigmoid",
    "tanh",
    "exponential",
    "softplus",
    "softsign",
    "selu",
    "elu",
    "celu",
    "silu",
    "gelu",
    "mish",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "hard_shrink",
    "soft_shrink",
    "tanh_shrink",
    "squareplus",
    "leaky_relu",
    "softmax",
    "log_softmax",
    "log_sigmoid",
    "sparse_sigmoid",
    "glu",
]:
    one(f"Activation({function})", lambda L, function=function: L.Activation(function), 5, 6)
each("ReLU", (7, 6), {}, {"max_value": 1.0}, {"negative_slope": 0.2}, {"threshold": 0.5})
each("ReLU", (7, 6), {"max_value": 1.0, "negative_slope": 0.2, "threshold": 0.3})
each("LeakyReLU", (7,), {}, {"negative_slope": 0.1})
each("ELU", (7,), {}, {"alpha": 0.5})
each("PReLU", (4, 5, 3), {}, {"shared_axes": (1, 2)})
each("Softmax", (4, 5), {}, {"axis": 1})


def _after_convolution(layer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The layer where channels come first in the graph."""

    def build(keras: Any) -> Any:
        given = keras.Input((7, 6, 3))
        made = layer(keras.layers)(keras.layers.Conv2D(4, 2)(given))
        return keras.Model(given, keras.layers.Conv2D(2, 1)(made))

    return build


for label, layer in {
    "PReLU": lambda L: L.PReLU(),
    "PReLU shared": lambda L: L.PReLU(shared_axes=(1, 2)),
    "Softmax": lambda L: L.Softmax(),
    "Softmax over rows": lambda L: L.Softmax(axis=1),
    "LayerNormalization": lambda L: L.LayerNormalization(),
    "GroupNormalization": lambda L: L.GroupNormalization(2),
    "UnitNormalization": lambda L: L.UnitNormalization(),
    "Rescaling": lambda L: L.Rescaling(2.0, offset=-1.0),
    "Dense": lambda L: L.Dense(5, activation="relu"),
    "Permute": lambda L: L.Permute((2, 1, 3)),
    "Cropping2D": lambda L: L.Cropping2D(1),
    "UpSampling2D": lambda L: L.UpSampling2D(2),
    "Reshape": lambda L: L.Reshape((3, 10, 4)),
    "SpatialDropout2D": lambda L: L.SpatialDropout2D(0.5),
}.items():
    several(f"{label} between convolutions", _after_convolution(layer), (7, 6, 3))

# --- normalisation ------------------------------------------------------------------------------

_NORM = ({}, {"scale": False}, {"center": False}, {"center": False, "scale": False})
for shape in ((6,), (7, 6), (5, 4, 3)):
    each("BatchNormalization", shape, *({**c, "name": f"r{len(shape)}"} for c in _NORM))
each("BatchNormalization", (5, 4, 3), {"axis": 1}, {"axis": 2, "epsilon": 0.1})
each("LayerNormalization", (5, 6), *_NORM, {"axis": 1}, {"axis": (1, 2), "epsilon": 0.1})
each("GroupNormalization", (5, 4, 6), {"groups": 2}, {"groups": -1}, {"groups": 3, "scale": False})
each("GroupNormalization", (4, 5, 6), {"groups": 2, "axis": 1})
each("RMSNormalization", (5, 6), {}, {"epsilon": 0.1})
each("UnitNormalization", (5, 6), {}, {"axis": 1})
each("Rescaling", (5, 4, 3), {"scale": 0.1}, {"scale": 2.0, "offset": -1.0})
each(
    "Normalization",
    (5, 3),
    {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 0.5, 2.0]},
    {"mean": 1.0, "variance": 4.0, "axis": None},
    {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 0.5, 2.0], "invert": True},
)

# --- merging ------------------------------------------------------------------------------------


def _merged(kind: str, **config: Any) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        given = [keras.Input((6, 5, 3)) for _ in range(2)]
        images = [keras.layers.Conv2D(4, 2)(given[0]), keras.layers.Dense(4)(given[1][:, 1:, 1:])]
        return keras.Model(given, getattr(keras.layers, kind)(**config)(images))

    return build


for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
    several(f"{kind} of two layouts", _merged(kind), (6, 5, 3), (6, 5, 3))
several("Concatenate of rows", _merged("Concatenate", axis=1), (6, 5, 3), (6, 5, 3))


def _broadcast(keras: Any) -> Any:
    given = [keras.Input((4, 3)), keras.Input((3,)), keras.Input((1, 3))]
    return keras.Model(given, keras.layers.Add()(given))


several("Add of different ranks", _broadcast, (4, 3), (3,), (1, 3))


def _dot(**config: Any) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        given = [keras.Input((4, 5)), keras.Input((6, 5))]
        return keras.Model(given, keras.layers.Dot(**config)(given))

    return build


several("Dot", _dot(axes=2), (4, 5), (6, 5))
several("Dot normalised", _dot(axes=(2, 2), normalize=True), (4, 5), (6, 5))


def _dot_of_vectors(keras: Any) -> Any:
    given = [keras.Input((5,)), keras.Input((5,))]
    return keras.Model(given, keras.layers.Dot(axes=1)(given))


several("Dot of vectors", _dot_of_vectors, (5,), (5,))

# --- what acts in training only -----------------------------------------------------------------

for label, layer in {
    "Dropout": lambda L: L.Dropout(0.5),
    "SpatialDropout1D": lambda L: L.SpatialDropout1D(0.5),
    "GaussianNoise": lambda L: L.GaussianNoise(0.5),
    "GaussianDropout": lambda L: L.GaussianDropout(0.5),
    "AlphaDropout": lambda L: L.AlphaDropout(0.5),
    "ActivityRegularization": lambda L: L.ActivityRegularization(0.5),
    "Identity": lambda L: L.Identity(),
}.items():
    one(label, layer, 5, 4)
one("SpatialDropout3D", lambda L: L.SpatialDropout3D(0.5), 3, 4, 5, 2)
