"""An exported graph as a file: planned from headers, its weights written one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .. import __version__
from ..errors import CorruptError, UnsupportedError
from ..estimators.described import of_tree
from ..formats.drafts import Draft
from ..formats.onnx import nodes
from ..formats.onnx.encode import AnyPiece, Message, entry, integer, put, text
from ..formats.onnx.wire import LIMIT
from ..formats.onnx.writer import ROOM, DataFile, initializer, is_external
from ..outputs import Output, part_pattern
from ..streams import FileWriter
from ..tree import WeightTree
from .ir import Layer
from .keras_config import graph
from .onnx_export import Exported, Port, export
from .sklearn_export.onnx import export as sklearn_export
from .values import left_out

IR, OPSET = 9, 20  # of onnx 1.15 (2023); Gelu is the youngest operator


@dataclass(frozen=True)
class Runnable:
    """A complete ONNX model, not yet written.

    tree: its initializers. origins, changes: initializer -> the source's tensor, what was done.
    notes: what the model leaves out.
    """

    tree: WeightTree
    exported: Exported
    origins: Mapping[str, str]
    changes: Mapping[str, str]
    notes: tuple[str, ...]

    def draft(
        self,
        name: str,
        *,
        external_data: bool | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Draft:
        """The file `name`; its larger tensors beside it in `name.data` where there is no room."""
        total = sum(t.nbytes for t in self.tree.values()) + ROOM
        external = total > LIMIT if external_data is None else external_data
        problems = []
        if total > LIMIT and not external:
            problems.append("protobuf holds at most 2 GB in a file: leave --no-external-data out")
        return Draft(
            name,
            lambda output: _write(output, self.exported, self.tree, external, metadata or {}),
            lost=self.notes,
            problems=tuple(problems),
            companions=part_pattern(rf"{re.escape(name)}\.data"),
        )


def to_onnx(tree: WeightTree) -> Runnable:
    """The whole model of a Keras file in ONNX: images stay channels-last at its ends. Of an
    estimator of scikit-learn, its scalers, its product and its labels.

    Raises UnsupportedError for what cannot be exported, the layer and its config named; then
    nothing was written. CorruptError where the file contradicts itself.
    """
    layers: list[Layer] = []
    try:
        estimator = of_tree(tree)
        if estimator is None:
            model = graph(tree)
            layers = [node.layer for node in model.nodes]
            exported = export(model)
        else:
            exported = sklearn_export(estimator)
    except (CorruptError, UnsupportedError) as error:
        error.path = error.path or tree.path or None
        raise
    weights = list(exported.weights.values())
    made = tree.replace(weights, apart={})
    notes = (*exported.notes, *left_out(tree, exported.origins.values(), "graph", layers))
    return Runnable(made, exported, exported.origins, exported.changes, notes)


def _write(
    output: Output,
    exported: Exported,
    tree: WeightTree,
    external: bool,
    metadata: Mapping[str, str],
) -> None:
    data = DataFile(output.free([f"{output.final.name}.data"])[0])
    pieces: list[AnyPiece] = [
        nodes.node(o.op, o.name, o.inputs, o.outputs, o.attributes) for o in exported.operations
    ]
    pieces.append(text(2, exported.name))
    pieces += [initializer(t, data if is_external(t, external) else None) for t in tree.values()]
    pieces += [_port(11, port) for port in exported.inputs]
    pieces += [_port(12, port) for port in exported.outputs]
    data.write(output)
    head = integer(1, IR) + text(2, "wtools") + text(3, __version__)
    opsets = Message(8, [text(1, "") + integer(2, OPSET)])
    with FileWriter(output.main, output.advance) as file:
        for piece in (head, Message(7, pieces), opsets, _properties(tree, metadata)):
            put(file, piece)


def _port(field: int, port: Port) -> Message:
    """The batch, and every other size that is not known, under a name of its own."""
    shape: list[int | str] = []
    for axis, size in enumerate(port.shape):
        unknown = "batch" if axis == 0 else f"{port.name}_{axis}"
        shape.append(unknown if size is None else size)
    return nodes.port(field, port.name, port.dtype, shape)


def _properties(tree: WeightTree, metadata: Mapping[str, str]) -> bytes:
    """Which Keras or scikit-learn wrote the model, and what was given."""
    known = tree.architecture if isinstance(tree.architecture, Mapping) else {}
    notes = {"source": "keras", "keras_version": known.get("version"), **metadata}
    if "sklearn" in known:
        notes = {"source": "scikit-learn", **tree.metadata, **metadata}
    return b"".join(
        entry(14, key, value if isinstance(value, str) else json.dumps(value))
        for key, value in notes.items()
        if value
    )
