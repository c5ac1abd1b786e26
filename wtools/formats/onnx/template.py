"""New data for the initializers of an ONNX model; nothing else of it changes.

A tensor whose bytes lie plainly in the file is replaced in place, wherever in the graph it is.
Initializers of the main graph that are stored otherwise (as varints, as external data) are
written anew. What neither can reach is a problem, said before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ... import dtypes
from ...errors import UsageError
from ...files import Source
from ...outputs import Output
from ...streams import FileWriter
from ...tree import Tensor, WeightTree
from ..drafts import Draft
from ..templates import Match, Patch, match, patches
from .encode import AnyPiece, Copied, Message, put, raw_fields
from .wire import LIMIT, Wire
from .writer import ROOM, DataFile, is_external

_KEPT_FIELDS = (1, 2, 8, 12, 16)  # dims, data_type, name, doc_string, metadata_props
_INTEGERS = frozenset(d.name for d in dtypes.DTYPES.values() if d.kind in ("int", "uint", "bool"))


def draft_like(
    tree: WeightTree,
    name: str,
    like: str,
    external: bool | None,
    problems: Sequence[str],
    companions: str,
) -> Draft:
    """See `writer.draft`."""
    with _open(like) as template:
        found = _match(tree, template, external)
        path = template.path
    embedded = sum(new.nbytes for new, old in found.pairs if not _beside(old, path, external))
    more = list(found.problems)
    if embedded + ROOM > LIMIT:
        more.append("protobuf holds at most 2 GB in a file: use --external-data")
    lost = [f"{n!r} is not given and stays as the template has it" for n in found.kept]
    lost += [f"metadata {key!r}" for key in tree.metadata] if tree.format != "onnx" else []
    return Draft(
        name,
        lambda output: _write(output, tree, like, external),
        stored=found.stored,
        found=found.found,
        partial=True,
        lost=tuple(lost),
        problems=(*problems, *more),
        companions=companions,
    )


def _match(tree: WeightTree, template: WeightTree, wanted: bool | None) -> Match:
    path = template.path
    with Source(path) as source:
        names = Counter(name for name, *_ in _initializers(Wire(source)))
    names.update(name for name in _shared_names(template) if name in names)

    def fixed(old: Tensor) -> str:
        anew = names[old.stored] == 1 and "sparse" not in old.facts
        if _in_place(old, path, wanted) or anew or not old.size:
            return ""
        return "sparse, an attribute or in a subgraph"

    def optional(old: Tensor) -> bool:
        """Shapes and axes, and constants of the graph, which other formats do not have."""
        return old.dtype in _INTEGERS or "held_in" in old.facts

    found = match(tree, template, optional=optional, fixed=fixed)
    stuck = [old.name for old in template.values() if fixed(old)]
    if stuck and "external data" in template.variant:
        problem = (
            f"the template has external data and {stuck[0]!r}, which may lie there but is sparse "
            "or in a subgraph: save it with embedded data first"
        )
        return replace(found, problems=[*found.problems, problem])
    return found


def _open(like: str) -> WeightTree:
    from .. import open

    template = open(like)
    if template.format != "onnx":
        template.close()
        raise UsageError(f"is {template.format}, not an ONNX model", path=like)
    return template


def _is_external(old: Tensor, path: str) -> bool:
    return old.storage is not None and old.storage.file != path


def _beside(old: Tensor, path: str, wanted: bool | None) -> bool:
    """Will what replaces this tensor lie in the external file?"""
    return _is_external(old, path) if wanted is None else is_external(old, wanted)


def _in_place(old: Tensor, path: str, wanted: bool | None) -> bool:
    plain = old.raw is not None and not _is_external(old, path)
    return plain and not _beside(old, path, wanted)


def _shared_names(template: WeightTree) -> list[str]:
    """Stored names that more than one tensor has (in a graph and in a subgraph)."""
    counts = Counter(tensor.stored for tensor in template.values())
    return [name for name, count in counts.items() if count > 1]


def _initializers(wire: Wire) -> list[tuple[str, int, int]]:
    """(name, start, end) of the TensorProtos of the main graph."""
    found = []
    for number, _, graph_start, graph_end in raw_fields(wire, 0, wire.source.size):
        if number != 7:
            continue
        for inner, _, start, end in raw_fields(wire, graph_start, graph_end):
            if inner == 5:
                found.append((_name(wire, start, end), start, end))
    return found


def _name(wire: Wire, start: int, end: int) -> str:
    for number, _, a, b in raw_fields(wire, start, end):
        if number == 8:
            return wire.text(a, b)
    return ""


def _write(output: Output, tree: WeightTree, like: str, wanted: bool | None) -> None:
    with _open(like) as template, Source(template.path) as source:
        pairs = _match(tree, template, wanted).pairs
        path = template.path
        stay = patches([pair for pair in pairs if _in_place(pair[1], path, wanted)])
        anew = {old.stored: (new, old) for new, old in pairs if not _in_place(old, path, wanted)}
        for old in template.values():  # external ones that nothing replaces move as they are
            if _is_external(old, path) and old.stored not in anew:
                anew[old.stored] = (old, old)
        data = DataFile(output.free([f"{output.final.name}.data"])[0])
        pieces = _model(Wire(source), stay, anew, data, path, wanted)
        data.write(output)
        with FileWriter(output.main, output.advance) as file:
            for piece in pieces:
                put(file, piece)


def _model(
    wire: Wire,
    stay: Sequence[Patch],
    anew: dict[str, tuple[Tensor, Tensor]],
    data: DataFile,
    path: str,
    wanted: bool | None,
) -> list[AnyPiece]:
    """The template's fields, initializers that are written anew in their places."""
    source = wire.source
    pieces: list[AnyPiece] = []
    for number, first, start, end in raw_fields(wire, 0, source.size):
        if number != 7 or not anew:
            pieces.append(Copied(source, first, end, stay))
            continue
        graph: list[AnyPiece] = []
        for inner, at, a, b in raw_fields(wire, start, end):
            name = _name(wire, a, b) if inner == 5 else None
            if name is None or name not in anew:
                graph.append(Copied(source, at, b, stay))
                continue
            new, old = anew[name]
            graph.append(_anew(wire, a, b, new, data if _beside(old, path, wanted) else None))
        pieces.append(Message(7, graph))
    return pieces


def _anew(wire: Wire, start: int, end: int, new: Tensor, data: DataFile | None) -> Message:
    """The TensorProto in [start, end) with other data."""
    kept: list[AnyPiece] = [
        Copied(wire.source, first, after)
        for number, first, _, after in raw_fields(wire, start, end)
        if number in _KEPT_FIELDS
    ]
    return Message(5, [*kept, data.fields(new) if data is not None else Message(9, [new])])
