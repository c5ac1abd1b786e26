"""schema.json as a tree of nodes: what is of use of it, in memory in proportion to its bytes.

Every object in it is a node,

    {"__class__": "Lasso", "__module__": "sklearn.linear_model._coordinate_descent",
     "__loader__": "ObjectNode", "content": ..., "__id__": 140606178227728}

whose loader says what the content is: a nested node, a dict or a list of nodes, the JSON text of a
plain value (JsonNode), or none, where `file` names a member (NdArrayNode, SparseMatrixNode).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from ...errors import CorruptError, UnsafeError
from ..zips import SCHEMA, Zip

# Bytes that any schema may have, and its values may take; in a larger file as many as that has.
SMALL, MODEST = 12 << 20, 32 << 20
_KEYS = 8  # of a node, at most
_SCALARS = frozenset('"-0123456789tfnNI')  # what the text of a plain value begins with
PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True, eq=False)
class Node:
    """An object of the schema. content: a Node, a dict or a list of values and Nodes, or None.

    type: "numpy" or "json" of an array, "scipy". shape: of an array that is kept as JSON.
    """

    __slots__ = ("content", "file", "kind", "loader", "module", "shape", "type")
    loader: str
    kind: str
    module: str
    content: Any
    file: str | None
    type: str
    shape: Any


def schema(archive: Zip) -> tuple[Node, dict[str, Any]]:
    """(the outermost object, protocol and version). Raises CorruptError and UnsafeError."""
    path = archive.source.path
    member = archive.get(SCHEMA)
    if member is None:
        raise CorruptError(f"has no {SCHEMA}", path=path)
    text = _text(archive)
    told: dict[str, Any] = {}

    def hook(pairs: list[tuple[str, Any]]) -> Any:
        return _node(pairs, told)

    try:
        root = json.loads(text, object_pairs_hook=hook)
    except RecursionError:
        raise _corrupt(path, "is nested too deeply") from None
    except ValueError as error:
        raise _corrupt(path, f"is not valid: {error}") from None
    if not isinstance(root, Node):
        raise _corrupt(path, "has no __loader__: not the schema of an object")
    protocol = told.get("protocol")
    if type(protocol) is not int or protocol < 0:
        raise _corrupt(path, f"has no protocol but {str(protocol)[:40]!r}")
    return root, told


def _text(archive: Zip) -> str:
    """The member as text, unless what is built of it would not be in proportion to the file.

    A list is 56 bytes, a short string or number 32 and more, and either may take 3 in the text;
    but in a schema nearly all stand in nodes, which are made small as they are read.
    """
    raw = archive.read(SCHEMA, most=max(SMALL, archive.source.size))
    objects, lists = raw.count(b"{"), raw.count(b"[")
    items = max(0, raw.count(b",") - _KEYS * objects)
    cost = 64 * lists + 200 * objects + 48 * items
    if cost > max(MODEST, archive.source.size):
        raise UnsafeError(
            f"{objects} objects, {lists} lists and {items} items in {len(raw)} bytes",
            path=archive.source.path,
            place=SCHEMA,
            advice="They would take far more memory than the file has bytes.",
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _corrupt(archive.source.path, f"is not UTF-8 at byte {error.start}") from None


def _node(pairs: list[tuple[str, Any]], told: dict[str, Any]) -> Any:
    """What an object of the JSON text stands for: a plain value, a Node, or a dict of them."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice in one object")
    loader = fields.get("__loader__")
    if loader is None:
        return fields
    if "protocol" in fields:
        told |= {key: fields.get(key) for key in ("protocol", "_skops_version")}
    kind, module, content = (fields.get(k) for k in ("__class__", "__module__", "content"))
    if not isinstance(loader, str) or not all(isinstance(k, str) for k in (kind, module)):
        raise ValueError(f"a node without class, module and loader: {str(fields)[:80]}")
    if loader == "JsonNode":
        return _plain(content)
    if loader == "TypeNode" and module == "builtins":
        return None  # the types of a dict's keys, mostly
    file = fields.get("file")
    if file is not None and not isinstance(file, str):
        raise ValueError(f"a file name that is none: {str(file)[:80]}")
    return Node(
        loader, str(kind), str(module), content, file, str(fields.get("type")), fields.get("shape")
    )


def _plain(content: Any) -> Any:
    """The number, string, truth value or None of a JsonNode; longer texts stay texts."""
    if not isinstance(content, str):
        _bad_value(content)
    if content[:1] not in _SCALARS:
        return content
    try:
        return json.loads(content)
    except ValueError:
        return _bad_value(content)


def _bad_value(content: Any) -> NoReturn:
    raise ValueError(f"a JsonNode whose content is no JSON text: {str(content)[:80]!r}")


def _corrupt(path: str, reason: str) -> CorruptError:
    return CorruptError(reason, path=path, place=SCHEMA)
