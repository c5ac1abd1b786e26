"""Layers known by the names of their tensors alone: attention, quantized, low-rank, batch norm."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..layouts import torch
from .model import Group, Meaning

_LORA = re.compile(r"lora_(?P<which>\w+?)(?:\.\w+)?(?:\.weight)?")
_LORA_ROLES = {
    **dict.fromkeys(("A", "down", "a"), ("lora_a", "r i")),
    **dict.fromkeys(("B", "up", "b"), ("lora_b", "o r")),
    "embedding_A": ("lora_a", "r V"),
    "embedding_B": ("lora_b", "D r"),
    "magnitude_vector": ("magnitude", "o"),
}
_QUANTIZED = {  # AutoGPTQ, AutoAWQ, compressed-tensors, bitsandbytes, fp8 checkpoints
    "qweight": "packed_kernel",
    "weight_packed": "packed_kernel",
    "qzeros": "zero_points",
    "weight_zero_point": "zero_points",
    "scales": "scales",
    "weight_scale": "scales",
    "weight_scale_inv": "scales",
    "input_scale": "input_scale",
    "g_idx": "group_index",
    "weight_shape": "shape",
    "weight_g_idx": "group_index",
    "SCB": "scales",
    "weight_format": "format",
}


def attention(group: Group) -> dict[str, Meaning]:
    """nn.MultiheadAttention's own tensors, its output projection left to itself."""
    layout = torch.LAYOUTS["multi_head_attention"]
    own = {leaf: layout.role_of(leaf) for leaf in group.members if layout.role_of(leaf)}
    if not any(leaf.endswith("proj_weight") for leaf in own):
        return {}
    fused = "in_proj_weight" in own
    return {
        leaf: Meaning(
            "multi_head_attention",
            role,
            layout.roles[role].axes,
            0.99,
            part="qkv" if fused and role.startswith("qkv") else role.partition("_")[0],
        )
        for leaf, role in own.items()
    }


def quantized(group: Group) -> dict[str, Meaning]:
    """A linear layer whose kernel is packed, or stands beside its scales."""
    own = {leaf: _QUANTIZED[leaf] for leaf in group.members if leaf in _QUANTIZED}
    states = [leaf for leaf in group.members if leaf.startswith("weight.")]
    if not (own.keys() - {"scales", "g_idx", "weight_shape"} or states):
        return {}
    found = {leaf: Meaning("quantized_linear", role, confidence=0.97) for leaf, role in own.items()}
    found |= {leaf: Meaning("quantized_linear", "scales", confidence=0.97) for leaf in states}
    if "weight" in group.members:
        shape = group.shape("weight") or ()
        axes = "o i" if len(shape) == 2 and not states else ""
        found["weight"] = Meaning("quantized_linear", "kernel", axes, 0.97)
    if "bias" in group.members:
        found["bias"] = Meaning("quantized_linear", "bias", "o", 0.97)
    return found


def packed(group: Group) -> dict[str, Meaning]:
    """Layers of torch.ao.quantization: the scale of what goes out, and the packed parameters."""
    if group.parts[-1:] == ("_packed_params",):
        roles = {"0": ("packed_kernel", "o i"), "1": ("bias", "o")}
        known = {leaf: roles[leaf] for leaf in group.members if leaf in roles}
        return {leaf: Meaning("quantized_linear", *known[leaf], 0.9) for leaf in known}
    if not {"scale", "zero_point"} <= group.members.keys():
        return {}
    return {
        "scale": Meaning("quantization", "scales", confidence=0.9),
        "zero_point": Meaning("quantization", "zero_points", confidence=0.9),
    }


def low_rank(group: Group) -> dict[str, Meaning]:
    """The pair A, B of a low-rank adapter: the layer's kernel gains B A."""
    found = {}
    for leaf, tensor in group.members.items():
        match = _LORA.fullmatch(leaf)
        known = _LORA_ROLES.get(match["which"]) if match else None
        if known:
            role, axes = known
            axes = axes if tensor.ndim <= 2 else f"{axes} " + " ".join("dhw"[5 - tensor.ndim :])
            found[leaf] = Meaning("lora", role, axes.strip(), 0.98, within="lora", part=role[-1])
    return found


def batch_norm(group: Group) -> dict[str, Meaning]:
    """A layer with running statistics."""
    if "running_mean" not in group.members:
        return {}
    return by_layout("batch_norm", group.members, 0.97)


def by_layout(
    kind: str, members: Mapping[str, object], confidence: float, note: str = ""
) -> dict[str, Meaning]:
    """Roles and axes of those members that torch's layout of a kind names."""
    layout = torch.LAYOUTS[kind]
    found = {}
    for leaf in members:
        role = layout.role_of(leaf)
        if role:
            found[leaf] = Meaning(kind, role, layout.roles[role].axes, confidence, note=note)
    return found
