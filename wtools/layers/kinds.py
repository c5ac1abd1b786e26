"""The canonical kinds, and what frameworks call them."""

from __future__ import annotations

from ..layouts import keras, sklearn, torch

KINDS: tuple[str, ...] = (
    *("dense", "einsum_dense", "quantized_linear", "linear_model", "embedding", "positional"),
    *("conv1d", "conv2d", "conv3d", "depthwise_conv1d", "depthwise_conv2d", "depthwise_conv3d"),
    *("separable_conv1d", "separable_conv2d"),
    *("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"),
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "prelu"),
    *("rnn", "lstm", "gru", "multi_head_attention", "lora"),
    *(
        "token",
        "layer_scale",
        "normalization",
        "attention",
        "conv_lstm",
        "locally_connected",
        "quantization",
        "buffer",
    ),
    "unknown",
)
# Composites that lend their layers a frame but own no weights: `Meaning.within`.
WRAPPERS: dict[str, str] = {
    "Bidirectional": "bidirectional",
    "TimeDistributed": "time_distributed",
    "SpectralNormalization": "spectral_normalization",
    "RNN": "",
}


def _classes() -> dict[str, str]:
    """Class name -> kind, by the conventions of both frameworks and what they leave out."""
    found = {
        name: kind.replace("_reset_before", "")
        for layouts in (keras.LAYOUTS, torch.LAYOUTS)
        for kind, layout in layouts.items()
        if kind != "conv1d_as_dense"
        and (not kind.startswith("depthwise_conv") or layouts is keras.LAYOUTS)
        for name in layout.classes
    }
    return found | {
        **{name: kind for kind, layout in sklearn.LAYOUTS.items() for name in layout.classes},
        "NonDynamicallyQuantizableLinear": "dense",
        "LinearCell": "dense",
        "EmbeddingBag": "embedding",
        "ReversibleEmbedding": "embedding",
        "TokenAndPositionEmbedding": "embedding",
        "PositionEmbedding": "positional",
        "LayerNorm2d": "layer_norm",
        "FrozenBatchNorm2d": "batch_norm",
        "BatchNormAct2d": "batch_norm",
        "UnitNormalization": "layer_norm",
        "Normalization": "normalization",
        "Attention": "attention",
        "AdditiveAttention": "attention",
        **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "conv_lstm"),
        **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), "locally_connected"),
    }


CLASSES: dict[str, str] = _classes()


def kind_of_class(name: str) -> str:
    """The kind of a framework's class, "" where it is not known. Module paths are left out."""
    own = name.rpartition(".")[2].rpartition(">")[2]
    if own == "Conv1D" and name.startswith("transformers."):
        return "dense"
    if own in CLASSES:
        return CLASSES[own]
    if own.endswith("RMSNorm"):
        return "rms_norm"
    return ""
