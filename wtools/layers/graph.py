"""What an ONNX graph says of its weights: the operator and the input that each one feeds.

The reader leaves `facts["feeds"]` = [(node, operator, the operator's name of the input), ...] on
each tensor, and the parsed model as the tree's `architecture`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..layouts import onnx
from ..tree import Tensor, WeightTree
from .model import Meaning
from .words import word_set

CONV = word_set("Conv FusedConv ConvTranspose QLinearConv ConvInteger DeformConv")
MATRIX = word_set(
    "MatMul Gemm FusedMatMul QLinearMatMul QGemm MatMulInteger MatMulIntegerToFloat "
    "DynamicQuantizeMatMul"
)
_KINDS = {
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "SkipLayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
    "InstanceNormalization": "instance_norm",
    "RMSNormalization": "rms_norm",
    "SimplifiedLayerNormalization": "rms_norm",
    "SkipSimplifiedLayerNormalization": "rms_norm",
    "PRelu": "prelu",
    "LSTM": "lstm",
    "DynamicQuantizeLSTM": "lstm",
    "GRU": "gru",
    "RNN": "rnn",
}
_LEARNED = {
    **dict.fromkeys(("LinearRegressor", "LinearClassifier"), "linear_model"),
    "Scaler": "normalization",
    "MatMulNBits": "quantized_linear",
    "Einsum": "einsum_dense",
    "Attention": "multi_head_attention",
    "MultiHeadAttention": "multi_head_attention",
}
_ROLES = {
    "coefficients": ("kernel", "o i"),
    "intercepts": ("bias", "o"),
    "offset": ("mean", "i"),
    "scale": ("scale", "i"),
    "scales": ("scales", ""),
    "weights": ("qkv_kernel", "D (p H e)"),
}
_WEIGHTS = frozenset({"W", "w", "A", "B", "a", "b"})
_SHIFTS, _SCALINGS = word_set("Add Sub BiasGelu"), word_set("Mul Div")
_THROUGH = word_set("Reshape Cast Unsqueeze Squeeze Transpose DequantizeLinear Identity")
_STEPS = 6  # how far back a bias may stand from its product, through casts and scales


@dataclass(frozen=True)
class Graph:
    """The nodes of a model by label, and who makes each value."""

    nodes: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    makers: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, Tensor] = field(default_factory=dict)

    def attribute(self, label: str, operator: str, name: str, default: Any = None) -> Any:
        node = self.nodes.get((label, operator))
        return default if node is None else node.attribute(name, default)


def graph_of(tree: WeightTree) -> Graph:
    """The graph of a tree that an ONNX file gave; empty for others."""
    main = getattr(tree.architecture, "graph", None)
    functions = getattr(tree.architecture, "functions", ())
    if main is None:
        return Graph()
    nodes: dict[tuple[str, str], Any] = {}
    makers: dict[str, Any] = {}
    for graph in (main, *(function.body for function in functions)):
        _index(graph, nodes, makers)
    return Graph(nodes, makers, {tensor.stored: tensor for tensor in tree.values()})


def _index(graph: Any, nodes: dict[tuple[str, str], Any], makers: dict[str, Any]) -> None:
    counts: dict[str, int] = {}
    for node in graph.nodes:
        number = counts.get(node.op_type, 0)
        counts[node.op_type] = number + 1
        nodes.setdefault((node.name or f"{node.op_type}_{number}", node.op_type), node)
        for output in node.outputs:
            makers.setdefault(output, node)
        for _, below in node.subgraphs():
            _index(below, nodes, makers)


def fed(tensor: Tensor, graph: Graph) -> Meaning | None:
    """What a tensor is by what it feeds; None where that does not tell."""
    for label, operator, name in tensor.facts.get("feeds", ()):
        meaning = feed_meaning(tensor, label, operator, name, graph)
        if meaning is not None:
            return meaning
    if "feeds" in tensor.facts and tensor.name.endswith(("_scale", "_zero_point")):
        role = "zero_points" if tensor.name.endswith("point") else "scales"
        return Meaning("quantization", role, evidence="graph")
    return None


def feed_meaning(
    tensor: Tensor, label: str, operator: str, name: str, graph: Graph
) -> Meaning | None:
    """What a tensor is at one input of one node; None where that does not tell."""
    if name.endswith(("_scale", "_zero_point")) and name != "input_scale":
        role = "zero_points" if name.endswith("point") else "scales"
        return Meaning("quantization", role, evidence="graph")
    if operator in CONV:
        return _convolution(tensor, label, operator, name, graph)
    if operator in MATRIX:
        return _matrix(tensor, label, operator, name, graph)
    if operator in _KINDS:
        return _listed(label, operator, name, graph)
    if operator in _LEARNED:
        role, axes = _ROLES.get(name, ("packed_kernel" if name == "B" else name, ""))
        return Meaning(_LEARNED[operator], role, axes, evidence="graph")
    if operator == "Gather" and name == "data" and tensor.ndim == 2:
        return Meaning("embedding", "embeddings", "V D", evidence="graph")
    if operator in _SHIFTS or operator in _SCALINGS:
        return _elementwise(tensor, label, operator, graph)
    return None


def _convolution(
    tensor: Tensor, label: str, operator: str, name: str, graph: Graph
) -> Meaning | None:
    if name == "B":
        kernel = _second_input(label, operator, graph)
        whole = feed_meaning(kernel, label, operator, "W", graph) if kernel is not None else None
        kind = whole.kind if whole else "unknown"
        return Meaning(kind, "bias", "o", evidence="graph")
    n = tensor.ndim - 2
    if name not in ("W", "w") or n not in (1, 2, 3):
        return None
    kind = f"conv{n}d_transpose" if operator == "ConvTranspose" else f"conv{n}d"
    group = graph.attribute(label, operator, "group", tensor.shape[0] if not graph.nodes else 1)
    if not kind.endswith("transpose") and tensor.shape[1] == 1 and group > 1:
        kind = f"depthwise_{kind}"
    return Meaning(kind, "kernel", onnx.LAYOUTS[kind].roles["kernel"].axes, evidence="graph")


def _second_input(label: str, operator: str, graph: Graph) -> Tensor | None:
    """The weight of a convolution, through dequantization."""
    node = graph.nodes.get((label, operator))
    at = 3 if operator == "QLinearConv" else 1
    name = node.inputs[at] if node is not None and len(node.inputs) > at else ""
    for _ in range(_STEPS):
        if name in graph.initial or name not in graph.makers:
            break
        name = (*graph.makers[name].inputs, "")[0]
    return graph.initial.get(name)


def _matrix(tensor: Tensor, label: str, operator: str, name: str, graph: Graph) -> Meaning | None:
    if name in ("C", "bias"):
        return Meaning("dense", "bias", "o", evidence="graph")
    if name not in _WEIGHTS or tensor.ndim not in (2, 3):
        return None
    left = name in ("A", "a")
    turned = bool(graph.attribute(label, operator, "transA" if left else "transB", 0))
    turned ^= "Transpose" in tensor.facts.get("via", ())
    axes = "o i" if turned ^ left else "i o"
    return Meaning("dense", "kernel", axes if tensor.ndim == 2 else f"x {axes}", evidence="graph")


def _listed(label: str, operator: str, name: str, graph: Graph) -> Meaning:
    kind = _KINDS[operator]
    node = graph.nodes.get((label, operator))
    if kind == "instance_norm" and node is not None and _over_groups(node, graph):
        return Meaning("buffer", name, evidence="graph")
    layout = onnx.LAYOUTS[kind]
    role = layout.role_of(name)
    if not role and kind.endswith("_norm"):
        role = {"gamma": "gamma", "beta": "beta"}.get(name, "")
    axes = layout.roles[role].axes if role in layout.roles else ""
    within = note = ""
    if kind in ("lstm", "gru", "rnn"):
        direction = graph.attribute(label, operator, "direction", b"")
        within = "bidirectional" if direction in (b"bidirectional", "bidirectional") else ""
        if kind == "gru":
            after = graph.attribute(label, operator, "linear_before_reset", 0)
            note = "reset_after" if after else "reset_before"
    axes = "" if axes == "*" else axes
    return Meaning(kind, role or name, axes, evidence="graph", within=within, note=note)


def _elementwise(tensor: Tensor, label: str, operator: str, graph: Graph) -> Meaning | None:
    """The bias of a product, or gamma and beta of a normalization written out."""
    node = graph.nodes.get((label, operator))
    if node is None or not tensor.size:
        return None
    found = _origin(node, operator, graph)
    if found is None:
        return None
    kind, role = found
    if max(tensor.shape, default=1) != tensor.size and kind != "layer_norm":
        return None
    axes = {"bias": "o", "gamma": "c", "beta": "c"}[role]
    ones = ["1"] * max(0, tensor.ndim - 1)
    at = next((i for i, size in enumerate(tensor.shape) if size > 1), tensor.ndim - 1)
    ones.insert(max(0, at), axes)
    return Meaning(kind, role, " ".join(ones) if tensor.ndim else "", evidence="graph")


def _origin(node: Any, operator: str, graph: Graph) -> tuple[str, str] | None:
    """(kind, role) of the constant of an elementwise node, by what made its other input."""
    makers = [graph.makers[name] for name in node.inputs if name in graph.makers]
    if len(makers) > 1:  # what the constant itself has passed is not where the product comes from
        makers = [
            m for m in makers if m.op_type not in _THROUGH or m.inputs[0] not in graph.initial
        ]
    if len(makers) != 1:
        return None
    maker = makers[0]
    if operator in _SCALINGS:
        kind = _normalizes(maker, graph)
        return (kind, "gamma") if kind else None
    if maker.op_type == "Mul":
        above = _origin(maker, "Mul", graph)
        if above is not None and above[1] == "gamma":
            return above[0], "beta"
    for _ in range(_STEPS):
        if maker.op_type in MATRIX:
            return "dense", "bias"
        if maker.op_type in CONV:
            kernel = _second_input(*_label(maker, graph), graph)
            whole = _convolution(kernel, *_label(maker, graph), "W", graph) if kernel else None
            return (whole.kind, "bias") if whole else None
        if maker.op_type not in ("Cast", "Mul", "Reshape", "Squeeze"):
            return None
        above_makers = [graph.makers[n] for n in maker.inputs if n in graph.makers]
        if not above_makers:
            return None
        maker = above_makers[0]
    return None


def _label(node: Any, graph: Graph) -> tuple[str, str]:
    if node.name:
        return node.name, node.op_type
    return next(key for key, other in graph.nodes.items() if other is node)


def _over_groups(node: Any, graph: Graph) -> bool:
    """Is it the InstanceNormalization of a group norm, whose groups a Reshape makes the channels
    of? Its own scale and bias are ones and zeros; gamma and beta come after."""
    before = graph.makers.get(node.inputs[0]) if node.inputs else None
    reshaped = before is not None and before.op_type == "Reshape"
    return node.op_type == "InstanceNormalization" and reshaped


def _normalizes(maker: Any, graph: Graph) -> str:
    """The norm whose last step a node is: (x - mean) / sqrt(...), or x / sqrt(mean of squares)."""
    inputs = [graph.makers.get(name) for name in maker.inputs]
    operators = {node.op_type for node in inputs if node is not None}
    if maker.op_type == "Cast" and inputs[:1] != [None] and inputs:
        return _normalizes(inputs[0], graph)
    if maker.op_type == "Reshape" and inputs[0] is not None:
        return "group_norm" if _over_groups(inputs[0], graph) else ""
    if maker.op_type == "Div" and "Sqrt" in operators:
        return "layer_norm" if "Sub" in operators else "rms_norm"
    if maker.op_type == "Mul" and operators & {"Reciprocal", "Pow", "Div"}:
        roots = [n for n in inputs if n is not None and n.op_type in ("Reciprocal", "Div")]
        rooted = any(
            (above := graph.makers.get(name)) is not None and above.op_type == "Sqrt"
            for node in roots
            for name in node.inputs
        )
        if rooted:
            return "layer_norm" if "Sub" in operators else "rms_norm"
    return ""
