"""Dense and EinsumDense."""

from __future__ import annotations

from dataclasses import replace

from ..options import einsum_equation
from .activations import activate
from .builder import Value
from .call import Call, layer


@layer("Dense", masks=True)
def dense(call: Call) -> Value:
    """Gemm on a matrix, MatMul and Add on more axes; the kernel (in, out) stays as it is."""
    b, kernel = call.b, call.weight("kernel", "W")
    if call.option("lora_rank") and call.optional("lora_kernel_a"):
        raise call.unsupported("lora_rank")
    bias = call.weight("bias", "b") if call.flag("use_bias", True) else None
    x = b.last(call.x)
    weight = b.weight(kernel)
    shape = (*x.shape[:-1], kernel.shape[1])
    if x.rank == 2:
        inputs = [x.name, weight] + ([b.weight(bias)] if bias is not None else [])
        y = Value(b.node("Gemm", *inputs), shape, mask=x.mask)
    else:
        y = Value(b.node("MatMul", x.name, weight), shape, mask=x.mask)
        if bias is not None:
            y = replace(y, name=b.node("Add", y.name, b.weight(bias)))
    return activate(call, y)


@layer("EinsumDense")
def einsum_dense(call: Call) -> Value:
    """An Einsum; an ellipsis is written out, since the number of axes is known."""
    b, x, kernel = call.b, call.b.last(call.x), call.weight("kernel")
    equation, shape = einsum_equation(call, x, kernel)
    name = b.node("Einsum", x.name, b.weight(kernel), equation=equation)
    if call.option("bias_axes"):
        name = b.node("Add", name, b.weight(call.weight("bias")))
    return activate(call, Value(name, shape))
