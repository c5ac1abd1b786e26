"""Convolutions from their shapes and neighbours: plain, depthwise, transposed."""

from __future__ import annotations

import math

from ..layouts import torch
from .context import Context
from .model import Group, Meaning
from .words import CONVOLUTION, EXPERTS, SURELY_UPWARDS, UPWARDS


def convolution(group: Group, leaf: str, context: Context) -> Meaning:
    """What a weight of three to five axes in torch's order is."""
    shape = group.shape(leaf) or ()
    n = len(shape) - 2
    bias = group.length("bias")
    if n == 1 and _stacked_matrices(group, shape):
        return Meaning("dense", "kernel", "x o i", 0.7, note="one matrix for each first index")
    certainty = _transposed(group, shape, bias, context)
    if certainty > 0.5:
        kind = f"conv{n}d_transpose"
        return Meaning(kind, "kernel", _axes(kind), certainty, note=_doubt(certainty, "conv"))
    if shape[1] == 1 and shape[0] > 1:
        depthwise = _depthwise(group, shape, context)
        if depthwise > 0.5:
            kind = f"depthwise_conv{n}d"
            return Meaning(kind, "kernel", _axes(kind), min(depthwise, 1 - certainty))
        return Meaning(f"conv{n}d", "kernel", _axes(f"conv{n}d"), 1 - depthwise)
    kind = f"conv{n}d"
    sure = 1 - certainty
    return Meaning(kind, "kernel", _axes(kind), sure, note=_doubt(sure, "transposed conv"))


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def _axes(kind: str) -> str:
    return torch.LAYOUTS[kind].roles["kernel"].axes


def _doubt(confidence: float, other: str) -> str:
    return f"or {other}: its shape fits both" if confidence < 0.9 else ""


def _stacked_matrices(group: Group, shape: tuple[int, ...]) -> bool:
    """Weights of experts, (expert, out, in), and not a convolution of length `in`."""
    if group.words & CONVOLUTION:
        return False
    return bool(group.words & EXPERTS) or (shape[2] > 64 and shape[0] < shape[2])


def _transposed(group: Group, shape: tuple[int, ...], bias: int | None, context: Context) -> float:
    """How likely the weight is (in, out / groups, ...)."""
    first, second, kernel = shape[0], shape[1], shape[2:]
    if bias is not None and first != second:
        if bias == first:
            return 0.02 if second > 1 or not group.words & SURELY_UPWARDS else 0.8
        if bias == second or bias % second == 0:
            return 0.98
    score = -3.0 - 3.0 * (max(kernel) == 1) + 1.5 * (min(kernel) > 1 and kernel[0] % 2 == 0)
    score += 6.0 * bool(group.words & SURELY_UPWARDS)
    score += 2.0 * bool(set(group.called) & UPWARDS) + 1.0 * bool(group.words & UPWARDS)
    if first != second and second > 1:
        score += _by_neighbours(group, first, second, bias, context)
    return sigmoid(score)


def _by_neighbours(
    group: Group, first: int, second: int, bias: int | None, context: Context
) -> float:
    """Log-odds by what the layers beside it take and make."""
    before, after = context.before(group), context.after(group)
    score = 0.0
    if after is not None:
        weight = 4.0 if after.norm and bias is None else 1.0
        score += weight * ((after.ins == second) - (after.ins == first))
    if before is not None:
        score += 2.0 * ((before.outs == first) - (before.outs == second))
        follows = after is None or (after.ins != first and second in context.normed)
        if before.outs == first and follows and not context.made[second]:
            score += 2.0  # nothing makes as many channels as a plain convolution would need
    return score if context.trusts_neighbours(group) else 0.25 * score


def _depthwise(group: Group, shape: tuple[int, ...], context: Context) -> float:
    """How likely a weight (c, 1, ...) has c groups, and not one input channel."""
    channels = shape[0]
    before = context.before(group)
    if max(shape[2:]) == 1:
        return 0.8 if before is not None and before.outs == channels else 0.1
    if before is None and context.trusts_neighbours(group):
        return 0.05
    if before is None:
        entries = any(1 < s[1] <= 4 for s in context.kernels)
        return 0.8 if entries and context.made[channels] else 0.05
    if before.outs <= 1:
        return 0.1
    if channels % before.outs == 0 or before.outs % channels == 0:
        return 0.97
    return 0.9 if context.made[channels] else 0.6
