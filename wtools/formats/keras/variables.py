"""What the numbered variables of `.keras` and `.weights.h5` files are called.

Those files store `layers/dense/vars/0`: which variable that is follows from the layer's class and
options, in the order in which the layer saves them. The table is data: for each class its
variables in that order; "bias?use_bias" is there unless the option use_bias is false.
From Keras 3.15 and tf_keras 2.21, checked against `variable.path` in the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .config import snake

_KERNEL = ("kernel", "bias?use_bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias?use_bias")
_DEPTHWISE = ("kernel", "bias?use_bias")
_RECURRENT = ("kernel", "recurrent_kernel", "bias?use_bias")
_NORM = ("gamma?scale", "beta?center")

TABLE: dict[str, tuple[str, ...]] = {
    "Dense": _KERNEL,
    "EinsumDense": ("kernel", "bias?bias_axes"),
    "Conv1D": _KERNEL,
    "Conv2D": _KERNEL,
    "Conv3D": _KERNEL,
    "Conv1DTranspose": _KERNEL,
    "Conv2DTranspose": _KERNEL,
    "Conv3DTranspose": _KERNEL,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "LocallyConnected1D": _KERNEL,
    "LocallyConnected2D": _KERNEL,
    "Embedding": ("embeddings",),
    "ReversibleEmbedding": ("embeddings", "reverse_embeddings?!tie_weights"),
    "BatchNormalization": (*_NORM, "moving_mean", "moving_variance"),
    "SyncBatchNormalization": (*_NORM, "moving_mean", "moving_variance"),
    "LayerNormalization": _NORM,
    "GroupNormalization": _NORM,
    "RMSNormalization": ("scale",),
    "UnitNormalization": (),
    "SpectralNormalization": ("kernel", "vector_u"),
    "Normalization": ("mean", "variance", "count?"),
    "PReLU": ("alpha",),
    "Attention": ("scale?use_scale", "concat_score_weight?"),
    "AdditiveAttention": ("scale?use_scale",),
    "LSTMCell": _RECURRENT,
    "GRUCell": _RECURRENT,
    "SimpleRNNCell": _RECURRENT,
    "AnyCell": _RECURRENT,  # of a recurrent layer whose class is not known
    "ConvLSTM1DCell": _RECURRENT,
    "ConvLSTM2DCell": _RECURRENT,
    "ConvLSTM3DCell": _RECURRENT,
    "SeedGenerator": ("seed_generator_state",),
    "MultiHeadAttention": (),
    "GroupedQueryAttention": (),
    "LSTM": (),
    "GRU": (),
    "SimpleRNN": (),
    "RNN": (),
    "ConvLSTM1D": (),
    "ConvLSTM2D": (),
    "ConvLSTM3D": (),
    "Bidirectional": (),
    "TimeDistributed": (),
    "StackedRNNCells": (),
}
# `variable_serialization_spec` of the layers that can be quantized; int4 with groups has more.
_WEIGHTS = ("kernel", "bias?use_bias", "kernel_scale")
_PACKED = ("bias?use_bias", "quantized_kernel", "kernel_scale", "kernel_zero")
_EMBEDDED = ("embeddings", "embeddings_scale")
_QUANTIZED: dict[str, tuple[tuple[str, ...], ...]] = {
    "int8": (_WEIGHTS,),
    "int4": (_WEIGHTS, (*_WEIGHTS, "kernel_zero", "g_idx")),
    "float8": (
        (
            *("kernel", "bias?use_bias", "inputs_scale", "inputs_amax_history", "kernel_scale"),
            *("kernel_amax_history", "outputs_grad_scale", "outputs_grad_amax_history"),
        ),
    ),
    "gptq": ((*_PACKED, "g_idx"),),
    "awq": ((*_PACKED, "awq_scales", "g_idx"),),
}
_QUANTIZED_EMBEDDINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "int8": (_EMBEDDED,),
    "int4": (_EMBEDDED, (*_EMBEDDED, "embeddings_zero", "g_idx")),
}
# Sub-layers by attribute, in the order their owners make them: their class and name.
PARTS: dict[str, tuple[str, str]] = {
    "query_dense": ("EinsumDense", "query"),
    "key_dense": ("EinsumDense", "key"),
    "value_dense": ("EinsumDense", "value"),
    "output_dense": ("EinsumDense", "attention_output"),
    "forward_layer": ("", "forward_layer"),
    "backward_layer": ("", "backward_layer"),
    "seed_generator": ("SeedGenerator", "seed_generator"),
}
FROZEN = frozenset({"moving_mean", "moving_variance", "mean", "variance", "count", "vector_u"})
_FROZEN_QUANTIZED = frozenset(
    {"kernel_scale", "kernel_zero", "g_idx", "quantized_kernel", "awq_scales"}
    | {"embeddings_scale", "embeddings_zero"}
)
CLASSES = {snake(kind): kind for kind in TABLE if kind != "SeedGenerator"}


def names(
    kind: str, dtypes: Sequence[str], config: Mapping[str, Any] | None = None
) -> list[str | None]:
    """A name for each variable of a layer of class `kind`, None where it cannot be told.

    dtypes: canonical dtypes of its variables, in stored order. config: its options, if known.
    """
    count = len(dtypes)
    candidates = {
        tuple(chosen)
        for spec in _specs(kind, dtypes, config)
        for chosen in _chosen(spec, count, config)
    }
    if not candidates:
        return [None] * count
    return [at[0] if len(set(at)) == 1 else None for at in zip(*candidates, strict=True)]


def _specs(
    kind: str, dtypes: Sequence[str], config: Mapping[str, Any] | None
) -> list[tuple[str, ...]]:
    mode = quantization_mode(config)
    table = _QUANTIZED_EMBEDDINGS if kind.endswith("Embedding") else _QUANTIZED
    if mode in table and kind in ("Dense", "EinsumDense", "Embedding", "ReversibleEmbedding"):
        return list(table[mode])
    plain = TABLE.get(kind)
    if plain is None:
        return []
    integers = any(dtype in ("int8", "uint8") for dtype in dtypes)
    many = len(dtypes) > len(plain)
    if kind in ("Dense", "EinsumDense", "Embedding") and config is None and (integers or many):
        return [spec for specs in table.values() for spec in specs]
    return [plain]


def _chosen(
    spec: tuple[str, ...], count: int, config: Mapping[str, Any] | None
) -> Iterator[list[str]]:
    """The ways to take `count` names of `spec`, options that the config decides decided."""
    optional = []
    known: list[tuple[str, bool]] = []  # (name, may it be left out?)
    for item in spec:
        name, mark, option = item.partition("?")
        if not mark:
            known.append((name, False))
        elif option and config is not None:
            wanted = option.lstrip("!")
            if bool(config.get(wanted, wanted != "bias_axes")) != option.startswith("!"):
                known.append((name, False))
        else:
            known.append((name, True))
            optional.append(name)
    surplus = len(known) - count
    if 0 <= surplus <= len(optional):
        for dropped in itertools.combinations(optional, surplus):
            yield [name for name, _ in known if name not in dropped]


def quantization_mode(config: Mapping[str, Any] | None) -> str:
    """ "int8", "int4", "float8", "gptq", "awq" where the layer's dtype policy says so, else ""."""
    dtype = config.get("dtype") if config else None
    below = dtype.get("config") if isinstance(dtype, Mapping) else None
    mode = below.get("mode") if isinstance(below, Mapping) else None
    return mode.partition("/")[0] if isinstance(mode, str) else ""


def trained(name: str | None, dtype: str, mode: str) -> bool:
    """Is a variable of that name one that training changes, its layer not being frozen?"""
    if name in FROZEN or not dtype.startswith(("float", "bfloat", "complex")):
        return False
    return mode in ("", "float8") or name not in _FROZEN_QUANTIZED
