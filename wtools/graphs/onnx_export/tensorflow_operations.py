"""TensorFlow's functions in Keras 2 models: TFOpLambda and SlicingOpLambda layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..tensorflow_functions import operation_of
from .call import OPERATIONS, Call, layer


@layer("TFOpLambda", "SlicingOpLambda")
def tensorflow_operation(call: Call) -> Any:
    kind = operation_of(call.text("function"))
    if kind is None:
        raise call.unsupported(f"the function {call.text('function')!r}")
    kwargs = {key: value for key, value in call.kwargs.items() if value is not None}
    if kind == "LeakyRelu":
        kwargs.setdefault("alpha", 0.2)
    if kind == "Gelu":
        kwargs.setdefault("approximate", False)
    return OPERATIONS[kind](
        replace(call, layer=replace(call.layer, kind=kind, config={}), kwargs=kwargs)
    )
