"""MultiHeadAttention, GroupedQueryAttention, Attention and AdditiveAttention."""

from __future__ import annotations

from typing import Any

from ...layouts import rearrange
from ...tree import Tensor
from ..options import attention_heads, attention_inputs
from .call import Call, Result, layer
from .code import Value, Weight


@layer("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention")
def multi_head_attention(call: Call) -> Result:
    """In a grouped one, several query heads share a key and a value head."""
    b, (heads, shared, size) = call.b, attention_heads(call)
    query, value, given = attention_inputs(call, b.last)
    key = value if given is None else given
    if call.argument(99, "return_attention_scores", False):
        raise call.unsupported("return_attention_scores=True")
    out = call.weight("attention_output/kernel", "output/kernel")
    if out.ndim != 3:
        raise call.unsupported(f"output_shape={call.option('output_shape')!r}")
    inputs = [call.weight(f"{name}/kernel") for name in ("query", "value", "key")]
    bias = call.flag("use_bias", True)
    weights: dict[str, Weight] = {}
    for name, short in (("query", "q"), ("key", "k"), ("value", "v")):
        weights |= _projection(call, name, f"{short}_proj", bias)
    weights |= _output(call, out, bias)
    sizes = [kernel.shape[0] for kernel in inputs]
    numbers = [*sizes, heads, shared, size, inputs[1].shape[2], out.shape[-1]]
    rest = "" if bias else ", bias=False"
    # keras/src/layers/attention: with dropout it goes through a Softmax layer, which masks twice
    rest += ", zeros=True" if call.number("dropout", 0.0) > 0 else ""
    part = b.part("MultiHeadAttention")
    ref = b.module(call.layer.path, f"{part}({', '.join(map(str, numbers))}{rest})", weights)
    mask = _mask(call, query, value, given)
    more = f", {mask}" if mask else ""
    text = f"{ref}({query}, {value}, {key}{more})"
    return b.value(text, (*query.shape[:2], out.shape[-1]), mask=query.mask)


def _projection(call: Call, name: str, short: str, bias: bool) -> dict[str, Weight]:
    kernel = call.weight(f"{name}/kernel")
    size, heads, width = kernel.shape
    made = {
        f"{short}.weight": Weight(
            (heads * width, size), (kernel,), lambda k: rearrange(k, "D H e", "(H e) D"), "merged"
        )
    }
    if bias:
        tensor = call.weight(f"{name}/bias")
        made[f"{short}.bias"] = Weight((tensor.size,), (tensor,), lambda v: v.reshape(-1), "merged")
    return made


def _output(call: Call, kernel: Tensor, bias: bool) -> dict[str, Weight]:
    heads, width, size = kernel.shape
    made = {
        "out_proj.weight": Weight(
            (size, heads * width), (kernel,), lambda k: rearrange(k, "H e D", "D (H e)"), "merged"
        )
    }
    if bias:
        tensor = call.weight("attention_output/bias", "output/bias")
        made["out_proj.bias"] = Weight(tensor.shape, (tensor,))
    return made


def _causal(query: Value, value: Value) -> str:
    """(queries, values), true where the value is no later than the query."""
    sizes = [f"{x}.shape[1]" if x.shape[1] is None else str(x.shape[1]) for x in (query, value)]
    return f"torch.ones({', '.join(sizes)}, dtype=torch.bool, device={query}.device).tril()"


def _mask(call: Call, query: Value, value: Value, key: Value | None) -> Value | None:
    """What may be attended to, to be broadcast to (batch, queries, values)."""
    texts = []
    for name, tensor, how in (
        ("query_mask", query, "[:, :, None]"),
        ("value_mask", value, "[:, None]"),
        ("key_mask", key, "[:, None]"),
    ):
        own = call.argument(99, name, None if tensor is None else tensor.mask)
        if isinstance(own, Value):
            texts.append(f"{own}.bool(){how}")
    if call.argument(99, "use_causal_mask", False):
        texts.append(f"{_causal(query, value)}[None]")
    given = call.argument(99, "attention_mask")
    if isinstance(given, Value):
        given = call.b.last(given)
        if given.rank == 4:  # for every head
            texts = [f"({text})[:, None]" for text in texts]
        texts.append(f"{given}.bool()")
    if not texts:
        return None
    return call.b.value(" & ".join(texts), (None, None, None), "bool")


@layer("Attention", "AdditiveAttention")
def attention(call: Call) -> Result:
    """softmax(scores(query, key)) value, over [query, value] or [query, value, key]."""
    b = call.b
    values = [b.last(v) for v in call.inputs]
    if len(values) not in (2, 3):
        raise call.unsupported(f"{len(values)} inputs")
    if call.argument(99, "return_attention_scores", False):
        raise call.unsupported("return_attention_scores=True")
    query, value = values[:2]
    key = values[2] if len(values) == 3 else value
    scores = _scores(call, query, key)
    masks: Any = call.argument(1, "mask") or [query.mask, value.mask]
    texts = []
    if isinstance(masks[1], Value):
        texts.append(f"{masks[1]}.bool()[:, None]")
    if call.option("causal", False) or call.argument(99, "use_causal_mask", False):
        texts.append(f"{_causal(query, value)}[None]")
    if texts:
        scores = f"torch.where({' & '.join(texts)}, {scores}, -1e9)"
    text = f"torch.softmax({scores}, -1) @ {value}"
    if isinstance(masks[0], Value):
        text = f"({text}) * {masks[0]}[:, :, None]"
    shape = (*query.shape[:-1], value.shape[-1])
    return b.value(text, shape, mask=query.mask)


def _scores(call: Call, query: Value, key: Value) -> str:
    """(batch, queries, keys): products, or sums of tanh(query + key)."""
    b, additive = call.b, call.layer.kind == "AdditiveAttention"
    factor = ""
    if call.flag("use_scale", additive):
        scale = call.weight("scale")
        factor = b.stored(f"{call.layer.path}/scale", Weight(scale.shape, (scale,)))
    if not additive and call.text("score_mode", "dot") == "dot":
        scores = f"{query} @ {key}.transpose(1, 2)"
        return f"{factor} * ({scores})" if factor else scores
    if not additive:
        raise call.unsupported(f"score_mode={call.option('score_mode')!r}")
    total = f"torch.tanh({query}[:, :, None] + {key}[:, None])"
    return f"({factor} * {total}).sum(-1)" if factor else f"{total}.sum(-1)"
