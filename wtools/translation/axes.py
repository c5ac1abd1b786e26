"""The axes of a stored tensor and the sizes of its letters, as far as a tree tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import NameNotFoundError
from ..layers import LayerMap, Meaning, TensorRole
from ..layouts import Layout
from .model import LAYOUTS
from .units import Unit


def axes_of(role: TensorRole, unit: Unit) -> str | None:
    """The axes of a tensor; None where nothing tells them."""
    meaning, tensor = role.meaning, role.tensor
    if meaning.kind == "einsum_dense":
        return einsum_axes(role, unit)
    if unit.kind.startswith("depthwise_conv") and meaning.role == "bias":
        return "(i m)" if tensor.ndim == 1 else None
    if meaning.axes:
        letters = meaning.axes.replace("(", "").replace(")", "").split()
        return meaning.axes if len(letters) >= tensor.ndim else None
    if not tensor.ndim:
        return ""
    if meaning.kind == "prelu" or meaning.role == "bias":
        return spread(tensor.shape, "c" if meaning.kind == "prelu" else "o")
    return None


def with_kinds(layers: LayerMap, kinds: Mapping[str, str], convention: str) -> LayerMap:
    """The map with the kinds that somebody gives. Raises UsageError for those that there are not.

    kinds: path of a layer, as the file has it or with "/" -> its kind.
    """
    if not kinds:
        return layers
    table = LAYOUTS[convention]
    for kind in kinds.values():
        if kind not in table:
            raise NameNotFoundError(kind, table, what=f"kind of layer in {convention}")
    found = {}
    for name, role in layers.tensors.items():
        path = role.layer.replace(layers.tree_separator, "/") if layers.tree_separator else ""
        own = kinds.get(role.layer) or kinds.get(path)
        found[name] = _told(role, own, table[own]) if own else role
    return replace(layers, tensors=found)


def _told(role: TensorRole, kind: str, layout: Layout) -> TensorRole:
    leaf = role.tensor.name.removeprefix(role.layer).lstrip("./")
    own = layout.role_of(leaf) or layout.role_of(leaf.rpartition("/")[2])
    axes = layout.roles[own].axes if own else ""
    return replace(role, meaning=Meaning(kind, own or leaf, axes, evidence="config"))


def spread(shape: tuple[int, ...], letter: str) -> str | None:
    """`letter` for the one long axis, 1 for the others; None where there is more than one.

    Where all are of size one the first is it: the slope of a PRelu is (channels, 1, 1).
    """
    long = [i for i, size in enumerate(shape) if size != 1]
    if len(long) > 1:
        return None
    at = long[0] if long else 0
    return " ".join(letter if i == at else "1" for i in range(len(shape)))


def einsum_axes(role: TensorRole, unit: Unit) -> str | None:
    """`i1 i2 o1`: input axes, then output axes, as the bias tells them.

    A bias as long as the kernel's last axes are: these are the outputs. Without a bias a kernel
    of two axes is (in, out), and one of more axes could be cut anywhere.
    """
    roles = {one.found.meaning.role: one.found.tensor for one in unit.roles}
    kernel, bias = roles.get("kernel"), roles.get("bias")
    if kernel is None:
        return None
    outs = 1 if kernel.ndim == 2 else 0
    if bias is not None:
        if not 0 < bias.ndim < kernel.ndim or kernel.shape[-bias.ndim :] != bias.shape:
            return None
        outs = bias.ndim
    if not outs:
        return None
    letters = [f"i{n}" for n in range(kernel.ndim - outs)] + [f"o{n}" for n in range(outs)]
    return " ".join(letters[-outs:] if role.meaning.role == "bias" else letters)


def known_sizes(
    unit: Unit, layout: Layout, layers: LayerMap, heads: int | None, facts: dict[str, Any]
) -> dict[str, int]:
    """The sizes that fused axes do not tell: gates, biases, directions, heads, multipliers."""
    known: dict[str, int] = {}
    if layout.gates:
        known |= {"g": len(layout.gates.split()), "b": 2}
    if unit.kind == "multi_head_attention":
        known["p"] = 3
        if heads:
            known["H"] = facts["heads"] = heads
        elif any("(" in one.found.meaning.axes for one in unit.roles):
            known["H"] = 1  # not told: all of it as one head, until somebody says better
            facts["heads"] = None
    if unit.kind.startswith(("depthwise_conv", "separable_conv")):
        known |= _multiplier(unit, layers, facts)
    return known


def _multiplier(unit: Unit, layers: LayerMap, facts: dict[str, Any]) -> dict[str, int]:
    """How many outputs each channel of a depthwise convolution makes, where they are fused.

    An ONNX node says its groups; else the layer before it tells how many channels come in.
    """
    kernels = [one.found for one in unit.roles if "kernel" in one.found.meaning.role]
    fused = [role for role in kernels if "(i m) 1" in role.meaning.axes]
    if not fused:
        return {}
    channels = fused[0].tensor.shape[0]
    told = fused[0].tensor.facts.get("group")
    if isinstance(told, int) and told > 0 and channels % told == 0:
        return {"i": told}
    group = layers.context.by_path.get(fused[0].layer)
    before = layers.context.before(group) if group is not None else None
    trusted = group is not None and layers.context.trusts_neighbours(group)
    if trusted and before and 0 < before.outs < channels and channels % before.outs == 0:
        facts["assumed"] = (
            f"{before.outs} channels come in, as the layer before it makes, "
            f"and each becomes {channels // before.outs}"
        )
        return {"i": before.outs}
    return {"i": channels}
