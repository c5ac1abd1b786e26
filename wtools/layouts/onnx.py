"""The conventions of ONNX operators, by the names of their inputs in the operator schemas."""

from __future__ import annotations

from . import Layout, Stored

SPATIAL = {1: "k", 2: "h w", 3: "d h w"}
EPSILON = {"epsilon": 1e-5}
BIAS = {"bias": Stored(("B",), "o", optional=True)}


def _conv(n: int, *, transposed: bool = False) -> Layout:
    axes = f"{'i o' if transposed else 'o i'} {SPATIAL[n]}"
    operator = "ConvTranspose" if transposed else "Conv"
    return Layout((operator,), {"kernel": Stored(("W",), axes), **BIAS})


def _depthwise(n: int) -> Layout:
    kernel = Stored(("W",), f"(i m) 1 {SPATIAL[n]}")
    return Layout(("Conv",), {"kernel": kernel, "bias": Stored(("B",), "(i m)", optional=True)})


def _norm(operator: str, scale: str, shift: str) -> Layout:
    roles = {"gamma": Stored((scale,), "c"), "beta": Stored((shift,), "c", optional=True)}
    return Layout((operator,), roles, defaults=EPSILON)


def _recurrent(operator: str, gates: str, axes: str) -> Layout:
    biases = ("bias", "recurrent_bias")
    roles = {
        "kernel": Stored(("W",), f"n {axes} i"),
        "recurrent_kernel": Stored(("R",), f"n {axes} v"),
        "biases": Stored(("B",), f"n (b {axes.strip('()')})", biases, "b", optional=True),
    }
    if operator == "LSTM":  # three gates look at the cell: i o f
        roles["peephole"] = Stored(("P",), "n (q u)", optional=True)
    return Layout((operator,), roles, gates=gates)


# A Gemm's bias is C; after a MatMul it is the constant of an Add.
_ADDED = {"bias": Stored(("C",), "o", optional=True)}

LAYOUTS: dict[str, Layout] = {
    # Gemm with transB=1 stores (o, i); MatMul, and Gemm without, (i, o)
    "dense": Layout(("MatMul", "Gemm"), {"kernel": Stored(("B",), "i o"), **_ADDED}),
    "dense_transposed": Layout(("Gemm",), {"kernel": Stored(("B",), "o i"), **_ADDED}),
    **{f"conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"conv{n}d_transpose": _conv(n, transposed=True) for n in (1, 2, 3)},
    **{f"depthwise_conv{n}d": _depthwise(n) for n in (1, 2, 3)},
    "embedding": Layout(("Gather",), {"embeddings": Stored(("data",), "V D")}),
    "batch_norm": Layout(
        ("BatchNormalization",),
        {
            "gamma": Stored(("scale",), "c"),
            "beta": Stored(("B",), "c"),
            "moving_mean": Stored(("input_mean", "mean"), "c"),
            "moving_variance": Stored(("input_var", "var"), "c"),
        },
        defaults={**EPSILON, "momentum": 0.9},
    ),
    "layer_norm": _norm("LayerNormalization", "Scale", "B"),
    "group_norm": _norm("GroupNormalization", "scale", "bias"),
    "instance_norm": _norm("InstanceNormalization", "scale", "B"),
    "rms_norm": Layout(
        ("RMSNormalization", "SimplifiedLayerNormalization"),
        {"gamma": Stored(("scale",), "c")},
        defaults=EPSILON,
    ),
    "prelu": Layout(("PRelu",), {"alpha": Stored(("slope",), "*")}),
    "rnn": _recurrent("RNN", "h", "u"),
    "lstm": _recurrent("LSTM", "i o f c", "(g u)"),
    "gru": _recurrent("GRU", "z r h", "(g u)"),
}
