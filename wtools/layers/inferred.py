"""What tensors are, from names and shapes alone: all members of a layer, amid the whole tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..layouts import torch
from . import special
from .anonymous import anonymous
from .channels_last import keras_named
from .context import Context, main_leaf
from .convolutions import convolution
from .estimators import linear_model
from .matrices import matrix
from .model import Group, Meaning
from .norms import scale_alone, scale_and_shift
from .parameters import parameter
from .recurrent import recurrent

SUREST = 0.99  # of what a file does not say

RULES: tuple[Callable[[Group], dict[str, Meaning]], ...] = (
    special.quantized,
    special.low_rank,
    recurrent,
    linear_model,
    special.attention,
    special.batch_norm,
)
_HELPERS = {  # of weight and spectral normalization, and of pruning
    "weight_g": "kernel_magnitude",
    "parametrizations.weight.original0": "kernel_magnitude",
    "weight_u": "power_iteration",
    "weight_v": "power_iteration",
    "weight_mask": "mask",
    "bias_mask": "mask",
}


def infer(group: Group, context: Context) -> dict[str, Meaning]:
    """A meaning for each member of a layer."""
    found: dict[str, Meaning] = {}
    for rule in RULES:
        found |= rule(group)
    if not found:
        found = _weighted(group, context) or keras_named(group, context) or anonymous(group)
    found |= special.packed(group)
    for leaf, tensor in group.members.items():
        if leaf not in found:
            found[leaf] = parameter(group, leaf, tensor, context)
    return {leaf: replace(m, confidence=min(m.confidence, SUREST)) for leaf, m in found.items()}


def _weighted(group: Group, context: Context) -> dict[str, Meaning]:
    """A layer with one main weight of torch's names."""
    leaf = main_leaf(group)
    if leaf is None or leaf == "kernel":
        return {}
    shape = group.shape(leaf) or ()
    bias = group.shape("bias")
    if 0 in shape:
        return {}
    if bias == shape and shape:  # before the matrices: a layer norm may have several axes
        kind, confidence, note = scale_and_shift(group, context)
        return special.by_layout(kind, group.members, confidence, note)
    if len(shape) == 1:
        if bias is not None:
            return {}
        return {leaf: scale_alone(group, context)}
    if len(shape) == 2:
        main = matrix(group, leaf, context)
    elif 3 <= len(shape) <= 5:
        main = convolution(group, leaf, context)
    else:
        return {}
    return {leaf: main} | _companions(group, leaf, main)


def _companions(group: Group, main: str, meaning: Meaning) -> dict[str, Meaning]:
    """The bias of a kernel, and what a reparametrization has put beside it."""
    found = {}
    for leaf in group.members:
        if leaf in ("bias", "b"):
            layout = torch.LAYOUTS.get(meaning.kind)
            stored = layout.roles.get("bias") if layout else None
            axes = stored.axes if stored else ""
            found[leaf] = Meaning(meaning.kind, "bias", axes, meaning.confidence)
        elif leaf != main and (leaf in _HELPERS or leaf.startswith("parametrizations.weight.")):
            role = _HELPERS.get(leaf, "power_iteration")
            found[leaf] = Meaning(meaning.kind, role, "", meaning.confidence)
    return found
