"""Layers named as Keras and Flax name them, in trees that do not say their classes."""

from __future__ import annotations

from ..layouts import keras
from .context import Context
from .model import Group, Meaning
from .words import ACTIVATION, says

_RENAMED = {  # Flax -> Keras
    "embedding": "embeddings",
    "mean": "moving_mean",
    "var": "moving_variance",
    "scale": "gamma",
}
_PROJECTIONS = frozenset(
    name for stored in keras.LAYOUTS["multi_head_attention"].roles.values() for name in stored.names
)
_NORM = frozenset({"gamma", "beta"})


def keras_named(group: Group, context: Context) -> dict[str, Meaning]:
    """What the members are, by Keras' names; empty where they have none of these."""
    called = {_RENAMED.get(leaf, leaf): leaf for leaf in group.members}
    kind, confidence, note = _kind(group, called)
    if not kind:
        return {}
    if kind == "multi_head_attention":
        return _projection(group)
    if kind == "conv_lstm":
        return {leaf: Meaning(kind, leaf, "", confidence) for leaf in group.members}
    layout = keras.LAYOUTS[kind]
    found = {}
    for name, leaf in called.items():
        own = "beta" if kind.endswith("_norm") and name == "bias" else name
        role = layout.role_of(own) or layout.role_of(leaf)
        if role:
            axes = layout.roles[role].axes
            shown = kind.removesuffix("_reset_before")
            found[leaf] = Meaning(shown, role, axes, confidence, note=note)
    return found


def _projection(group: Group) -> dict[str, Meaning]:
    """Query, key, value or output of Keras' MultiHeadAttention, by the name of its sub-layer."""
    layout = keras.LAYOUTS["multi_head_attention"]
    found = {}
    for leaf in group.members:
        role = layout.role_of(f"{group.parts[-1]}/{leaf}")
        if role:
            axes = layout.roles[role].axes
            found[leaf] = Meaning("multi_head_attention", role, axes, 0.9, part=role.split("_")[0])
    return found


def _kind(group: Group, called: dict[str, str]) -> tuple[str, float, str]:
    def shape(name: str) -> tuple[int, ...]:
        return group.shape(called.get(name, "")) or ()

    if "recurrent_kernel" in called:
        return _recurrent(shape("kernel"), shape("recurrent_kernel"), shape("bias"))
    if "depthwise_kernel" in called:
        n = len(shape("depthwise_kernel")) - 2
        family = "separable" if "pointwise_kernel" in called else "depthwise"
        return (f"{family}_conv{n}d", 0.99, "") if n in (1, 2) else ("", 0, "")
    if "kernel" in called:
        projection = group.parts and f"{group.parts[-1]}/kernel" in _PROJECTIONS
        if projection and len(shape("kernel")) == 3:
            return "multi_head_attention", 0.9, ""
        return _kernel(shape("kernel"), shape("bias"))
    if "embeddings" in called and len(shape("embeddings")) == 2:
        return "embedding", 0.97, ""
    if {"moving_mean", "moving_variance"} <= called.keys():
        return "batch_norm", 0.97, ""
    if "alpha" in called and (group.separator == "/" or ACTIVATION & set(group.called)):
        return "prelu", 0.9, ""
    if _NORM & called.keys() and "weight" not in called:
        if called.keys() & {"beta", "bias"}:
            return "layer_norm", 0.8, "or group norm: their tensors are alike"
        scale = called.get("gamma") == "scale" and len(shape("gamma")) == 1
        if scale and not says(group.called, "layer", "scale"):
            return "rms_norm", 0.8, "or a layer norm without bias"
    return "", 0, ""


def _recurrent(
    kernel: tuple[int, ...], recurrent: tuple[int, ...], bias: tuple[int, ...]
) -> tuple[str, float, str]:
    if len(recurrent) == len(kernel) > 2:
        return "conv_lstm", 0.95, ""
    if len(recurrent) != 2 or len(kernel) != 2:
        return "", 0, ""
    gates = recurrent[1] // max(1, recurrent[0])
    kind = {4: "lstm", 3: "gru", 1: "rnn"}.get(gates, "")
    if kind == "gru" and bias:
        after = len(bias) == 2
        return (
            "gru" if after else "gru_reset_before",
            0.99,
            f"reset_{'after' if after else 'before'}",
        )
    return kind, 0.99, ""


def _kernel(shape: tuple[int, ...], bias: tuple[int, ...]) -> tuple[str, float, str]:
    if len(shape) == 2:
        return "dense", 0.97, ""
    if len(bias) == 2 or (len(shape) == 3 and bias and bias[0] not in shape[1:]):
        return "einsum_dense", 0.8, ""
    n = len(shape) - 2
    if n not in (1, 2, 3):
        return "", 0, ""
    if len(bias) == 1 and bias[0] == shape[-2] != shape[-1]:
        if shape[-1] == 1 and n < 3:
            return f"depthwise_conv{n}d", 0.9, ""
        return f"conv{n}d_transpose", 0.95, ""
    return f"conv{n}d", 0.85 if bias else 0.75, ""
