"""What the rest of a model says of how one of its tensors was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...layers import LayerMap, TensorRole, blocks
from ...layers.words import words
from ...tree import WeightTree
from .candidates import Setting
from .fans import Fans, fans_of

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
TABLES = frozenset({"embedding", "positional", "token"})


def settings(tree: WeightTree, found: LayerMap) -> dict[str, Setting]:
    """By name of the tensor."""
    layers = found.layers()
    kernels = {path: _kernel(roles) for path, roles in layers.items()}
    std = _initializer_range(tree.architecture)
    depth = max(Counter(b.family for b in blocks(found).walk() if b.family).values(), default=0)
    heads = _heads(found)
    width = _width(found)
    answer = {}
    for name, role in found.tensors.items():
        meaning, tensor = role.meaning, role.tensor
        # a token of shape (1, 1, n) is a vector, the kernel of a layer of one unit is not
        long_axes = sum(size > 1 for size in tensor.shape)
        vector = tensor.ndim < 2 or (long_axes < 2 and "kernel" not in meaning.role)
        kind = meaning.kind
        setting = Setting(
            fans=() if vector else tuple(fans_of(tensor, meaning)),
            kernel=kernels[role.layer],
            std=std,
            depth=depth,
            width=width,
            keras=tree.format == "keras",
            recurrent=kind in _GATES,
            table=kind in TABLES,
            vector=vector,
            bias="bias" in meaning.role,
        )
        if kind in _GATES:
            setting = replace(setting, units=_units(layers[role.layer], role))
        if meaning.part == "query" and heads:
            outs = setting.fans[0].outs if setting.fans else 0
            setting = replace(setting, head=outs // heads)
        answer[name] = setting
    return answer


def _kernel(roles: list[TensorRole]) -> Fans | None:
    """Fans of a layer's own kernel, by which torch bounds the bias."""
    for role in roles:
        if role.meaning.role == "kernel" and role.tensor.ndim > 1:
            found = fans_of(role.tensor, role.meaning)
            return next((fans for fans in found if fans.by == "torch"), found[0])
    return None


def _units(roles: list[TensorRole], own: TensorRole) -> int:
    """Of a recurrent layer: the width of its state, which the outputs of a kernel are made of."""
    for role in roles:
        meaning = role.meaning
        kernel = meaning.role in ("kernel", "recurrent_kernel") and role.tensor.ndim > 1
        if kernel and meaning.part == own.meaning.part:
            return fans_of(role.tensor, meaning)[0].outs // _GATES[own.meaning.kind]
    return 0


def _initializer_range(architecture: Any) -> float:
    """The standard deviation that a transformers config names, 0 if none."""
    config = architecture.get("transformers") if isinstance(architecture, Mapping) else None
    for part in (config, config.get("text_config") if isinstance(config, Mapping) else None):
        if isinstance(part, Mapping):
            for key in ("initializer_range", "init_std"):
                value = part.get(key)
                if isinstance(value, (int, float)) and 0 < value < 100:
                    return float(value)
    return 0.0


def _heads(found: LayerMap) -> int:
    """Attention heads, where a table of relative positions (T5's) shows them."""
    for role in found.tensors.values():
        if "relative" in words(role.layer) and role.tensor.ndim == 2:
            return int(role.tensor.shape[1])
    return 0


def _width(found: LayerMap) -> int:
    """The width of the model: of its first table of embeddings."""
    for role in found.tensors.values():
        if role.meaning.kind == "embedding" and role.tensor.ndim == 2:
            return int(role.tensor.shape[1])
    return 0
