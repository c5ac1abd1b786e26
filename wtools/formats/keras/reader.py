"""One Keras file from its container to a WeightTree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...errors import FormatError, NameNotFoundError
from ...files import Source
from ...tree import Tensor, WeightTree
from .. import carried, hdf5, zips
from . import NAME, legacy, saving
from .config import layer_tree, parse_json
from .tensors import Notes, distinct, quantized, tensor

WEIGHTS = "model.weights.h5"


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The weights; `root`: "optimizer" or "state" for those variables instead.

    Raises FormatError, CorruptError, UnsafeError and, for an unknown root, NameNotFoundError.
    """
    reading = _Reading(source)
    tree = reading.archive() if zips.is_zip(source) else reading.file()
    if root is None:
        return tree
    if root not in tree.apart:
        raise NameNotFoundError(root, tree.apart, path=source.path, what="root")
    return tree.apart[root]


class _Reading:
    """One file on its way to a tree."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.notes = Notes()

    def file(self) -> WeightTree:
        """An HDF5 file of any of the layouts."""
        root = hdf5.open(self.source)
        return _carried_home(self.layout(root), root.attributes)

    def layout(self, root: hdf5.Group) -> WeightTree:
        if legacy.is_legacy(root):
            return self.legacy(root, root, "legacy h5 weights")
        inner = root.group("model_weights")
        if inner is not None and legacy.is_legacy(inner):
            return self.legacy(root, inner, "legacy h5 model")
        if saving.is_saved(root):
            return self.saved(root, "weights.h5", None, {}, {}, self.source.close)
        return self.plain(root)

    def legacy(self, root: hdf5.Group, group: hdf5.Group, variant: str) -> WeightTree:
        known = {**group.attributes, **root.attributes}
        text = {name: value for name, value in known.items() if isinstance(value, str)}
        config = self.json(text.pop("model_config", None), "model_config")
        training = self.json(text.pop("training_config", None), "training_config")
        model = layer_tree(config)
        tensors = legacy.weights(group, model, self.source.path, self.notes)
        apart = {}
        state = root.group("optimizer_weights")
        if state is not None and state is not group:
            apart["optimizer"] = legacy.optimizer(state, self.source.path, self.notes)
        architecture = _architecture(config, training, text)
        return self.tree(tensors, variant, text, architecture, apart, self.source.close)

    def archive(self) -> WeightTree:
        """A `.keras` file: config.json, metadata.json and model.weights.h5 in a zip archive."""
        members = zips.directory(self.source)
        if WEIGHTS not in members:
            kept = [n for n in members if n.startswith("model.weights.")]
            reason = f"keeps its weights as {kept[0]}" if kept else f"has no {WEIGHTS}"
            raise FormatError(f"a .keras archive that {reason}", path=self.source.path)
        config = self.member(members, "config.json")
        metadata = self.member(members, "metadata.json")
        metadata = metadata if isinstance(metadata, dict) else {}
        member = members[WEIGHTS]
        if member.stored:
            start, inner = members.offset(WEIGHTS), self.source
            root = hdf5.open(inner, start, member.nbytes, WEIGHTS)
            close = self.source.close
        else:
            self.notes.say(f"{WEIGHTS} is deflated: unpacked to a temporary file")
            inner = unpacked(members)
            root = hdf5.open(inner)

            def close() -> None:
                inner.close()
                self.source.close()

        architecture = _architecture(config, _get(config, "compile_config"), metadata)
        return self.saved(root, ".keras archive", config, metadata, architecture, close)

    def saved(
        self,
        root: hdf5.Group,
        variant: str,
        config: Any,
        metadata: Mapping[str, Any],
        architecture: Any,
        close: Any,
    ) -> WeightTree:
        model = layer_tree(config)
        if config is not None and model is None:
            self.notes.say("the config lists no layers: names are from the weights alone")
        keras2 = str(metadata.get("keras_version", "")).startswith("2")
        tensors, apart = saving.weights(root, model, self.notes, keras2=keras2)
        tensors = distinct(tensors)
        if "optimizer" in apart:
            compiled = _get(_get(config, "compile_config"), "optimizer")
            kind = compiled if isinstance(compiled, str) else _get(compiled, "class_name")
            kind = kind.rpartition(">")[2] if isinstance(kind, str) else ""
            apart["optimizer"] = saving.name_optimizer(apart["optimizer"], kind, tensors)
        return self.tree(tensors, variant, metadata, architecture or None, apart, close)

    def plain(self, root: hdf5.Group) -> WeightTree:
        """Any HDF5 file: its numeric datasets by path."""
        tensors = []
        for dataset in root.walk():
            layer = dataset.path.rpartition("/")[0]
            one = tensor(dataset, dataset.path, self.notes, layer=layer)
            if one is not None:
                tensors.append(one)
        if not tensors:
            raise FormatError("an HDF5 file without arrays of numbers", path=self.source.path)
        text = {n: v for n, v in root.attributes.items() if isinstance(v, str)}
        return self.tree(tensors, "plain HDF5", text, None, {}, self.source.close)

    def tree(
        self,
        tensors: list[Tensor],
        variant: str,
        metadata: Mapping[str, Any],
        architecture: Any,
        apart: Mapping[str, list[Tensor]],
        close: Any,
    ) -> WeightTree:
        path = self.source.path
        others = {
            name: WeightTree(distinct(kept), format=NAME, variant=name, path=path, close=close)
            for name, kept in apart.items()
        }
        return WeightTree(
            quantized(distinct(tensors)),
            format=NAME,
            variant=variant,
            path=path,
            metadata=metadata,
            architecture=architecture,
            apart=others,
            notes=self.notes.all(),
            close=close,
        )

    def json(self, text: str | bytes | None, what: str) -> Any:
        if text is None:
            return None
        return parse_json(text, what, self.source.path, self.source.size)

    def member(self, members: zips.Zip, name: str) -> Any:
        if name not in members:
            return None
        most = max(3 << 20, self.source.size // 12)
        return self.json(members.read(name, most=most), name)


def _carried_home(tree: WeightTree, attributes: Mapping[str, Any]) -> WeightTree:
    """The tree with what wtools wrote of it beside the weights, if it wrote the file."""
    key = carried.KEY
    names = [key] if key in attributes else [f"{key}{i}" for i in range(len(attributes))]
    pieces = [attributes[n] for n in names if isinstance(attributes.get(n), str)]
    if not pieces:
        return tree
    told = {name: value for name, value in tree.metadata.items() if name not in names}
    metadata = {**told, **carried.texts("".join(pieces))}
    return carried.restore(tree.replace(tree.values(), metadata=metadata))


def unpacked(members: zips.Zip) -> Source:
    """The deflated weights in a temporary file without a name, their CRC checked."""
    with members.file(WEIGHTS) as spool:
        return Source(f"{members.source.path}!{WEIGHTS}", fd=os.dup(spool.fileno()))


def _architecture(config: Any, training: Any, notes: Mapping[str, Any]) -> dict[str, Any] | None:
    if config is None:
        return None
    found = {"keras": config, "version": notes.get("keras_version")}
    if training:
        found["training_config"] = training
    if "backend" in notes:
        found["backend"] = notes["backend"]
    return found


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
