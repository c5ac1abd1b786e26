"""ModelProto to `graph.Model`: one walk over the file that reads everything but the data."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from ...errors import CorruptError
from . import graph as g
from . import schema
from .graph import Attribute, Function, Graph, LongList, Model, Node, StoredSparse, StoredTensor
from .schema import check, deeper
from .tensor_proto import signed, sparse_tensor, tensor
from .varints import Piece, numbers
from .wire import FIXED32, LEN, RUN, VARINT, Wire

SHORT = 1024  # bytes of an attribute whose numbers are kept as Python values
NOTE = 4096  # bytes kept of a doc_string

_KIND = {2: g.FLOAT, 3: g.INT, 4: g.STRING, 5: g.TENSOR, 6: g.GRAPH, 7: g.FLOATS, 8: g.INTS,
         9: g.STRINGS, 10: g.TENSORS, 11: g.GRAPHS, 14: g.TYPE_PROTO, 15: g.TYPE_PROTOS,
         22: g.SPARSE_TENSOR, 23: g.SPARSE_TENSORS}  # fmt: skip
_LISTS = {g.FLOATS, g.INTS, g.STRINGS, g.TENSORS, g.GRAPHS, g.SPARSE_TENSORS, g.TYPE_PROTOS}
_MUST = {g.TENSOR: "tensor", g.GRAPH: "graph", g.SPARSE_TENSOR: "sparse tensor"}
_SCOPES = ("pkg.torch.onnx.name_scopes",)


def model(wire: Wire) -> Model:
    """The whole file. Raises CorruptError, UnsafeError."""
    size = wire.source.size
    found: dict[int, Any] = {}
    opsets: dict[str, int] = {}
    properties: dict[str, str] = {}
    functions: list[Function] = []
    training: list[tuple[str, Graph]] = []
    for number, _, a, b in wire.fields(0, size, schema.MODEL):
        if number in (1, 5):
            found[number] = signed(a)
        elif number in (2, 3, 4):
            found[number] = wire.text(a, b)
        elif number == 6:
            found[number] = _note(wire, a, b)
        elif number == 7:
            if number in found:
                raise wire.bad("a second graph", a)
            found[number] = graph(wire, a, b, 1)
        elif number == 8:
            _opset(wire, a, b, opsets)
        elif number == 14:
            _property(wire, a, b, properties)
        elif number == 20:
            _training(wire, a, b, training)
        elif number == 25:
            functions.append(function(wire, a, b))
        else:
            check(wire, "configuration", a, b, 1)
    if 7 not in found:
        raise _incomplete(wire, "has no graph")
    ir_version = found.get(1, 0)
    if ir_version >= 3 and not opsets:
        raise _incomplete(wire, "names no operator set (opset_import)")
    return Model(
        ir_version,
        opsets,
        found[7],
        tuple(functions),
        tuple(training),
        found.get(2, ""),
        found.get(3, ""),
        found.get(4, ""),
        found.get(5, 0),
        found.get(6, ""),
        properties,
    )


def graph(wire: Wire, start: int, end: int, depth: int) -> Graph:
    """A GraphProto in [start, end), `depth` messages deep."""
    deeper(wire, start, depth)
    wire.spend(500)
    name = ""
    nodes: list[Node] = []
    initializers: list[StoredTensor] = []
    sparse: list[StoredSparse] = []
    inputs: list[g.Value] = []
    outputs: list[g.Value] = []
    for number, _, a, b in wire.fields(start, end, schema.GRAPH):
        if number == 1:
            nodes.append(node(wire, a, b, depth + 1))
        elif number == 5:
            initializers.append(tensor(wire, a, b, depth + 1))
        elif number == 15:
            sparse.append(sparse_tensor(wire, a, b, depth + 1))
        elif number in (11, 12):
            (inputs if number == 11 else outputs).append(value(wire, a, b, depth + 1))
        elif number == 13:
            check(wire, "value", a, b, depth + 1)
        elif number == 14:
            check(wire, "annotation", a, b, depth + 1)
        elif number == 16:
            check(wire, "entry", a, b, depth + 1)
        elif number == 2:
            name = wire.text(a, b)
    return Graph(
        name, tuple(nodes), tuple(initializers), tuple(sparse), tuple(inputs), tuple(outputs)
    )


def node(wire: Wire, start: int, end: int, depth: int) -> Node:
    """A NodeProto. Raises CorruptError for one without an operator."""
    deeper(wire, start, depth)
    wire.spend(400)
    texts = {3: "", 4: "", 7: "", 8: ""}
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: list[Attribute] = []
    scopes: tuple[str, ...] = ()
    for number, _, a, b in wire.fields(start, end, schema.NODE):
        if number == 1:
            wire.spend(160)
            inputs.append(wire.text(a, b))
        elif number == 2:
            wire.spend(160)
            outputs.append(wire.text(a, b))
        elif number in texts:
            texts[number] = wire.text(a, b)
        elif number == 5:
            attributes.append(attribute(wire, a, b, depth + 1))
        elif number == 9:
            scopes = _scopes(wire, a, b) or scopes
        elif number == 10:
            check(wire, "node_configuration", a, b, depth + 1)
    if not texts[4]:
        raise wire.bad("a node without an operator (op_type)", start)
    domain = "" if texts[7] == "ai.onnx" else texts[7]
    return Node(
        texts[4], texts[3], domain, texts[8], tuple(inputs), tuple(outputs), tuple(attributes),
        scopes,
    )  # fmt: skip


def attribute(wire: Wire, start: int, end: int, depth: int) -> Attribute:
    """An AttributeProto; long lists of numbers stay in the file.

    Raises CorruptError for two kinds of value at once, or a kind that its value is not.
    """
    deeper(wire, start, depth)
    wire.spend(300)
    long = end - start > SHORT
    name = reference = ""
    kind = 0
    values: dict[int, list[Any]] = {}
    for number, form, a, b in wire.fields(start, end, schema.ATTRIBUTE, (7, 8) if long else ()):
        if number == 1:
            name = wire.text(a, b)
        elif number == 20:
            kind = a
        elif number == 21:
            reference = wire.text(a, b)
        elif number != 13:
            kept = values.setdefault(_KIND[number], [])
            if form == LEN and number in (7, 8):
                kept += _packed(wire, number, a, b, long)
            else:
                item = _item(wire, _KIND[number], form, a, b, depth)
                kept += [] if item is None else [item]
    if len(values) > 1:
        raise wire.bad(f"attribute {name!r} has values of two kinds", start)
    wire.spend(sum(40 * len(items) for items in values.values()))
    kind = kind or next(iter(values), 0)
    if values and kind not in values:
        raise wire.bad(f"attribute {name!r} has a value of another kind than it says", start)
    if kind in _MUST and kind not in values and not reference:
        raise wire.bad(f"attribute {name!r} lacks its {_MUST[kind]}", start)
    content = _value(wire, kind, values.get(kind, []), name, start, long)
    return Attribute(name, kind, content, reference)


def _item(wire: Wire, kind: int, form: int, a: int, b: int, depth: int) -> Any:
    """One value of an attribute, or a Piece with several."""
    if kind in (g.TENSOR, g.TENSORS):
        return tensor(wire, a, b, depth + 1)
    if kind in (g.GRAPH, g.GRAPHS):
        return graph(wire, a, b, depth + 1)
    if kind in (g.SPARSE_TENSOR, g.SPARSE_TENSORS):
        return sparse_tensor(wire, a, b, depth + 1)
    if kind in (g.TYPE_PROTO, g.TYPE_PROTOS):
        return check(wire, "type", a, b, depth + 1)
    if form >= RUN:
        return Piece(form - RUN, a, b, tagged=True)
    if form == VARINT:
        return signed(a)
    if kind in (g.FLOAT, g.FLOATS):
        return struct.unpack("<f", wire.bytes(a, b))[0]
    return wire.bytes(a, b) if b - a <= SHORT else None  # a string


def _packed(wire: Wire, number: int, a: int, b: int, long: bool) -> list[Any]:
    """A packed list of floats or ints: its numbers, or the Piece where the attribute is long."""
    piece = Piece(FIXED32 if number == 7 else VARINT, a, b)
    if piece.width and piece.nbytes % piece.width:
        raise wire.bad(f"a packed list of floats has {b - a} bytes", a)
    if long:
        return [piece]
    blocks = list(numbers(wire.source, [piece]))
    view = "<f4" if number == 7 else "<i8"
    return [number for block in blocks for number in block.view(view).tolist()]


def _value(wire: Wire, kind: int, items: list[Any], name: str, start: int, long: bool) -> Any:
    if kind in (g.FLOATS, g.INTS) and any(isinstance(item, Piece) for item in items):
        return _long(wire, items, name, start)
    if kind == g.STRINGS and long:
        return None
    if kind in _LISTS:
        return tuple(items)
    if len(items) > 1 and kind in _MUST:
        raise wire.bad(f"attribute {name!r} has two values", start)
    default = {g.FLOAT: 0.0, g.INT: 0, g.STRING: b""}.get(kind)
    return items[-1] if items else default


def _long(wire: Wire, items: list[Any], name: str, start: int) -> LongList:
    if not all(isinstance(item, Piece) for item in items):
        raise wire.bad(f"attribute {name!r} mixes packed and single numbers", start)
    bounds = [piece.bounds() for piece in items]
    exact = all(low == high for low, high in bounds)
    return LongList(tuple(items), sum(low for low, _ in bounds) if exact else -1)


def value(wire: Wire, start: int, end: int, depth: int) -> g.Value:
    """A ValueInfoProto: a graph's input or output."""
    check(wire, "value", start, end, depth)
    wire.spend(400)
    name, dtype = "", 0
    shape: tuple[int | str | None, ...] | None = None
    for number, _, a, b in wire.fields(start, end, schema.VALUE):
        if number == 1:
            name = wire.text(a, b)
        elif number == 2:
            dtype, shape = _tensor_type(wire, a, b)
    return g.Value(name, dtype, shape)


def _tensor_type(
    wire: Wire, start: int, end: int
) -> tuple[int, tuple[int | str | None, ...] | None]:
    dtype: int = 0
    dims: list[int | str | None] | None = None
    for number, _, a, b in wire.fields(start, end, schema.TYPE):
        if number != 1:
            continue
        for field, _, c, d in wire.fields(a, b, schema.TENSOR_TYPE):
            if field == 1:
                dtype = c
                continue
            dims = []
            for _, _, e, f in wire.fields(c, d, schema.SHAPE):
                wire.spend(64)
                dims.append(_dim(wire, e, f))
    return dtype, None if dims is None else tuple(dims)


def _dim(wire: Wire, start: int, end: int) -> int | str | None:
    dim: int | str | None = None
    for number, _, a, b in wire.fields(start, end, schema.DIM):
        if number == 1:
            dim = signed(a)
        elif number == 2:
            dim = wire.text(a, b)
    return dim


def function(wire: Wire, start: int, end: int) -> Function:
    """A FunctionProto."""
    wire.spend(600)
    texts = {1: "", 10: "", 13: ""}
    names: dict[int, list[str]] = {4: [], 5: [], 6: []}
    nodes: list[Node] = []
    defaults: list[Attribute] = []
    opsets: dict[str, int] = {}
    for number, _, a, b in wire.fields(start, end, schema.FUNCTION):
        if number in texts:
            texts[number] = wire.text(a, b)
        elif number in names:
            wire.spend(200)
            names[number].append(wire.text(a, b))
        elif number == 7:
            nodes.append(node(wire, a, b, 2))
        elif number == 9:
            _opset(wire, a, b, opsets)
        elif number == 11:
            defaults.append(attribute(wire, a, b, 2))
        elif number in (12, 14):
            check(wire, "value" if number == 12 else "entry", a, b, 2)
    inputs, outputs = (tuple(g.Value(name) for name in names[n]) for n in (4, 5))
    return Function(
        texts[1],
        texts[10],
        texts[13],
        tuple(names[6]),
        tuple(defaults),
        opsets,
        Graph(texts[1], tuple(nodes), (), (), inputs, outputs),
    )


def _training(wire: Wire, start: int, end: int, training: list[tuple[str, Graph]]) -> None:
    for number, _, a, b in wire.fields(start, end, schema.TRAINING):
        if number in (1, 2):
            name = "initialization" if number == 1 else "algorithm"
            training.append((name, graph(wire, a, b, 2)))
        else:
            check(wire, "entry", a, b, 2)


def _opset(wire: Wire, start: int, end: int, opsets: dict[str, int]) -> None:
    wire.spend(200)
    domain, version = "", 0
    for number, _, a, b in wire.fields(start, end, schema.OPSET):
        if number == 1:
            domain = wire.text(a, b)
        else:
            version = signed(a)
    opsets["" if domain == "ai.onnx" else domain] = version


def _property(wire: Wire, start: int, end: int, properties: dict[str, str]) -> None:
    """A metadata entry of the model; a long value is cut and says so."""
    wire.spend(200 + 2 * min(end - start, NOTE * 4))
    key = content = ""
    for number, _, a, b in wire.fields(start, end, schema.ENTRY):
        if number == 1:
            key = wire.text(a, b)
        else:
            content = _note(wire, a, b, NOTE * 4)
    properties[key] = content


def _note(wire: Wire, start: int, end: int, most: int = NOTE) -> str:
    raw = wire.bytes(start, min(end, start + most))
    return raw.decode("utf-8", "replace") + (" [...]" if end - start > most else "")


def _scopes(wire: Wire, start: int, end: int) -> tuple[str, ...]:
    """The module scopes that the entry tells, if it is the one that does."""
    found: Mapping[int, tuple[int, int]] = {
        number: (a, b) for number, _, a, b in wire.fields(start, end, schema.ENTRY)
    }
    if 1 not in found or 2 not in found or found[1][1] - found[1][0] > 64:
        return ()
    if wire.text(*found[1]) not in _SCOPES or found[2][1] - found[2][0] > SHORT:
        return ()
    return tuple(re.findall(r"'([^']*)'", wire.text(*found[2])))


def _incomplete(wire: Wire, reason: str) -> CorruptError:
    return CorruptError(
        reason,
        path=wire.source.path,
        advice="The file is probably cut short: copy or download it again.",
    )
