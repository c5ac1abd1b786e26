"""Dense, EinsumDense and Embedding."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ...tree import Tensor
from ..options import einsum_equation
from .activations import activate
from .call import Call, layer
from .code import Value, Weight, moved, tupled


@layer("Dense", masks=True)
def dense(call: Call) -> Value:
    """nn.Linear; after a flattened image, with its rows in torch's order."""
    b, kernel = call.b, call.weight("kernel", "W")
    if call.option("lora_rank") and call.optional("lora_kernel_a"):
        raise call.unsupported("lora_rank")
    x = call.raw if call.once else call.x
    flat = x.flat
    x = x if flat else b.last(x)
    size, units = kernel.shape
    bias = call.flag("use_bias", True)
    weights = {"weight": _weight(kernel, flat)}
    if bias:
        weights["bias"] = Weight((units,), (call.weight("bias", "b"),))
    ref = call.module(f"nn.Linear({size}, {units}{'' if bias else ', bias=False'})", **weights)
    y = b.value(f"{ref}({x})", (*x.shape[:-1], units), mask=x.mask)
    return activate(call, y)


def _weight(kernel: Tensor, flat: tuple[int, ...]) -> Weight:
    size, units = kernel.shape
    turn = moved("dense", "kernel")

    def permuted(array: Any) -> Any:
        channels = len(flat) - 1
        rows = array.reshape(*flat, units)
        rows = rows.transpose(channels, *range(channels), channels + 1)
        return turn(rows.reshape(size, units))

    if flat and math.prod(flat) != size:
        raise ValueError(f"a kernel of {size} rows for {math.prod(flat)} inputs")
    if not flat or len(flat) < 2:
        return Weight((units, size), (kernel,), turn, "transposed")
    return Weight((units, size), (kernel,), permuted, "transposed, rows in channels-first order")


@layer("EinsumDense")
def einsum_dense(call: Call) -> Value:
    """torch.einsum; an ellipsis is written out, since the number of axes is known."""
    b, x, kernel = call.b, call.b.last(call.x), call.weight("kernel")
    equation, shape = einsum_equation(call, x, kernel)
    weights = {"weight": Weight(kernel.shape, (kernel,))}
    extra = ""
    if call.option("bias_axes"):
        bias = call.weight("bias")
        weights["bias"] = Weight(bias.shape, (bias,))
        extra = f", {tupled(bias.shape)}"
    part = b.part("EinsumLinear")
    ref = call.module(f"{part}({equation!r}, {tupled(kernel.shape)}{extra})", **weights)
    return activate(call, b.value(f"{ref}({x})", shape))


@layer("Embedding")
def embedding(call: Call) -> Value:
    b, x, table = call.b, call.x, call.weight("embeddings", "W")
    rows, width = table.shape
    ref = call.module(f"nn.Embedding({rows}, {width})", weight=Weight(table.shape, (table,)))
    wide = str(x) if x.dtype == "int64" else f"{x}.long()"
    y = b.value(f"{ref}({wide})", (*x.shape, width))
    if call.flag("mask_zero"):
        y = replace(y, mask=b.value(f"{x} != 0", x.shape, "bool"))
    return y
