"""The conventions of torch.nn: channels first, weights (out, in). Checked by running torch."""

from __future__ import annotations

from . import Layout, Stored

BIAS = {"bias": Stored(("bias",), "o", optional=True)}
SPATIAL = {1: "k", 2: "h w", 3: "d h w"}
EPSILON = {"epsilon": 1e-5}


def _conv(n: int) -> Layout:
    return Layout((f"Conv{n}d",), {"kernel": Stored(("weight",), f"o i {SPATIAL[n]}"), **BIAS})


def _transposed(n: int) -> Layout:
    kernel = Stored(("weight",), f"i o {SPATIAL[n]}")
    return Layout((f"ConvTranspose{n}d",), {"kernel": kernel, **BIAS})


def _depthwise(n: int) -> Layout:
    """A convolution with as many groups as input channels."""
    kernel = Stored(("weight",), f"(i m) 1 {SPATIAL[n]}")
    bias = Stored(("bias",), "(i m)", optional=True)
    return Layout((f"Conv{n}d",), {"kernel": kernel, "bias": bias})


def _norm(*classes: str) -> Layout:
    roles = {
        "gamma": Stored(("weight",), "c", optional=True),
        "beta": Stored(("bias",), "c", optional=True),
    }
    return Layout(classes, roles, defaults=EPSILON)


def _recurrent(*classes: str, gates: str, axes: str) -> Layout:
    """Names of one direction of one layer: `_l0`, and `_reverse`, follow; a cell has neither."""
    roles = {
        "kernel": Stored(("weight_ih",), f"{axes} i"),
        "recurrent_kernel": Stored(("weight_hh",), f"{axes} v"),
        "bias": Stored(("bias_ih",), axes, optional=True),
        "recurrent_bias": Stored(("bias_hh",), axes, optional=True),
    }
    if "LSTM" in classes:
        roles["projection_kernel"] = Stored(("weight_hr",), "v u", optional=True)
    return Layout(classes, roles, gates=gates)


def _attention() -> Layout:
    kernels = ("query_kernel", "key_kernel", "value_kernel")
    biases = ("query_bias", "key_bias", "value_bias")
    return Layout(
        ("MultiheadAttention",),
        {
            "qkv_kernel": Stored(("in_proj_weight",), "(p H e) D", kernels, "p"),
            "qkv_bias": Stored(("in_proj_bias",), "(p H e)", biases, "p", optional=True),
            "query_kernel": Stored(("q_proj_weight",), "(H e) D", optional=True),
            "key_kernel": Stored(("k_proj_weight",), "(H e) D", optional=True),
            "value_kernel": Stored(("v_proj_weight",), "(H e) D", optional=True),
            "output_kernel": Stored(("out_proj.weight",), "D (H e)"),
            "output_bias": Stored(("out_proj.bias",), "D", optional=True),
            "extra_key": Stored(("bias_k",), "1 1 (H e)", optional=True),
            "extra_value": Stored(("bias_v",), "1 1 (H e)", optional=True),
        },
    )


LAYOUTS: dict[str, Layout] = {
    "dense": Layout(("Linear",), {"kernel": Stored(("weight",), "o i"), **BIAS}),
    "conv1d_as_dense": Layout(  # transformers.pytorch_utils.Conv1D, of GPT-2
        ("Conv1D",), {"kernel": Stored(("weight",), "i o"), **BIAS}
    ),
    **{f"conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"conv{n}d_transpose": _transposed(n) for n in (1, 2, 3)},
    **{f"depthwise_conv{n}d": _depthwise(n) for n in (1, 2, 3)},
    "embedding": Layout(("Embedding",), {"embeddings": Stored(("weight",), "V D")}),
    "batch_norm": Layout(
        ("BatchNorm2d", "BatchNorm1d", "BatchNorm3d", "SyncBatchNorm"),
        {
            "gamma": Stored(("weight",), "c", optional=True),
            "beta": Stored(("bias",), "c", optional=True),
            "moving_mean": Stored(("running_mean",), "c"),
            "moving_variance": Stored(("running_var",), "c"),
            "num_batches": Stored(("num_batches_tracked",), "", optional=True),
        },
        defaults={**EPSILON, "momentum": 0.1},  # of the new value: 1 - Keras' momentum
    ),
    "layer_norm": _norm("LayerNorm"),
    "group_norm": _norm("GroupNorm"),
    "instance_norm": _norm("InstanceNorm2d", "InstanceNorm1d", "InstanceNorm3d"),
    "rms_norm": Layout(
        ("RMSNorm",), {"gamma": Stored(("weight", "scale", "g"), "c")}, defaults={"epsilon": 1e-6}
    ),
    "prelu": Layout(("PReLU",), {"alpha": Stored(("weight",), "c")}),
    "rnn": _recurrent("RNN", "RNNCell", gates="h", axes="u"),
    "lstm": _recurrent("LSTM", "LSTMCell", gates="i f c o", axes="(g u)"),
    "gru": _recurrent("GRU", "GRUCell", gates="r z h", axes="(g u)"),
    "multi_head_attention": _attention(),
}
