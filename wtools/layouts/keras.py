"""The conventions of Keras 2 and 3: channels last, kernels (in, out). Checked by running Keras."""

from __future__ import annotations

from . import Layout, Stored

BIAS = {"bias": Stored(("bias",), "o", optional=True)}
SPATIAL = {1: "k", 2: "h w", 3: "d h w"}
EPSILON = {"epsilon": 1e-3}


def _conv(n: int) -> Layout:
    return Layout((f"Conv{n}D",), {"kernel": Stored(("kernel",), f"{SPATIAL[n]} i o"), **BIAS})


def _transposed(n: int) -> Layout:
    kernel = Stored(("kernel",), f"{SPATIAL[n]} o i")
    return Layout((f"Conv{n}DTranspose",), {"kernel": kernel, **BIAS})


def _depthwise(n: int) -> Layout:
    kernel = Stored(("kernel", "depthwise_kernel"), f"{SPATIAL[n]} i m")
    bias = Stored(("bias",), "(i m)", optional=True)
    return Layout((f"DepthwiseConv{n}D",), {"kernel": kernel, "bias": bias})


def _separable(n: int) -> Layout:
    ones = " ".join("1" * n)
    return Layout(
        (f"SeparableConv{n}D",),
        {
            "depthwise_kernel": Stored(("depthwise_kernel",), f"{SPATIAL[n]} i m"),
            "pointwise_kernel": Stored(("pointwise_kernel",), f"{ones} (i m) o"),
            **BIAS,
        },
    )


def _recurrent(*classes: str, gates: str, axes: str, bias: dict[str, Stored]) -> Layout:
    kernels = {
        "kernel": Stored(("kernel",), f"i {axes}"),
        "recurrent_kernel": Stored(("recurrent_kernel",), f"v {axes}"),
    }
    return Layout(classes, {**kernels, **bias}, gates=gates)


def _norm(*classes: str) -> Layout:
    roles = {name: Stored((name,), "c", optional=True) for name in ("gamma", "beta")}
    return Layout(classes, roles, defaults=EPSILON)


def _attention() -> Layout:
    roles: dict[str, Stored] = {}
    for part in ("query", "key", "value"):
        roles[f"{part}_kernel"] = Stored((f"{part}/kernel",), "D H e")
        roles[f"{part}_bias"] = Stored((f"{part}/bias",), "H e", optional=True)
    out = "attention_output"
    roles["output_kernel"] = Stored((f"{out}/kernel", "output/kernel"), "H e D")
    roles["output_bias"] = Stored((f"{out}/bias", "output/bias"), "D", optional=True)
    return Layout(("MultiHeadAttention", "GroupedQueryAttention"), roles)


_GATED_BIAS = {"bias": Stored(("bias",), "(g u)", optional=True)}
_BOTH_BIASES = {
    "biases": Stored(("bias",), "b (g u)", ("bias", "recurrent_bias"), "b", optional=True)
}

LAYOUTS: dict[str, Layout] = {
    "dense": Layout(("Dense",), {"kernel": Stored(("kernel",), "i o"), **BIAS}),
    "einsum_dense": Layout(
        ("EinsumDense",),
        {"kernel": Stored(("kernel",), "*"), "bias": Stored(("bias",), "*", optional=True)},
    ),
    **{f"conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"conv{n}d_transpose": _transposed(n) for n in (1, 2, 3)},
    **{f"depthwise_conv{n}d": _depthwise(n) for n in (1, 2)},
    **{f"separable_conv{n}d": _separable(n) for n in (1, 2)},
    "embedding": Layout(("Embedding",), {"embeddings": Stored(("embeddings",), "V D")}),
    "batch_norm": Layout(
        ("BatchNormalization", "SyncBatchNormalization"),
        {
            "gamma": Stored(("gamma",), "c", optional=True),
            "beta": Stored(("beta",), "c", optional=True),
            "moving_mean": Stored(("moving_mean", "running_mean"), "c"),
            "moving_variance": Stored(("moving_variance", "running_std"), "c"),
        },
        defaults={**EPSILON, "momentum": 0.99},
    ),
    "layer_norm": _norm("LayerNormalization"),
    "group_norm": _norm("GroupNormalization"),
    "instance_norm": _norm("InstanceNormalization"),
    "rms_norm": Layout(
        ("RMSNormalization",), {"gamma": Stored(("scale",), "c")}, defaults={"epsilon": 1e-6}
    ),
    "prelu": Layout(("PReLU",), {"alpha": Stored(("alpha",), "*")}),
    "rnn": _recurrent(
        *("SimpleRNN", "SimpleRNNCell"),
        gates="h",
        axes="u",
        bias={"bias": Stored(("bias",), "u", optional=True)},
    ),
    "lstm": _recurrent("LSTM", "LSTMCell", gates="i f c o", axes="(g u)", bias=_GATED_BIAS),
    "gru": _recurrent("GRU", "GRUCell", gates="z r h", axes="(g u)", bias=_BOTH_BIASES),
    "gru_reset_before": _recurrent("GRU", "GRUCell", gates="z r h", axes="(g u)", bias=_GATED_BIAS),
    "multi_head_attention": _attention(),
}
