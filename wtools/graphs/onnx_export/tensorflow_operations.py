"""TensorFlow's functions in Keras 2 models: TFOpLambda and SlicingOpLambda layers."""

from __future__ import annotations

from .. import operands
from .call import TABLE, Call, Result, layer


@layer("TFOpLambda", "SlicingOpLambda")
def tensorflow_operation(call: Call) -> Result:
    return operands.tensorflow_operation(call, TABLE)
