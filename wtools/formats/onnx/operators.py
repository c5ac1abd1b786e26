"""What the usual operators call their inputs, and which of their attributes are weights.

From the operator schemas of onnx (ai.onnx, ai.onnx.ml) and of onnxruntime (com.microsoft).
"""

from __future__ import annotations

_CONV, _AB, _DATA_AXES = ("X", "W", "B"), ("A", "B"), ("data", "axes")

INPUTS: dict[str, tuple[str, ...]] = {
    "Conv": _CONV,
    "ConvTranspose": _CONV,
    "FusedConv": (*_CONV, "Z"),
    "DeformConv": ("X", "W", "offset", "B", "mask"),
    "Gemm": ("A", "B", "C"),
    "MatMul": _AB,
    "FusedMatMul": _AB,
    "Add": _AB,
    "Sub": _AB,
    "Mul": _AB,
    "Div": _AB,
    "Pow": ("X", "Y"),
    "BiasGelu": _AB,
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "BatchNormalization": ("X", "scale", "B", "input_mean", "input_var"),
    "InstanceNormalization": ("input", "scale", "B"),
    "LayerNormalization": ("X", "Scale", "B"),
    "GroupNormalization": ("X", "scale", "bias"),
    "RMSNormalization": ("X", "scale"),
    "SimplifiedLayerNormalization": ("X", "scale"),
    "SkipLayerNormalization": ("input", "skip", "gamma", "beta", "bias"),
    "EmbedLayerNormalization": (
        "input_ids", "segment_ids", "word_embedding", "position_embedding", "segment_embedding",
        "gamma", "beta", "mask", "position_ids",
    ),
    "PRelu": ("X", "slope"),
    "Gather": ("data", "indices"),
    "GatherElements": ("data", "indices"),
    "GatherND": ("data", "indices"),
    "DequantizeLinear": ("x", "x_scale", "x_zero_point"),
    "QuantizeLinear": ("x", "y_scale", "y_zero_point"),
    "QLinearConv": (
        "x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point",
        "B",
    ),
    "QLinearMatMul": (
        "a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point",
    ),
    "QGemm": (
        "A", "a_scale", "a_zero_point", "B", "b_scale", "b_zero_point", "C", "y_scale",
        "y_zero_point",
    ),
    "ConvInteger": ("x", "w", "x_zero_point", "w_zero_point"),
    "MatMulInteger": ("A", "B", "a_zero_point", "b_zero_point"),
    "MatMulIntegerToFloat": (
        "A", "B", "a_scale", "b_scale", "a_zero_point", "b_zero_point", "bias",
    ),
    "DynamicQuantizeMatMul": ("A", "B", "b_scale", "b_zero_point", "bias"),
    "DynamicQuantizeLSTM": (
        "X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P", "W_scale",
        "W_zero_point", "R_scale", "R_zero_point",
    ),
    "MatMulNBits": ("A", "B", "scales", "zero_points", "g_idx", "bias"),
    "Reshape": ("data", "shape"),
    "Slice": ("data", "starts", "ends", "axes", "steps"),
    "Pad": ("data", "pads", "constant_value", "axes"),
    "Unsqueeze": _DATA_AXES,
    "Squeeze": _DATA_AXES,
    "ReduceMean": _DATA_AXES,
    "ReduceSum": _DATA_AXES,
    "ReduceMax": _DATA_AXES,
    "Expand": ("input", "shape"),
    "Tile": ("input", "repeats"),
    "Split": ("input", "split"),
    "Transpose": ("data",),
    "Cast": ("input",),
    "ConstantOfShape": ("input",),
    "Clip": ("input", "min", "max"),
    "Where": ("condition", "X", "Y"),
    "Resize": ("X", "roi", "scales", "sizes"),
    "TopK": ("X", "K"),
    "OneHot": ("indices", "depth", "values"),
    "Range": ("start", "limit", "delta"),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod"), _AB),
    **dict.fromkeys(("And", "Or", "Xor"), _AB),
    "If": ("cond",),
    "Loop": ("M", "cond"),
}  # fmt: skip

_RECURRENT = {"W": "weight_ih", "R": "weight_hh", "B": "bias", "P": "peephole"}
_WEIGHT_BIAS = {"W": "weight", "B": "bias"}

# What a person calls an input, where the operator's own name for it is a letter.
ROLES: dict[str, dict[str, str]] = {
    "Conv": _WEIGHT_BIAS,
    "ConvTranspose": _WEIGHT_BIAS,
    "FusedConv": _WEIGHT_BIAS,
    "DeformConv": _WEIGHT_BIAS,
    "QLinearConv": {"w": "weight", "B": "bias"},
    "ConvInteger": {"w": "weight"},
    "Gemm": {"A": "weight", "B": "weight", "C": "bias"},
    "QGemm": {"B": "weight", "C": "bias"},
    "MatMul": {"A": "weight", "B": "weight"},
    "FusedMatMul": {"A": "weight", "B": "weight"},
    "QLinearMatMul": {"a": "weight", "b": "weight"},
    "MatMulInteger": {"A": "weight", "B": "weight"},
    "MatMulIntegerToFloat": {"B": "weight"},
    "DynamicQuantizeMatMul": {"B": "weight"},
    "MatMulNBits": {"B": "weight"},
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "DynamicQuantizeLSTM": _RECURRENT,
    "BatchNormalization": {"B": "bias", "input_mean": "mean", "input_var": "var"},
    "InstanceNormalization": {"B": "bias"},
    "LayerNormalization": {"Scale": "scale", "B": "bias"},
    "Gather": {"data": "weight"},
    "PRelu": {"slope": "slope"},
    "Add": {"A": "bias", "B": "bias"},
    "Sub": {"A": "bias", "B": "bias"},
    "Mul": {"A": "scale", "B": "scale"},
    "Div": {"A": "scale", "B": "scale"},
    "BiasGelu": {"B": "bias"},
}

# Operators whose first input goes through: what they feed is what a weight before them feeds.
THROUGH = frozenset({
    "Cast", "CastLike", "Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Flatten",
    "DequantizeLinear", "QuantizeLinear",
})  # fmt: skip
ARITHMETIC = frozenset({"Mul", "Sub", "Add", "Div"})  # the same, where the rest is constant too

# Attributes of ai.onnx.ml operators that are what was learned.
LEARNED: dict[str, tuple[str, ...]] = {
    "LinearRegressor": ("coefficients", "intercepts"),
    "LinearClassifier": ("coefficients", "intercepts"),
    "SVMRegressor": ("coefficients", "support_vectors", "rho"),
    "SVMClassifier": ("coefficients", "support_vectors", "rho", "prob_a", "prob_b"),
    "Scaler": ("offset", "scale"),
    "Imputer": ("imputed_value_floats",),
}
# Operators whose lists are tables or trees, not weights.
TABLES = frozenset({
    "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "LabelEncoder",
    "CategoryMapper", "DictVectorizer", "OneHotEncoder",
})  # fmt: skip


def input_name(op_type: str, index: int) -> str:
    """The operator's own name of its input number `index`."""
    names = INPUTS.get(op_type, ())
    return names[index] if index < len(names) else f"input_{index}"


def role(op_type: str, index: int) -> str:
    """What a person calls that input ("weight", "bias")."""
    name = input_name(op_type, index)
    return ROLES.get(op_type, {}).get(name, name)
