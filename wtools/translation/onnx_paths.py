"""Which module each weight of an ONNX file belongs to, recovered from what its exporter left.

torch.onnx keeps the names of weights that it stores as they are. Those that it has turned, folded
or joined are only numbered; but the nodes that they feed are called after the modules around
them: `/layer1/layer1.0/conv1/Conv`, each module by its whole name as seen from the nearest
one that is no element of a list. Where the bias beside a numbered kernel kept its name, that
name tells the whole path.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ..layers import LayerMap, TensorRole
from ..layers.graph import Graph, feed_meaning, graph_of
from ..tree import Tensor, WeightTree
from .model import CanonicalLayer
from .spelling import Spelled, spelled
from .units import RECURRENT

_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul"})
_STEPS = 4  # from a product to the Add of its bias


def numbered(tensor: Tensor) -> bool:
    """Has the exporter only counted it? The reader has then called it after a node.

    A name in a subgraph, or one that several have, is the exporter's all the same.
    """
    own = re.sub(r"#\d+$", "", tensor.name).rpartition("/")[2]
    return not tensor.stored.endswith(own)


def restored(layer: CanonicalLayer) -> list[Spelled]:
    """A layer of torch's own export as its module had it.

    What kept its name kept its value: only numbered weights were changed. A numbered kernel is
    called as the bias beside it is: `in_proj_bias` has an `in_proj_weight`.
    """
    named = [p for p in layer.parts.values() if not numbered(p.piece.tensor)]
    kept = {p.piece.tensor.name for p in named if _module(p.piece.tensor) == layer.path}
    found = [Spelled(name, layer.tensors[name], (), (), (name,)) for name in sorted(kept)]
    if layer.kind == "batch_norm" and found:  # torch counts batches, ONNX does not
        found += [one for one in spelled(layer, "torch") if not one.sources]
    own = {role: p for role, p in layer.parts.items() if p.piece.tensor.name not in kept}
    if not own:
        return found
    biases = [p.piece.tensor.name for p in named if p.role == "bias" and "bias" in p.stored[0]]
    for one in spelled(replace(layer, parts=own), "torch"):
        if not one.sources and kept:
            continue
        if biases and one.slot is not None and one.slot.roles == ("kernel",):
            head, _, leaf = biases[0].rpartition(".")
            name = f"{head}.{leaf.replace('bias', 'weight')}".lstrip(".")
            one = one._replace(name=name, tensor=one.tensor.rename(name))
        found.append(one)
    return found


def placed(tree: WeightTree, layers: LayerMap, convention: str) -> list[TensorRole]:
    """The roles of an ONNX graph's tensors, their layers' paths with "/"; empty for other trees.

    An exporter stores equal tensors once: a tensor that several modules use has a role in each.
    """
    graph = graph_of(tree)
    if convention != "onnx" or not graph.nodes:
        return []
    path = {role.tensor.name: _own(role) for role in layers.tensors.values()}
    biases = {t.stored: t for t in tree.values() if not numbered(t) and _module(t)}
    users = _users(graph)
    for role in layers.tensors.values():
        if role.meaning.kind == "dense" and numbered(role.tensor):
            bias = _bias_of(role.tensor, graph, users, biases)
            if bias is not None:
                path[role.tensor.name] = _module(bias)
    found = [
        replace(_grouped(role, graph), layer=path[name]) for name, role in layers.tensors.items()
    ]
    separable = {r.layer: r.meaning.kind for r in found if r.meaning.kind.startswith("separable")}
    found = [
        replace(role, meaning=replace(role.meaning, kind=separable[role.layer]))
        if role.layer in separable
        else role
        for role in found
    ]
    return found + _shared(found, graph)


def _grouped(role: TensorRole, graph: Graph) -> TensorRole:
    """A role with the node that computes the layer, and its groups, among the tensor's facts.

    In a graph that wtools made of a separable layer its kernels are called as in Keras.
    """
    feeds = role.tensor.facts.get("feeds", ())
    leaf = role.tensor.name.rpartition("/")[2]
    if leaf in ("depthwise_kernel", "pointwise_kernel"):
        n = role.tensor.ndim - 2
        spatial, ones = {1: "k", 2: "h w"}.get(n, "d h w"), " ".join("1" * n)
        axes = f"(i m) 1 {spatial}" if leaf[0] == "d" else f"o (i m) {ones}"
        meaning = replace(role.meaning, kind=f"separable_conv{n}d", role=leaf, axes=axes)
        role = replace(role, meaning=meaning)
    if not feeds:
        return role
    label, operator = feeds[0][:2]
    facts = {**role.tensor.facts, "node": _product(label, operator, graph) or label}
    if role.meaning.axes.startswith("(i m)"):
        facts["group"] = graph.attribute(label, operator, "group")
    return replace(role, tensor=replace(role.tensor, facts=facts))


def _shared(roles: list[TensorRole], graph: Graph) -> list[TensorRole]:
    """The roles of tensors in the layers that use them beside the one that they are named for."""
    owner: dict[str, str] = {}
    for role in roles:
        if "kernel" in role.meaning.role or role.meaning.role in ("gamma", "moving_mean"):
            for label, _, _ in role.tensor.facts.get("feeds", ())[:1]:
                owner.setdefault(label, role.layer)
    found = []
    for role in roles:
        feeds = role.tensor.facts.get("feeds", ())
        for label, operator, name in feeds[1:] if not numbered(role.tensor) else ():
            path = owner.get(label) or owner.get(_product(label, operator, graph), "")
            meaning = feed_meaning(role.tensor, label, operator, name, graph)
            usual = meaning is not None and meaning.role in ("bias", "beta", "gamma", "kernel")
            if meaning is not None and usual and path and path != role.layer:
                found.append(replace(role, layer=path, meaning=meaning))
    return found


def _product(label: str, operator: str, graph: Graph) -> str:
    """The label of the product to which an Add adds its constant."""
    node = graph.nodes.get((label, operator))
    for name in node.inputs if node is not None and operator in ("Add", "Sub") else ():
        maker = graph.makers.get(name)
        if maker is not None and maker.op_type in _PRODUCTS:
            return next((key[0] for key, other in graph.nodes.items() if other is maker), "")
    return ""


def _module(tensor: Tensor) -> str:
    """The module that a name of its own tells: `encoder/0` of `encoder.0.weight`."""
    scope, _, own = tensor.name.rpartition("/")
    inner = own.rpartition(".")[0].replace(".", "/")
    return "/".join(filter(None, (scope, inner)))


def _own(role: TensorRole) -> str:
    tensor = role.tensor
    if not numbered(tensor):
        cell = role.meaning.kind in RECURRENT and "." not in tensor.name.rpartition("/")[2]
        return role.layer if cell else _module(tensor)
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
        node, passing = graph.nodes.get((label, operator)), {*_PRODUCTS}
        for _ in range(_STEPS):
            if node is None:
                break
            beside = [biases[name] for name in node.inputs if name in biases]
            if beside and node.op_type in ("Add", "Gemm"):
                return beside[0]
            if node.op_type not in passing or not node.outputs:
                break
            passing = {"Cast", "Reshape", "Squeeze"}
            after = users.get(node.outputs[0], [])
            node = after[0] if len(after) == 1 else None
    return None
