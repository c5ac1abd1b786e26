"""Write ONNX: weights alone, or into a copy of a model, embedded or as external data.

Without a template the file is a valid model whose graph has initializers, which are its outputs,
and no nodes; it says so in its documentation, and running it gives the weights. With one, the
template's initializers get new data and all else stays as it is, byte for byte. Messages as in
onnx/onnx.proto.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ... import __version__, dtypes
from ...outputs import Output, part_pattern
from ...streams import FileWriter
from ...tree import Tensor, WeightTree, tie_key
from .. import carried
from ..drafts import Draft, aliases, unsupported
from .encode import AnyPiece, Message, entry, integer, put, text
from .wire import LIMIT

HOLDS = frozenset(d.name for d in dtypes.BY_ONNX.values())
OPTIONS = frozenset({"external_data"})
KEEPS = {
    "ties": "written once, the other names in the metadata; as external data, both names",
    "metadata": "as text",
    "layers": "in the metadata",
}
SMALL = 1024  # bytes below which a tensor stays in the model, as onnx.save has it
ROOM = 64 << 20  # bytes of a message kept free for names and the graph
_DOC = "Weights only, written by wtools: initializers, each of them an output, and no nodes."
_PIECE = 12_000  # characters of one property
_PAGE = 4096  # alignment of larger external tensors, for mmap
# dtype -> (IR version, opset) that has it; the others need no more than 10 and 21
_VERSIONS = {
    "float4_e2m1fn": (11, 23),
    "float8_e8m0fnu": (12, 24),
    "int2": (13, 25),
    "uint2": (13, 25),
    "float6_e2m3fn": (14, 28),
    "float6_e3m2fn": (14, 28),
}


def draft(
    tree: WeightTree, name: str, *, like: str | None = None, external_data: bool | None = None
) -> Draft:
    """`tree` as the model `name`, with or without `name.data` beside it.

    like: a model whose initializers have these names, shapes and dtypes. external_data: tensors
    beside the model (True), in it (False), or beside it where they have no room in it or, with a
    template, where the template has them so.
    """
    problems = unsupported(tree, "onnx", HOLDS)
    problems += [f"{n!r} is not UTF-8: --rename it" for n in tree if not _is_text(n)]
    beside = part_pattern(rf"{re.escape(name)}\.data")
    if like is not None:
        from .template import draft_like

        return draft_like(tree, name, like, external_data, problems, beside)
    total = sum(t.nbytes for t in tree.distinct()) + ROOM
    external = total > LIMIT if external_data is None else external_data
    if total > LIMIT and not external:
        problems.append("protobuf holds at most 2 GB in a file: leave --no-external-data out")
    tied = aliases(tree)
    dropped = {a: k for a, k in tied.items() if not (external and tree[k].nbytes >= SMALL)}
    return Draft(
        name,
        lambda output: _write(output, tree, dropped, external),
        aliases=dropped,
        problems=tuple(problems),
        companions=beside,
    )


@dataclass
class DataFile:
    """The file of external data: what lies where in it. Tied tensors lie in it once."""

    name: str
    tensors: list[tuple[int, Tensor]] = field(default_factory=list)
    end: int = 0
    _places: dict[object, int] = field(default_factory=dict)

    def place(self, tensor: Tensor) -> int:
        """The offset of the tensor's bytes."""
        key = tie_key(tensor)
        if key not in self._places:
            align = _PAGE if tensor.nbytes >= _PAGE else 64
            offset = self.end + -self.end % align
            self._places[key] = offset
            self.tensors.append((offset, tensor))
            self.end = offset + tensor.nbytes
        return self._places[key]

    def fields(self, tensor: Tensor) -> bytes:
        """The fields of a TensorProto that say where its data are."""
        offset = self.place(tensor)
        return (
            entry(13, "location", self.name)
            + entry(13, "offset", str(offset))
            + entry(13, "length", str(tensor.nbytes))
            + integer(14, 1)
        )

    def write(self, output: Output) -> None:
        if not self.tensors:
            return
        with FileWriter(output.part(self.name), output.advance) as file:
            for offset, tensor in self.tensors:
                file.position = offset  # what lies between is a hole
                file.tensor(tensor)


def is_external(tensor: Tensor, wanted: bool) -> bool:
    return wanted and tensor.nbytes >= SMALL


def initializer(tensor: Tensor, data: DataFile | None) -> Message:
    """A TensorProto, its data within or in the external file."""
    head = b"".join(integer(1, n) for n in tensor.shape)
    head += integer(2, dtypes.get(tensor.dtype).onnx or 0) + text(8, tensor.name)
    if data is not None:
        return Message(5, [head, data.fields(tensor)])
    return Message(5, [head, Message(9, [tensor])])


def _output(tensor: Tensor) -> Message:
    """The ValueInfoProto of a tensor that is an output of the graph."""
    shape = Message(2, [Message(1, [integer(1, n)]) for n in tensor.shape])
    kind: list[AnyPiece] = [integer(1, dtypes.get(tensor.dtype).onnx or 0), shape]
    return Message(12, [text(1, tensor.name), Message(2, [Message(1, kind)])])


def _write(output: Output, tree: WeightTree, dropped: Mapping[str, str], external: bool) -> None:
    data = DataFile(output.free([f"{output.final.name}.data"])[0])
    tensors = [t for t in tree.values() if t.name not in dropped]
    graph: list[AnyPiece] = [text(2, "weights")]
    graph += [initializer(t, data if is_external(t, external) else None) for t in tensors]
    graph += map(_output, tensors)
    data.write(output)
    with FileWriter(output.main, output.advance) as file:
        for piece in _model(tree, tensors, dropped, graph):
            put(file, piece)


def _model(
    tree: WeightTree,
    tensors: Sequence[Tensor],
    dropped: Mapping[str, str],
    graph: Sequence[AnyPiece],
) -> list[AnyPiece]:
    versions = [_VERSIONS.get(t.dtype, (10, 21)) for t in tensors]
    ir, opset = max(versions, default=(10, 21))
    known = dict(tree.metadata)
    if tree.format == "onnx":  # the old model's own notes, without those on its graph
        properties = known.get("metadata_props", {})
        known = dict(properties) if isinstance(properties, Mapping) else {}
    texts = carried.metadata(
        tree.replace(tree.values(), metadata=known), separator="", aliases=dropped, write=True
    )
    head = integer(1, ir) + text(2, "wtools") + text(3, __version__) + text(6, _DOC)
    opsets = Message(8, [text(1, "") + integer(2, opset)])
    notes = {key: value for key, value in texts.items() if key != carried.KEY}
    notes |= pieces(json.dumps(texts))
    properties = b"".join(entry(14, key, value) for key, value in notes.items())
    return [head, Message(7, graph), opsets, properties]


def pieces(text: str) -> dict[str, str]:
    """An ASCII text as properties "wtools", "wtools1", ... of a size that any reader keeps."""
    starts = range(0, len(text), _PIECE)
    return {f"{carried.KEY}{i or ''}": text[at : at + _PIECE] for i, at in enumerate(starts)}


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return bool(name)
