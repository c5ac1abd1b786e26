"""Normalizations, and PReLU, which looks like one that has lost its bias."""

from __future__ import annotations

from .context import Context
from .model import Group, Meaning
from .words import (
    ACTIVATION,
    GROUP_NORM,
    INSTANCE_NORM,
    LAYER_NORM,
    NORM,
    RMS_NORM,
    says,
)


def scale_alone(group: Group, context: Context) -> Meaning:
    """A layer whose one tensor is a vector."""
    length = group.length("weight", "scale", "g", "gamma") or 0
    called = set(group.called)
    if length == 1 or called & ACTIVATION:
        sure = 0.97 if called & ACTIVATION else 0.8
        return Meaning("prelu", "alpha", "c", sure)
    if called & NORM or says(group.called, "layer", "norm"):
        note = "" if called & RMS_NORM else "or a layer norm without bias"
        return Meaning("rms_norm", "gamma", "c", 0.97 if called & RMS_NORM else 0.85, note=note)
    before = context.before(group)
    after_convolution = context.convolutional and before is not None and before.outs == length
    if after_convolution:
        return Meaning("prelu", "alpha", "c", 0.8, note="or an RMS norm")
    return Meaning("rms_norm", "gamma", "c", 0.6, note="or PReLU, or a layer norm without bias")


def scale_and_shift(group: Group, context: Context) -> tuple[str, float, str]:
    """(kind, confidence, note) of a layer with a weight and a bias of one shape and no more."""
    called = set(group.called)
    if called & LAYER_NORM or says(group.called, "layer", "norm"):
        return "layer_norm", 0.97, ""
    if called & GROUP_NORM or says(group.called, "group", "norm"):
        return "group_norm", 0.97, ""
    if called & INSTANCE_NORM or says(group.called, "instance", "norm"):
        return "instance_norm", 0.97, ""
    if called & {"bn"} or says(group.called, "batch", "norm"):
        return "batch_norm", 0.6, "or group, instance or layer norm: it has no statistics"
    before, after = context.before(group), context.after(group)
    if context.convolutional and _among_convolutions(group, context):
        return "group_norm", 0.5, "or instance norm, or layer norm: their tensors are alike"
    sure = 0.9 if before is None or not context.convolutional else 0.6
    doubt = "" if sure > 0.8 or after is None else "or group norm: their tensors are alike"
    return "layer_norm", sure, doubt


def _among_convolutions(group: Group, context: Context) -> bool:
    """Does a convolution stand before it, and another after it, or at most the head?"""
    axes = {-1: 0, 1: 0}
    for step in axes:
        at = group.at + step
        while 0 <= at < len(context.groups) and not axes[step]:
            near = context.groups[at]
            shape = near.shape("weight") or ()
            head = step > 0 and at == len(context.groups) - 1
            axes[step] = len(shape) if len(shape) > 2 or (len(shape) > 1 and not head) else 0
            at += step
    return axes[-1] > 2 and axes[1] in (0, 3, 4, 5)
