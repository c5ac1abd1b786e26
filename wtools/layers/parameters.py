"""Tensors that are no layer's weight or bias: tables of positions, tokens, scales, buffers."""

from __future__ import annotations

from .. import dtypes
from ..tree import Tensor
from .context import Context
from .model import Group, Meaning
from .words import EXPERTS, POSITION, PROJECTION, SCALE, TOKEN, word_set, words

_TABLE = word_set("embed embeds embedding embeddings emb bias table enc encoding encodings")
_MADE = word_set(
    "ids index indices freq freqs inv mask masked tril buffer frequencies causal cos sin cache"
)
_MATRIX = word_set("weight weights kernel w matrix u v")


def parameter(group: Group, leaf: str, tensor: Tensor, context: Context) -> Meaning:
    """What a tensor with a name of its own is."""
    own = words(leaf)
    said = set(own)
    long_axes = [size for size in tensor.shape if size > 1]
    if _is_buffer(said, tensor):
        return Meaning("buffer", leaf, confidence=0.9)
    if {"mean", "std"} <= group.members.keys() and leaf in ("mean", "std"):
        return Meaning("normalization", leaf, "c" if tensor.ndim == 1 else "", 0.8)
    if said & POSITION and said & _TABLE:
        axes = {2: "V D", 3: "1 V D"}.get(tensor.ndim, "")
        return Meaning("positional", "embeddings", axes, 0.9)
    if {"rel", "pos"} <= said and tensor.ndim == 2:
        return Meaning("positional", "embeddings", "V D", 0.8)
    if said & SCALE or {"layer", "scale"} <= said | set(group.called):
        if len(long_axes) == 1:
            return Meaning("layer_scale", "scale", _spread(tensor.shape, "c"), 0.85)
    elif said & TOKEN and tensor.ndim >= 1 and len(long_axes) <= 2:
        return Meaning("token", "embeddings", _spread(tensor.shape, "D"), 0.9)
    if len(long_axes) >= 2:
        return _matrices(group, leaf, said, tensor, context)
    return Meaning("unknown", leaf, confidence=0.5)


def _is_buffer(said: set[str], tensor: Tensor) -> bool:
    """Is it made by the program, not learned: indices, masks, frequencies?"""
    if dtypes.get(tensor.dtype).kind not in ("float", "complex"):
        return True
    return bool(said & _MADE) and not said & {"token", "embed", "embedding"}


def _spread(shape: tuple[int, ...], letter: str) -> str:
    """`letter` for the one long axis, 1 for the others; "" where there is more than one."""
    if sum(size > 1 for size in shape) > 1:
        return ""
    named = [letter if size > 1 else "1" for size in shape]
    if letter not in named and named:
        named[-1] = letter
    return " ".join(named)


def _matrices(group: Group, leaf: str, said: set[str], tensor: Tensor, context: Context) -> Meaning:
    """A kernel under a name of its own: of experts, of a projection written by hand."""
    expert = (group.words | said) & EXPERTS
    if tensor.ndim == 3 and expert:
        return Meaning("dense", leaf, "x i o", 0.7, note="one matrix for each first index")
    if tensor.ndim == 2 and said & (PROJECTION | _MATRIX):
        bias = group.length(leaf.replace("weight", "bias"), f"{leaf}_bias", "bias")
        axes = {tensor.shape[0]: "o i", tensor.shape[1]: "i o"}.get(bias or -1, "")
        role = "kernel" if said & _MATRIX else leaf
        return Meaning("dense", role, axes or "i o", 0.8 if axes else 0.55)
    return Meaning("unknown", leaf, confidence=0.5)
