"""The HDF5 layout of Keras 1 to 3: `layer_names`, and `weight_names` in each layer's group.

Names are the same whichever Keras wrote them: the path of the layer in its model, then what Keras
calls the variable within the layer. Keras 3 puts the name of a Sequential before its layers'
(`seq/dense/kernel`) and that of a Functional model nowhere; Keras 2 neither, but `:0` at the end.
With the model's config, the layers of nested models are found; without it, a name stays as near
to the stored one as the group it stands in allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from ...errors import CorruptError
from ...tree import Tensor
from ..hdf5 import Dataset, Group
from . import variables
from .config import Layer
from .tensors import Notes, tensor


def is_legacy(group: Group) -> bool:
    return "layer_names" in group.attributes or "layer_names0" in group.attributes


def texts(group: Group, name: str, path: str) -> list[str]:
    """A list attribute, joined again where it was cut in pieces of less than 64 KB.

    Raises CorruptError where it is absent or holds no strings.
    """
    attributes = group.attributes
    if name in attributes:
        pieces = [attributes[name]]
    else:
        numbered = iter(range(len(attributes)))
        pieces = [attributes[f"{name}{i}"] for i in numbered if f"{name}{i}" in attributes]
        if not pieces:
            raise CorruptError(f"no attribute {name}", path=path, place=group.path or "/")
    found: list[str] = []
    for piece in pieces:
        if isinstance(piece, list):
            found += piece
        elif not (isinstance(piece, np.ndarray) and piece.size == 0):  # [] is stored as floats
            raise CorruptError(f"{name} is no list of names", path=path, place=group.path or "/")
    return found


def weights(group: Group, model: Layer | None, path: str, notes: Notes) -> list[Tensor]:
    """The tensors below a group with `layer_names`, in the order of the layers."""
    found = []
    used: set[str] = set()
    layers = {layer.name: layer for layer in model.layers} if model else {}
    names = texts(group, "layer_names", path)
    if "top_level_model_weights" in group.children:
        names.append("top_level_model_weights")
    for name in dict.fromkeys(names):
        for dataset, stored in _listed(group, name, path):
            if dataset.path in used:
                continue
            used.add(dataset.path)
            top = name == "top_level_model_weights" and name not in layers
            one = _tensor(dataset, "" if top else name, stored, layers.get(name), model, notes)
            if one is not None:
                found.append(one)
    for dataset in group.walk():
        if dataset.path not in used:
            one = tensor(dataset, dataset.path, notes)
            if one is not None:
                found.append(one)
                notes.unmarked["are in no layer's list of weights"] += 1
    return found


def optimizer(group: Group, path: str, notes: Notes) -> list[Tensor]:
    """The optimizer's variables, by their stored names without the group and `:0`."""
    found = []
    if "weight_names" in group.attributes or "weight_names0" in group.attributes:
        pairs = [(d, n) for d, n in _datasets(group, path)]
    else:
        pairs = [(d, d.path.removeprefix(f"{group.path}/")) for d in group.walk()]
    for dataset, name in pairs:
        one = tensor(dataset, name.removesuffix(":0"), notes)
        if one is not None:
            found.append(one)
    return found


def _listed(group: Group, layer: str, path: str) -> Iterator[tuple[Dataset, str]]:
    below = group.group(layer)
    if below is None:
        place = f"{group.path}/{layer}".lstrip("/")
        raise CorruptError("layer_names lists a group that is not there", path=path, place=place)
    return _datasets(below, path)


def _datasets(group: Group, path: str) -> Iterator[tuple[Dataset, str]]:
    for name in texts(group, "weight_names", path):
        dataset = group.get(name.strip("/"))
        if not isinstance(dataset, Dataset):
            place = f"{group.path}/{name}"
            raise CorruptError("weight_names lists what is not there", path=path, place=place)
        yield dataset, name


def _tensor(
    dataset: Dataset,
    layer: str,
    stored: str,
    known: Layer | None,
    model: Layer | None,
    notes: Notes,
) -> Tensor | None:
    parts = [part for part in stored.removesuffix(":0").split("/") if part]
    leaf, owner, tail = _resolved(layer, parts, known)
    name = "/".join([*owner, *tail])
    if leaf is None:
        place = "/".join(owner) if known and not known.model else name.rpartition("/")[0]
        return tensor(dataset, name, notes, policy=model.policy if model else "", layer=place)
    mode = variables.quantization_mode(leaf.config)
    dtype = dataset.type.dtype.name if dataset.type.dtype else "float32"
    return tensor(
        dataset,
        name,
        notes,
        policy=leaf.policy,
        layer="/".join(owner),
        kind=leaf.kind,
        trainable=leaf.trainable and variables.trained(tail[-1] if tail else None, dtype, mode),
    )


def _resolved(
    layer: str, parts: list[str], known: Layer | None
) -> tuple[Layer | None, tuple[str, ...], list[str]]:
    """(layer that owns the variable, its path, the rest of the name) for a stored name."""
    if known is not None and known.model:
        found = _nested(known, parts)
        if found is not None:
            path, leaf, tail = found
            return leaf, (known.name, *path), tail
        known = None
    if not layer:
        return None, (), parts
    if layer in parts:
        return known, (layer,), parts[parts.index(layer) + 1 :]
    if len(parts) > 1 and re.fullmatch(rf"{re.escape(layer)}_\d+", parts[0]):
        parts = parts[1:]  # TensorFlow's numbering of a graph that was built twice
    return known, (layer,), [_keras1(layer, part) for part in parts]


def _nested(model: Layer, parts: list[str]) -> tuple[tuple[str, ...], Layer, list[str]] | None:
    """The layer inside a nested model that a stored name means, if there is just one.

    First by the path Keras 3 gives the layer: the names of the Sequentials right above it, then
    its own; then by its own name alone, if that is unique in the model.
    """
    leaves = list(model.leaves())
    scopes = dict(_scopes(model))
    exact, loose = [], []
    for path, leaf in leaves:
        scope = scopes.get(path, (leaf.name,))
        for i in range(len(parts)):
            if parts[i] != leaf.name:
                continue
            loose.append((path, leaf, parts[i + 1 :]))
            if tuple(parts[max(0, i + 1 - len(scope)) : i + 1]) == scope:
                exact.append((len(scope), path, leaf, parts[i + 1 :]))
            break
    if exact:
        longest = max(length for length, *_ in exact)
        best = [(path, leaf, tail) for length, path, leaf, tail in exact if length == longest]
        if len(best) == 1:
            return best[0]
    return loose[0] if len(loose) == 1 else None


def _scopes(
    model: Layer, path: tuple[str, ...] = (), scope: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(path below the model, Keras 3's own path) of each layer."""
    scope = (*scope, model.name) if model.kind == "Sequential" else ()
    for layer in model.layers:
        if layer.model:
            yield from _scopes(layer, (*path, layer.name), scope)
        else:
            yield (*path, layer.name), (*scope, layer.name)


def _keras1(layer: str, name: str) -> str:
    """Keras 1 called the weights of `dense_1` `dense_1_W` and `dense_1_b`."""
    return name.removeprefix(f"{layer}_") or name
