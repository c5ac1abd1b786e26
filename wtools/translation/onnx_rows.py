"""In which order an ONNX graph flattens the images before its layers.

torch's graphs flatten channels first, as ONNX has images; those made of Keras models move the
channels to the end first, so that the rows of the dense layer after it stay as Keras has them.
"""

from __future__ import annotations

from typing import Any

from ..layers.graph import MATRIX, Graph, graph_of
from ..tree import WeightTree

_STEPS = 16  # activations and norms between a Flatten and the layer
_ENDS = MATRIX | {"Conv", "ConvTranspose", "LSTM", "GRU", "RNN"}


def channels_last(tree: WeightTree) -> set[str]:
    """The names of the tensors beside an image that was flattened channels last."""
    graph = graph_of(tree)
    found: set[str] = set()
    for node in graph.nodes.values():
        own = {graph.initial[name].name for name in node.inputs if name in graph.initial}
        if own - found and _last_first(node, graph):
            found |= own
    return found


def _last_first(node: Any, graph: Graph) -> bool:
    """Does a Transpose put the channels last before the Flatten that the node's input is from?"""
    for _ in range(_STEPS):
        makers = [graph.makers[name] for name in node.inputs if name in graph.makers]
        makers = [maker for maker in makers if maker.op_type != "Constant"]
        if len(makers) != 1 or makers[0].op_type in _ENDS:
            return False
        node = makers[0]
        if node.op_type in ("Flatten", "Reshape"):
            above = graph.makers.get(node.inputs[0])
            order = above.attribute("perm", ()) if above is not None else ()
            moved = above is not None and above.op_type == "Transpose" and len(order) > 2
            return moved and list(order) == [0, *range(2, len(order)), 1]
    return False
