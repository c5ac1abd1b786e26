"""From the nodes of a schema to an estimator whose arrays are lazy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import CorruptError, NameNotFoundError
from ...estimators.described import ALIASES, Estimator, is_learned, plain, weight_tree
from ...files import Source
from ...tree import Tensor, WeightTree
from .. import npz, zips
from .schema import Node, schema
from .sparse import sparse_tensor

DEEPEST = 64  # nodes in nodes
FEW = 1 << 20  # bytes of the names of features or classes that are read at once
_NAMES = frozenset({"classes_", "feature_names_in_"})
# Objects that have a state of their own which is nobody's weights.
_SILENT = frozenset({"RandomStateNode", "RandomGeneratorNode", "TypeNode", "FunctionNode"})
_CONTAINERS = frozenset({"DictNode", "DefaultDictNode", "ListNode", "TupleNode", "SetNode"})


def read(source: Source, root: str | None) -> WeightTree:
    """The estimator's tree, or what `root` names of it."""
    archive = zips.directory(source)
    node, told = schema(archive)
    found = _Reading(archive).object(node)
    path, tree_of = source.path, found
    if root is not None and root != "fitting":
        known = dict(found.walk())
        if root not in known:
            raise NameNotFoundError(root, [*filter(None, known), "fitting"], path=path, what="root")
        tree_of = known[root]
    version = tree_of.values.get("_sklearn_version") or found.values.get("_sklearn_version")
    metadata = {
        "sklearn_version": version,
        "skops_version": told.get("_skops_version"),
    }
    tree = weight_tree(
        _without_version(tree_of),
        format="skops",
        path=path,
        metadata={key: value for key, value in metadata.items() if isinstance(value, str)},
        close=source.close,
    )
    if root != "fitting":
        return tree
    if "fitting" not in tree.apart:
        raise NameNotFoundError(root, list(tree.apart), path=path, what="root")
    return tree.replace(tree.apart["fitting"].values(), apart={}, architecture=None)


def _without_version(estimator: Estimator) -> Estimator:
    return replace(
        estimator,
        values={k: v for k, v in estimator.values.items() if k != "_sklearn_version"},
        parts={name: _without_version(part) for name, part in estimator.parts.items()},
    )


@dataclass
class _Filling:
    """An estimator in the making; the steps of a pipeline are kept though without arrays."""

    pipeline: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, Estimator] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class _Reading:
    """One file's nodes, walked once."""

    def __init__(self, archive: zips.Zip) -> None:
        self.archive = archive
        self.depth = 0

    def object(self, node: Node) -> Estimator:
        """The estimator (or any object, or a bare array or list) that a node describes."""
        pipeline = node.kind == "Pipeline" and node.module.startswith("sklearn.pipeline")
        filling = _Filling(pipeline)
        state = _state(node)
        if state is None:
            self._attribute(node.kind, node, filling)
        elif pipeline:
            steps = state.pop("steps", None)
            self._attributes(state, filling)
            for name, step in self._steps(steps):
                self._attribute(name, step, filling)
        else:
            self._attributes(state, filling)
        return Estimator(
            node.kind,
            node.module,
            filling.settings,
            filling.values,
            filling.tensors,
            filling.parts,
            filling.left_out,
        )

    def _attributes(self, state: Mapping[str, Any], filling: _Filling) -> None:
        for name, value in state.items():
            self._attribute(name, value, filling)

    def _steps(self, steps: Any) -> Iterator[tuple[str, Any]]:
        """(name, estimator) of a pipeline."""
        for step in _items(steps):
            pair = _items(step)
            if len(pair) != 2 or not isinstance(pair[0], str):
                raise self._corrupt("a step of a Pipeline is no pair of a name and an estimator")
            yield pair[0], pair[1]

    def _attribute(self, path: str, value: Any, filling: _Filling) -> None:
        """Put what stands under `path` where it belongs."""
        if not isinstance(value, Node):
            if plain(value):
                owner = filling.values if is_learned(path) else filling.settings
                owner[path] = value
            return
        if value.loader in _SILENT or path in ALIASES:
            return
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._corrupt(f"{path} is nested more than {DEEPEST} deep")
        if value.loader == "NdArrayNode":
            self._array(path, value, filling)
        elif value.loader == "SparseMatrixNode":
            self._put(path, sparse_tensor(self.archive, self._file(value, path), path), filling)
        elif value.loader in _CONTAINERS:
            self._container(path, value, filling)
        elif value.loader == "MaskedArrayNode" and isinstance(value.content, dict):
            for name, part in value.content.items():
                self._attribute(f"{path}.{name}", part, filling)
        elif _state(value) is not None:
            part = self.object(value)
            if part.holds_arrays or filling.pipeline:
                filling.parts[path] = part
        self.depth -= 1

    def _container(self, path: str, node: Node, filling: _Filling) -> None:
        whole = _values(node)
        if whole is not None and plain(whole[0]):
            owner = filling.values if is_learned(path) else filling.settings
            owner[path] = whole[0]
            return
        items = _named(node)
        for name, value in items:
            self._attribute(f"{path}.{name}", value, filling)

    def _array(self, path: str, node: Node, filling: _Filling) -> None:
        if node.type == "json":
            values = _items(node)
            if plain(values):
                filling.values[path] = values
            for number, value in enumerate(values):
                if isinstance(value, Node):
                    self._attribute(f"{path}.{number}", value, filling)
            return
        member = self._file(node, path)
        self._put(path, npz.tensor_of(self.archive, member, path), filling)
        if path in _NAMES:
            names = npz.few_values(self.archive, member, FEW)
            if names is not None:
                filling.values[path] = names
                filling.left_out.pop(path, None)

    def _put(self, path: str, found: Tensor | str, filling: _Filling) -> None:
        if isinstance(found, Tensor):
            filling.tensors[path] = found
        else:
            filling.left_out[path] = found

    def _file(self, node: Node, path: str) -> str:
        """The member that a node names; it must be there, and be no part of the schema."""
        if node.file is None or node.file not in self.archive or node.file == zips.SCHEMA:
            raise self._corrupt(f"{path} names the member {node.file!r}, which is not there")
        return node.file

    def _corrupt(self, reason: str) -> CorruptError:
        return CorruptError(reason, path=self.archive.source.path, place=zips.SCHEMA)


def _state(node: Node) -> dict[str, Any] | None:
    """The attributes of an object; None where it has none that are kept by name."""
    content = node.content
    if node.loader in _CONTAINERS or not isinstance(content, Node):
        return None
    while isinstance(content, Node) and content.loader == "DefaultDictNode":
        content = content.content.get("main") if isinstance(content.content, dict) else None
    if isinstance(content, Node) and isinstance(content.content, dict):
        return dict(content.content)
    if isinstance(content, Node) and isinstance(content.content, list):
        return {str(number): value for number, value in enumerate(content.content)}
    return None


def _named(node: Node) -> list[tuple[str, Any]]:
    """The items of a dict by key; of a list by number, or by the text that stands first in each
    (`transformers_` of a ColumnTransformer)."""
    content = node.content
    if isinstance(content, dict):
        if node.loader == "DefaultDictNode":
            main = content.get("main")
            return _named(main) if isinstance(main, Node) and main.loader == "DictNode" else []
        return list(content.items())
    found = []
    for number, value in enumerate(content if isinstance(content, list) else ()):
        pair = _items(value) if isinstance(value, Node) and value.loader == "TupleNode" else []
        if len(pair) > 1 and isinstance(pair[0], str) and isinstance(pair[1], Node):
            found.append((pair[0], pair[1]))
        else:
            found.append((str(number), value))
    return found


def _items(node: Any) -> list[Any]:
    content = node.content if isinstance(node, Node) else None
    return content if isinstance(content, list) else []


def _values(node: Any, depth: int = 0) -> tuple[Any] | None:
    """(the plain value,) of a dict or list that holds nothing else; None for any other."""
    if not isinstance(node, Node):
        return (node,)
    if node.loader not in _CONTAINERS or depth > 3:
        return None
    content = node.content
    items = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(items, list):
        return None
    inner = []
    for item in items:
        value = _values(item, depth + 1)
        if value is None:
            return None
        inner.append(value[0])
    return (dict(zip(content, inner, strict=True)) if isinstance(content, dict) else inner,)
