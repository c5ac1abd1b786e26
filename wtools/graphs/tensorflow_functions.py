"""What TensorFlow's functions are called in Keras 3: the operations of TFOpLambda layers."""

from __future__ import annotations

# TensorFlow's functions -> the operation
FUNCTIONS = {
    "math.add": "Add", "__operators__.add": "Add", "math.subtract": "Subtract",
    "math.multiply": "Multiply", "math.divide": "Divide", "math.truediv": "Divide",
    "math.pow": "Power", "math.maximum": "Maximum", "math.minimum": "Minimum",
    "math.abs": "Abs", "math.negative": "Negative", "math.exp": "Exp", "math.log": "Log",
    "math.sqrt": "Sqrt", "math.rsqrt": "Rsqrt", "math.square": "Square", "math.sin": "Sin",
    "math.cos": "Cos", "math.sigmoid": "Sigmoid", "nn.sigmoid": "Sigmoid", "math.tanh": "Tanh",
    "nn.tanh": "Tanh", "nn.relu": "Relu", "nn.relu6": "Relu6", "nn.elu": "Elu",
    "nn.selu": "Selu", "nn.silu": "Silu", "nn.swish": "Silu", "nn.softmax": "Softmax",
    "nn.log_softmax": "LogSoftmax", "nn.leaky_relu": "LeakyRelu", "nn.softplus": "Softplus",
    "math.softplus": "Softplus", "nn.gelu": "Gelu", "clip_by_value": "Clip", "cast": "Cast",
    "math.reduce_mean": "Mean", "math.reduce_sum": "Sum", "math.reduce_max": "Max",
    "math.reduce_min": "Min", "reshape": "Reshape", "transpose": "Transpose",
    "expand_dims": "ExpandDims", "squeeze": "Squeeze", "concat": "Concatenate", "stack": "Stack",
    "split": "Split", "tile": "Tile", "pad": "Pad", "identity": "Identity",
    "__operators__.getitem": "GetItem", "linalg.matmul": "Matmul", "keras.backend.relu": "ReLU",
    "stop_gradient": "StopGradient", "math.greater": "Greater", "where": "Where",
    "math.not_equal": "NotEqual", "math.equal": "Equal", "math.less": "Less",
    "math.logical_and": "LogicalAnd", "math.logical_or": "LogicalOr",
    "math.logical_not": "LogicalNot", "math.reduce_any": "Any", "math.reduce_all": "All",
}  # fmt: skip


def operation_of(function: str) -> str | None:
    """The class of keras.ops that does what the function does, None for one not known."""
    return FUNCTIONS.get(function.removeprefix("compat.v1."))
