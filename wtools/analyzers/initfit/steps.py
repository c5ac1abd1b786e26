"""The way of a signal through a model, as its tensors in their order tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...layers import LayerMap
from .candidates import Setting
from .signal import Step

_LINEAR_PARTS = frozenset({"value", "output"})
_KINDS = ("dense", "conv", "depthwise_conv")
_NORMS = frozenset({"batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"})
_BEFORE_ACTIVATION = frozenset({"batch_norm", "group_norm", "instance_norm"})


@dataclass(frozen=True)
class Measured:
    """Of one tensor: standard deviation and root mean square of its elements."""

    std: float
    rms: float


def steps_of(
    found: LayerMap,
    told: Mapping[str, Setting],
    measures: Mapping[str, Measured],
    activations: Mapping[str, str],
) -> dict[str, Step]:
    """Name of a kernel, or of a normalization's gamma -> its step, from input to output.

    Of an attention the way through values and output is taken, of recurrent layers and embeddings
    none. A normalization between a kernel and its activation takes the activation over; the last
    kernel has none.
    """
    steps: dict[str, Step] = {}
    kernels: list[str] = []
    stated = "" not in activations
    for name, role in found.tensors.items():
        meaning, fans = role.meaning, told[name].fans
        if name not in measures:
            continue
        if meaning.role == "gamma" and meaning.kind in _NORMS:
            last = kernels[-1] if kernels else ""
            taken = "linear"
            if meaning.kind in _BEFORE_ACTIVATION and last == next(reversed(steps), ""):
                taken = steps[last].activation if last else "linear"
                if last:
                    steps[last] = replace(steps[last], activation="linear")
            steps[name] = Step(role.layer, activation=taken, norm=measures[name].rms or 1.0)
        elif meaning.role == "kernel" and meaning.kind.startswith(_KINDS) and fans:
            if meaning.part and meaning.part not in _LINEAR_PARTS:
                continue
            one = next((f for f in fans if f.by == "torch"), fans[0])
            usual = activations.get(role.layer, "linear") if stated else activations[""]
            activation = "linear" if meaning.part else usual
            steps[name] = Step(role.layer, one.ins, one.outs, measures[name].rms, 0.0, activation)
            kernels.append(name)
    if kernels and not stated:
        steps[kernels[-1]] = replace(steps[kernels[-1]], activation="linear")
    return steps
