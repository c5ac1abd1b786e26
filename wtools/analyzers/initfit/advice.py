"""Where a known rule of initialization is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...layers import TensorRole
from .judge import UNTOUCHED, Judgement
from .signal import Signal

_KERNELS = ("dense", "conv", "einsum_dense", "lstm", "gru", "rnn")
_RECTIFIED = ("relu", "leaky_relu", "relu6", "gelu", "silu", "elu")


def advice_on(role: TensorRole, found: Judgement) -> str:
    """On one tensor, "" if there is nothing to say."""
    meaning = role.meaning
    if found.verdict != UNTOUCHED:
        return ""
    kernel = "kernel" in meaning.role and meaning.kind.startswith(_KERNELS)
    if kernel and found.fit == "zeros":
        return "all zero: what comes before it gets no gradient until it has moved"
    if kernel and found.exact and found.fit.startswith(("ones", "constant")):
        return "all units are equal, and equal gradients keep them so: draw them at random"
    if found.twins:
        return (
            f"{found.twins:,} units repeat another exactly, and learn the same unless noise differs"
        )
    if meaning.kind in ("lstm", "conv_lstm") and "bias" in meaning.role and found.fit == "zeros":
        return "the forget gate begins half closed: a bias of 1 lets long memories be learned"
    return ""


def advice_on_signal(
    signal: Signal,
    activation: str,
    stated: bool,
    roles: Mapping[str, TensorRole],
    found: Mapping[str, Judgement],
) -> Sequence[str]:
    """On the network as a whole. stated: is the activation known, or assumed?"""
    if signal.word == "steady" or len(signal.names) < 2:
        return []
    drawn = [
        judgement.fit
        for name, judgement in found.items()
        if "kernel" in roles[name].meaning.role and judgement.verdict == UNTOUCHED
    ]
    if not drawn:
        return []
    sizes = f"{signal.total:.2g} forward, {signal.total_backward:.2g} backward"
    if not stated:
        sizes += f", if {activation} follows each layer"
    glorot = sum("glorot" in name or "torch_default" in name for name in drawn)
    if signal.word == "vanishing" and activation in _RECTIFIED and 2 * glorot > len(drawn):
        return [
            f"the signal vanishes ({sizes}): Glorot and torch's default are made for activations "
            f"that keep the variance, {activation} halves it; He's initializers make up for that"
        ]
    if signal.word == "vanishing":
        return [f"the signal vanishes ({sizes}): the scales are too small for {activation}"]
    return [f"the signal explodes ({sizes}): the scales are too large for {activation}"]
