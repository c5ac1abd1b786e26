"""The truth about a torch model's tensors: the classes of its modules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from wtools.layers import layer_map
from wtools.tree import Storage, Tensor, WeightTree

# Parameters of modules that are no layer of a known kind may be called any of these.
OTHER = {"unknown", "token", "positional", "layer_scale", "buffer"}
CLASSES: list[tuple[Any, str]] = [
    (nn.Linear, "dense"),
    (nn.Bilinear, "other"),
    (nn.ConvTranspose1d, "conv1d_transpose"),
    (nn.ConvTranspose2d, "conv2d_transpose"),
    (nn.ConvTranspose3d, "conv3d_transpose"),
    (nn.Conv1d, "conv1d"),
    (nn.Conv2d, "conv2d"),
    (nn.Conv3d, "conv3d"),
    (nn.Embedding, "embedding"),
    (nn.EmbeddingBag, "embedding"),
    (nn.modules.instancenorm._InstanceNorm, "instance_norm"),
    (nn.modules.batchnorm._BatchNorm, "batch_norm"),
    (nn.LayerNorm, "layer_norm"),
    (nn.GroupNorm, "group_norm"),
    (nn.RMSNorm, "rms_norm"),
    (nn.PReLU, "prelu"),
    ((nn.LSTM, nn.LSTMCell), "lstm"),
    ((nn.GRU, nn.GRUCell), "gru"),
    ((nn.RNN, nn.RNNCell), "rnn"),
    (nn.MultiheadAttention, "multi_head_attention"),
]


def kind_of(module: nn.Module) -> str:
    """The kind by the module's class; "other" where it is a class of the model's own."""
    for cls, kind in CLASSES:
        if isinstance(module, cls):
            groups = getattr(module, "groups", 1)
            if kind in ("conv1d", "conv2d", "conv3d") and groups == module.in_channels > 1:
                return f"depthwise_{kind}"
            return kind
    name = type(module).__name__
    if name == "Conv1D":  # transformers: a linear layer whose weight is (in, out)
        return "dense"
    if name.endswith(("RMSNorm", "T5LayerNorm")):
        return "rms_norm"
    if name.endswith(("Experts", "Router")):  # matrices that F.linear multiplies with
        return "dense"
    if name.endswith("FrozenBatchNorm2d"):
        return "batch_norm"
    if name.endswith(("LayerNorm", "LayerNorm2d")):
        return "layer_norm"
    return "other"


def truth_of(model: nn.Module) -> dict[str, str]:
    """Name in the state dict -> kind."""
    state = model.state_dict(keep_vars=True)
    found = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if ".parametrizations" in path:
            continue
        kind = kind_of(module)
        for leaf in (*module._parameters, *module._buffers):
            name = f"{path}.{leaf}" if path else leaf
            if name in state:
                found[name] = kind
        if hasattr(module, "parametrizations"):
            for name in state:
                if name.startswith(f"{path}.parametrizations."):
                    found[name] = kind
    return {name: found.get(name, "other") for name in state}


def tree_of(state: dict[str, torch.Tensor]) -> WeightTree:
    """A tree as a reader makes it: ties told by the storage, no classes."""
    tensors = []
    for name, value in state.items():
        storage = Storage("", value.data_ptr(), value.nbytes) if value.numel() else None
        array = value.detach().to(torch.float32 if value.is_floating_point() else value.dtype)
        tensors.append(Tensor.of(name, array.numpy(), storage=storage))
    return WeightTree(tensors, separator=".", format="pytorch")


@dataclass
class Score:
    """Parameters by outcome. wrong: (truth, found) -> parameters; names: examples of each."""

    right: int = 0
    total: int = 0
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    by_confidence: Counter[tuple[int, bool]] = field(default_factory=Counter)

    @property
    def fraction(self) -> float:
        return self.right / max(1, self.total)

    def __str__(self) -> str:
        lines = [f"{self.fraction:.4%} of {self.total:,}"]
        for pair, count in self.wrong.most_common(8):
            share = count / self.total
            lines.append(f"  {share:8.3%} {pair[0]} taken for {pair[1]}: {self.names[pair]}")
        return "\n".join(lines)


def score(model: nn.Module, *, in_text_order: bool = False) -> Score:
    """How many parameters get the right kind from the state dict alone."""
    state = dict(model.state_dict())
    if in_text_order:
        state = dict(sorted(state.items()))
    return score_tree(tree_of(state), truth_of(model))


def score_tree(tree: WeightTree, truth: dict[str, str]) -> Score:
    found = layer_map(tree)
    result = Score()
    for tensor in tree.distinct():
        kind = found.tensors[tensor.name].meaning.kind
        wanted = truth[tensor.name]
        right = kind == wanted or (wanted == "other" and kind in OTHER)
        result.total += tensor.size
        result.right += tensor.size * right
        confidence = found.tensors[tensor.name].meaning.confidence
        result.by_confidence[int(confidence * 10), right] += 1
        if not right:
            result.wrong[wanted, kind] += tensor.size
            result.names.setdefault((wanted, kind), f"{tensor.name} {tensor.shape}")
    return result
