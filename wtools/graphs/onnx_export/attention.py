"""MultiHeadAttention, GroupedQueryAttention, Attention and AdditiveAttention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...tree import Tensor
from ..options import attention_heads, attention_inputs
from .activations import LARGE
from .builder import Builder, Value
from .call import Call, Result, layer


def _bool(b: Builder, mask: Value) -> Value:
    if mask.dtype == "bool":
        return mask
    return replace(mask, name=b.node("Cast", mask.name, to=9), dtype="bool")


def _both(b: Builder, one: str, other: str) -> str:
    return b.node("And", one, other) if one else other


def causal(b: Builder, query: Value, value: Value) -> str:
    """(queries, values), true where the value is no later than the query."""
    ranges = []
    for tensor in (query, value):
        size = b.node("Squeeze", b.length(tensor, 1), b.constant([0]))
        ranges.append(b.node("Range", b.constant(0), size, b.constant(1)))
    rows = b.node("Unsqueeze", ranges[0], b.constant([1]))
    return b.node("GreaterOrEqual", rows, ranges[1])


def _weight(b: Builder, tensor: Tensor, *shape: int) -> str:
    return b.weight(tensor, shape)


def projected(call: Call, x: Value, name: str, heads: int) -> tuple[str, int]:
    """(x times the kernel (features, heads, size), as (batch, heads, steps, size); the size)."""
    b = call.b
    kernel, bias = call.weight(f"{name}/kernel"), call.optional(f"{name}/bias")
    features, count, size = kernel.shape
    if count != heads:
        raise call.unsupported(f"{count} heads in {name}")
    y = b.node("MatMul", x.name, _weight(b, kernel, features, count * size))
    if bias is not None:
        y = b.node("Add", y, _weight(b, bias, count * size))
    y = b.node("Reshape", y, b.constant([0, 0, count, size]))
    return b.node("Transpose", y, perm=[0, 2, 1, 3]), size


@layer("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention")
def multi_head_attention(call: Call) -> Result:
    """In a grouped one, several query heads share a key and a value head."""
    b, (heads, shared, size) = call.b, attention_heads(call)
    query, value, given = attention_inputs(call, b.last)
    key = value if given is None else given
    q, _ = projected(call, query, "query", heads)
    k, _ = projected(call, key, "key", shared)
    v, width = projected(call, value, "value", shared)
    if shared != heads:
        k, v = (_repeated(b, part, heads, shared) for part in (k, v))
    q = b.node("Mul", q, b.number(size**-0.5))
    scores = b.node("MatMul", q, b.node("Transpose", k, perm=[0, 1, 3, 2]))
    mask = _mask(call, query, value, given)
    told = bool(call.argument(99, "return_attention_scores", False))
    # A query that may attend to nothing attends to all alike, in the fused path of Keras.
    fused = call.version < 3 or not (told or call.number("dropout", 0.0))
    scores = _softmax(b, scores, mask, zeros=not fused)
    y = b.node("Transpose", b.node("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = b.node("Reshape", y, b.constant([0, 0, heads * width]))
    kernel, bias = call.weight("attention_output/kernel"), call.optional("attention_output/bias")
    if kernel.ndim != 3:
        raise call.unsupported(f"output_shape={call.option('output_shape')!r}")
    y = b.node("MatMul", y, _weight(b, kernel, heads * width, kernel.shape[-1]))
    if bias is not None:
        y = b.node("Add", y, b.weight(bias))
    out = Value(y, (*query.shape[:2], kernel.shape[-1]), mask=query.mask)
    if not told:
        return out
    return out, Value(scores, (query.shape[0], heads, query.shape[1], value.shape[1]))


def _repeated(b: Builder, x: str, heads: int, shared: int) -> str:
    """Each head as often as query heads share it, in a row."""
    ids = [i // (heads // shared) for i in range(heads)]
    return b.node("Gather", x, b.constant(ids), axis=1)


def _mask(call: Call, query: Value, value: Value, key: Value | None) -> str:
    """What may be attended to, to be broadcast to (batch, heads, queries, values), or ""."""
    b, mask = call.b, ""
    for name, tensor, axes in (
        ("query_mask", query, [1, 3]),
        ("value_mask", value, [1, 2]),
        ("key_mask", key, [1, 2]),
    ):
        own = call.argument(99, name, None if tensor is None else tensor.mask)
        if isinstance(own, Value):
            wide = b.node("Unsqueeze", _bool(b, own).name, b.constant(axes))
            mask = _both(b, mask, wide)
    if call.argument(99, "use_causal_mask", False):
        mask = _both(b, mask, causal(b, query, value))
    given = call.argument(99, "attention_mask")
    if isinstance(given, Value):
        own = _bool(b, b.last(given))
        if own.rank == 3:
            own = replace(own, name=b.node("Unsqueeze", own.name, b.constant([1])))
        mask = _both(b, mask, own.name)
    return mask


def _softmax(b: Builder, scores: str, mask: str, *, zeros: bool) -> str:
    if mask:
        scores = b.node("Where", mask, scores, b.number(LARGE))
    made = b.node("Softmax", scores, axis=-1)
    return b.node("Where", mask, made, b.number(0.0)) if mask and zeros else made


@layer("Attention", "AdditiveAttention")
def attention(call: Call) -> Result:
    """softmax(scores(query, key)) value, over [query, value] or [query, value, key]."""
    b = call.b
    values = [b.last(v) for v in call.inputs]
    if len(values) not in (2, 3):
        raise call.unsupported(f"{len(values)} inputs")
    query, value = values[:2]
    key = values[2] if len(values) == 3 else value
    scores = _scores(call, query, key)
    masks = call.argument(1, "mask") or [query.mask, value.mask]
    query_mask, value_mask = masks[0], masks[1]
    mask = ""
    if isinstance(value_mask, Value):
        mask = b.node("Unsqueeze", _bool(b, value_mask).name, b.constant([1]))
    if call.option("causal", False) or call.argument(99, "use_causal_mask", False):
        mask = _both(b, mask, causal(b, query, value))
    if mask:
        scores = b.node("Where", mask, scores, b.node("Sub", scores, b.number(1e9)))
    weights = b.node("Softmax", scores, axis=-1)
    y = b.node("MatMul", weights, value.name)
    if isinstance(query_mask, Value):
        kept = b.node("Unsqueeze", _bool(b, query_mask).name, b.constant([2]))
        y = b.node("Where", kept, y, b.number(0.0))
    out = Value(y, (*query.shape[:-1], value.shape[-1]), mask=query.mask)
    if not call.argument(99, "return_attention_scores", False):
        return out
    return out, Value(weights, (*query.shape[:-1], value.shape[1]))


def _scores(call: Call, query: Value, key: Value) -> str:
    """(batch, queries, keys): products, or sums of tanh(query + key)."""
    b = call.b
    additive = call.layer.kind == "AdditiveAttention"
    scale: Any = None
    if call.flag("use_scale", additive):
        scale = b.weight(call.weight("scale"))
    if not additive and call.text("score_mode", "dot") == "dot":
        turned = [*range(key.rank)]
        turned[-1], turned[-2] = turned[-2], turned[-1]
        scores = b.node("MatMul", query.name, b.node("Transpose", key.name, perm=turned))
        return b.node("Mul", scores, scale) if scale else scores
    wide = b.node("Unsqueeze", query.name, b.constant([query.rank - 1]))
    high = b.node("Unsqueeze", key.name, b.constant([key.rank - 2]))
    total = b.node("Add", wide, high)
    if additive:
        total = b.node("Tanh", total)
        total = b.node("Mul", total, scale) if scale else total
        return b.node("ReduceSum", total, b.constant([-1]), keepdims=0)
    total = b.node("Tanh", b.node("Mul", total, scale) if scale else total)
    total = b.node("ReduceSum", total, b.constant([-1]), keepdims=0)
    return b.node("Mul", total, b.weight(call.weight("concat_score_weight")))
