"""Arrays that are only numbered (`arr_0` of numpy.savez, `params.3`): what follows what."""

from __future__ import annotations

import re

from .. import dtypes
from ..layouts import keras, torch
from ..tree import Tensor
from .model import Group, Meaning

_NUMBERED = re.compile(r"\D*\d+")
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_SURE = 0.75


def anonymous(group: Group) -> dict[str, Meaning]:
    """Kernels with the bias that follows each, and batch norms as four equal vectors in a row.

    As `model.get_weights()` of Keras gives them: a bias as long as the kernel's last axis means
    that it lies as Keras stores it, as long as its first axis, as torch does. Empty where the
    members have names.
    """
    members = [(leaf, t) for leaf, t in group.members.items() if t.ndim or t.size > 1]
    if len(members) < 2 or not all(_NUMBERED.fullmatch(leaf) for leaf in group.members):
        return {}
    members.sort(key=lambda item: int(re.findall(r"\d+", item[0])[-1][:18]))
    found: dict[str, Meaning] = {}
    at = 0
    while at < len(members):
        step = _norm(members[at : at + 4]) or _kernel(members[at : at + 2])
        found |= step
        at += max(1, len(step))
    return found


def _norm(four: list[tuple[str, Tensor]]) -> dict[str, Meaning]:
    shapes = {tensor.shape for _, tensor in four}
    if len(four) < 4 or len(shapes) > 1 or len(shapes.pop()) != 1:
        return {}
    pairs = zip(four, _NORM, strict=True)
    return {leaf: Meaning("batch_norm", role, "c", _SURE) for (leaf, _), role in pairs}


def _kernel(two: list[tuple[str, Tensor]]) -> dict[str, Meaning]:
    if len(two) < 2 or two[1][1].ndim != 1:
        return {}
    (leaf, kernel), (bias_leaf, bias) = two
    if {dtypes.get(tensor.dtype).kind for _, tensor in two} != {"float"}:
        return {}
    kind = {2: "dense", 3: "conv1d", 4: "conv2d", 5: "conv3d"}.get(kernel.ndim)
    if kind is None:
        return {}
    for layouts, axis in ((keras.LAYOUTS, -1), (torch.LAYOUTS, 0)):
        if kernel.shape[axis] == bias.size:
            axes = layouts[kind].roles["kernel"].axes
            return {
                leaf: Meaning(kind, "kernel", axes, _SURE),
                bias_leaf: Meaning(kind, "bias", "o", _SURE),
            }
    return {}
