"""The layout of `.weights.h5` and `.keras` files: `layers/<class>_<n>/.../vars/<i>`.

A person's name for `layers/functional/layers/dense_1/vars/0` is made of the layers' own names,
from the model's config where there is one (`.keras`), else from the attribute `name` that Keras 3
puts on each `vars` group, else from the class in the path, and of the variable's name, which
follows from the layer's class (see variables.py). What cannot be told keeps `vars/<i>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...tree import Tensor
from ..hdf5 import Group
from . import optimizers, variables
from .config import Layer, snake
from .tensors import Notes, tensor

LISTS = ("layers", "_layer_checkpoint_dependencies")  # the latter in TensorFlow 2.12
UNNAMED = "layers are called after their classes: the file does not hold their own names"
_STATE = ("metrics", "_metrics", "compile_metrics", "loss", "losses", "_loss_tracker")
_APART = {"optimizer": "optimizer", **dict.fromkeys(_STATE, "state")}

Order = tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Node:
    """A place in the tree of saved objects: what it is called and what is known of it."""

    path: tuple[str, ...] = ()  # its name for a person
    layer: tuple[str, ...] = ()  # the path of the layer it belongs to
    kind: str = ""  # that layer's class
    own: str = ""  # its own class: EinsumDense inside a MultiHeadAttention
    known: Layer | None = None
    policy: str = ""
    trainable: bool | None = None
    order: Order = ()
    apart: str = ""
    within: bool = False  # inside a layer, so that what is below belongs to it
    keras2: bool = False


def is_saved(group: Group) -> bool:
    """Does the file hold `vars` groups, however empty?"""
    return "vars" in group.groups or any(map(is_saved, group.groups.values()))


@dataclass(frozen=True)
class _Found:
    order: Order
    apart: str
    tensor: Tensor


def weights(
    root: Group, model: Layer | None, notes: Notes, *, keras2: bool = False
) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """(the model's tensors in the order of its layers, other tensors by set)."""
    start = Node(
        known=model,
        kind=model.kind if model else "",
        own=model.kind if model else "",
        policy=model.policy if model else "",
        trainable=model.trainable if model else None,
        keras2=keras2,
    )
    found = sorted(_walk(root, start, notes), key=lambda f: f.order)
    apart: dict[str, list[Tensor]] = {}
    for one in found:
        if one.apart:
            apart.setdefault(one.apart, []).append(one.tensor)
    return [one.tensor for one in found if not one.apart], apart


def name_optimizer(tensors: list[Tensor], kind: str, weights: list[Tensor]) -> list[Tensor]:
    """Optimizer variables named after class and weights, as `adam/dense_kernel_momentum`."""
    trained = [(t.name, t.shape) for t in weights if t.trainable]
    own = tensors[0].name.partition("/")[0]  # what it calls itself, else "optimizer"
    names = optimizers.names(kind or own, [t.shape for t in tensors], trained)
    if names is None:
        return tensors
    own = snake(kind) if own == "optimizer" and kind else own
    return [t.rename(f"{own}/{n}") for t, n in zip(tensors, names, strict=True)]


def _walk(group: Group, node: Node, notes: Notes) -> Iterator[_Found]:
    own = group.groups.get("vars")
    if own is not None:
        yield from _variables(own, node, notes)
    listed = own is None and all(_class(name) for name in group.groups)
    for name, below in group.groups.items():
        if name != "vars":
            inner = _below(node, name, below, listed)
            if node.own == LISTS[0] and inner.path[-1] == name and not _named(inner, below):
                notes.say(UNNAMED)
            yield from _walk(below, inner, notes)
    for name, dataset in group.datasets.items():
        one = tensor(dataset, dataset.path, notes, trainable=None)
        if one is not None:
            yield _Found((*node.order, (1 << 30, name)), node.apart, one)


def _variables(group: Group, node: Node, notes: Notes) -> Iterator[_Found]:
    numbered = sorted(group.datasets.items(), key=lambda item: _natural(item[0]))
    config = node.known.config if node.known and not node.known.model else None
    mode = variables.quantization_mode(config)
    datasets = [dataset for _, dataset in numbered]
    dtypes = [d.type.dtype.name if d.type.dtype else "bfloat16" for d in datasets]
    plain = [key for key, _ in numbered] == [str(i) for i in range(len(numbered))]
    names = variables.names(node.own, dtypes, config) if plain else [None] * len(dtypes)
    for i, (key, dataset) in enumerate(numbered):
        name = names[i]
        if node.keras2 and name == "kernel" and node.own.startswith("Depthwise"):
            name = "depthwise_kernel"
        tail = (name,) if name else ("vars", key) if plain else (key,)
        trainable = node.trainable
        if trainable is not None:
            trainable = trainable and variables.trained(name, dtypes[i], mode)
        one = tensor(
            dataset,
            "/".join((*node.path, *tail)),
            notes,
            policy=node.policy,
            layer="/".join(node.layer),
            kind=node.kind,
            trainable=trainable,
        )
        if one is not None:
            yield _Found((*node.order, (i - (1 << 30), key)), node.apart, one)


def _named(node: Node, group: Group) -> bool:
    """Does the file say what the layer is called, or is there nothing to call?"""
    own = group.groups.get("vars")
    known = node.known is not None or (own is not None and "name" in own.attributes)
    return known or next(group.walk(), None) is None


def _class(name: str) -> str:
    """The class that saving_lib has named an element of a list after: "dense_1" -> "Dense"."""
    return variables.CLASSES.get(re.sub(r"_\d+$", "", name), "")


def _below(node: Node, name: str, group: Group, listed: bool) -> Node:
    """The node of the sub-group `name` of a node's group, which may be a list of layers."""
    own = group.groups.get("vars")
    called = own.attributes.get("name") if own is not None else None
    label = called if isinstance(called, str) and called else None
    if not node.path and name in _APART and not node.within:
        kept = _APART[name]
        return Node(path=(label or name,), order=_natural(name), apart=kept, within=True)
    if name in LISTS and own is None:
        return replace(node, own=LISTS[0], order=(*node.order, (0, "")))
    if node.own == LISTS[0]:
        return _listed(node, name, label)
    return _part(node, name, label, own is not None, listed)


def _listed(node: Node, name: str, label: str | None) -> Node:
    """A layer in a model's list of layers, `dense_1`."""
    position, known = _lookup(node.known, name, label) if node.known else (None, None)
    number = position if position is not None else 0
    path = (*node.path, (known.name if known else None) or label or name)
    kind = known.kind if known else _class(name)
    return Node(
        path=path,
        layer=path,
        kind=kind,
        own=kind,
        known=known,
        policy=known.policy if known else node.policy,
        trainable=known.trainable if known else None,
        order=(*node.order, (number, _padded(name))),
        apart=node.apart,
        within=known is not None and not known.model,
        keras2=node.keras2,
    )


def _lookup(model: Layer, name: str, label: str | None) -> tuple[int | None, Layer | None]:
    """The layer of a model that is saved as `name` and calls itself `label`."""
    numbered = model.numbered()
    position, layer = numbered.get(name, (None, None))
    if label is None or (layer is not None and layer.name == label):
        return position, layer
    for i, other in enumerate(model.layers):  # its order or its class has another name
        if other.name == label:
            return i, other
    return None, None


def _part(node: Node, name: str, label: str | None, saved: bool, listed: bool) -> Node:
    """What hangs at an attribute of a layer or model: a cell, a wrapped layer, a projection."""
    attribute = name.lstrip("_")
    known = node.known.parts.get(attribute) if node.known else None
    if known is None and node.known and node.known.parts.get("cells") and name != "cells":
        known = _lookup(node.known.parts["cells"], name, label)[1]
    kind, usual = variables.PARTS.get(attribute, ("", ""))
    usual = known.name if known else usual
    if known is not None:
        kind = known.kind
    elif attribute == "cell":
        kind = f"{node.own}Cell" if node.own else "AnyCell"
        usual = f"{snake(node.own)}_cell" if node.own else name
    elif listed and not kind:
        kind = _class(name)
    position = list(variables.PARTS).index(attribute) if attribute in variables.PARTS else 99
    path = (*node.path, label or usual or name)
    inside = node.within or bool(node.kind and node.layer)
    if name == "cells" and not saved:
        path, kind, known = node.path, node.own, node.known
    if node.keras2 and attribute == "layer":  # a TimeDistributed lent its name, then
        path = node.path
    layer = node.layer if inside else path
    return Node(
        path=path,
        layer=layer,
        kind=node.kind if inside else kind,
        own=kind or _class(label or ""),  # `self.head = Dense(3)` calls itself "dense_7"
        known=known,
        policy=known.policy if known else node.policy,
        trainable=known.trainable if known else node.trainable,
        order=(*node.order, (position, _padded(name))),
        apart="state" if kind == "SeedGenerator" else node.apart,
        within=inside,
        keras2=node.keras2,
    )


def _natural(name: str) -> Order:
    return ((0, _padded(name)),)


def _padded(name: str) -> str:
    """`name` so that text order is the order of its numbers."""
    return re.sub(r"\d+", lambda m: m[0][:20].zfill(20), name)
