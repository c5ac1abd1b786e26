"""Which module each weight of an ONNX file belongs to, recovered from what its exporter left.

torch.onnx keeps the names of weights that it stores as they are. Those that it has turned, folded
or joined are only numbered; but the nodes that they feed are called after the modules around
them: `/layer1/layer1.0/conv1/Conv`, each module by its whole name as seen from the nearest
one that is no element of a list. Where the bias beside a numbered kernel kept its name, that
name tells the whole path.
"""

from __future__ import annotations

from typing import Any

from ..layers import LayerMap, TensorRole
from ..layers.graph import Graph, graph_of
from ..tree import Tensor, WeightTree

_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul"})
_STEPS = 4  # from a product to the Add of its bias


def paths(tree: WeightTree, layers: LayerMap, convention: str) -> dict[str, str]:
    """Tensor -> path of its layer, parts joined by "/"; empty where the tree is no ONNX graph."""
    graph = graph_of(tree)
    if convention != "onnx" or not graph.nodes:
        return {}
    found = {role.tensor.name: _own(role) for role in layers.tensors.values()}
    biases = {t.stored: t for t in tree.values() if _named(t) and _module(t)}
    users = _users(graph)
    for role in layers.tensors.values():
        if role.meaning.kind == "dense" and not _named(role.tensor):
            bias = _bias_of(role.tensor, graph, users, biases)
            if bias is not None:
                found[role.tensor.name] = _module(bias)
    return found


def _named(tensor: Tensor) -> bool:
    """Has the exporter left the weight its name?"""
    return tensor.stored == tensor.name


def _module(tensor: Tensor) -> str:
    """The module that a name of its own tells: `encoder/0` of `encoder.0.weight`."""
    name = tensor.name
    if "/" in name:
        return name.rpartition("/")[0]
    return name.rpartition(".")[0].replace(".", "/")


def _own(role: TensorRole) -> str:
    tensor = role.tensor
    if _named(tensor):
        return _module(tensor)
    return scope_path(tensor.name)


def scope_path(name: str) -> str:
    """The module of a name after a node: "layer1/layer1.0/conv1/Conv.weight" -> layer1/0/conv1.

    A part that repeats the one before it, and goes on, is that one's element.
    """
    parts: list[str] = []
    for part in name.split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        elif part:
            parts.append(part)
    return "/".join(parts).replace(".", "/")


def _users(graph: Graph) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in graph.nodes.values():
        for name in node.inputs:
            found.setdefault(name, []).append(node)
    return found


def _bias_of(
    kernel: Tensor, graph: Graph, users: dict[str, list[Any]], biases: dict[str, Tensor]
) -> Tensor | None:
    """The named bias that is added to the product of a kernel, or is the third input of it."""
    for label, operator, _ in kernel.facts.get("feeds", ()):
        node = graph.nodes.get((label, operator))
        for _ in range(_STEPS):
            if node is None:
                break
            beside = [biases[name] for name in node.inputs if name in biases]
            if beside and node.op_type in ("Add", "Gemm"):
                return beside[0]
            if node.op_type not in (*_PRODUCTS, "Cast", "Reshape", "Squeeze") or not node.outputs:
                break
            after = users.get(node.outputs[0], [])
            node = after[0] if len(after) == 1 else None
    return None
