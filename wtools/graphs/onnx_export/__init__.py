"""A Graph as an ONNX model: one module for each family of layers, `export` to walk them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from ...errors import UnsupportedError
from ...tree import Tensor
from ..calls import given, input_dtype, input_shape, made
from ..ir import Graph, Layer, Node, Ref
from ..values import Shape
from .builder import Builder, Operation, Value
from .call import TABLE, Call

FAMILIES = (
    "activations",
    "attention",
    "convolutions",
    "dense",
    "embedding",
    "merging",
    "normalization",
    "operations",
    "pooling",
    "recurrent",
    "shapes",
    "tensor_operations",
    "tensorflow_operations",
    "wrappers",
)


_INPUTS = frozenset({"float32", "int8", "uint8", "int16", "int32", "int64", "bool"})


@dataclass(frozen=True)
class Port:
    """An input or an output of the model."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Exported:
    """An ONNX graph. weights: its initializers, not yet read; origins and changes: the name of
    the tensor that each is made of, and what was done to it."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    weights: Mapping[str, Tensor]
    origins: Mapping[str, str]
    changes: Mapping[str, str]
    notes: tuple[str, ...]


def families() -> None:
    """Import the modules of all families, which register themselves."""
    for name in FAMILIES:
        import_module(f".{name}", __name__)


def export(graph: Graph) -> Exported:
    """The graph in ONNX's operators, from headers alone but for a few small weights.

    Raises UnsupportedError for a layer, or an option of one, that has no equal there; the layer
    and its config are named.
    """
    families()
    builder = Builder()
    values: dict[Ref, Value] = {}
    inputs = []
    for number, node in enumerate(graph.nodes):
        builder.scope = node.layer.path or node.layer.kind
        if node.layer.kind == "InputLayer":
            value = _input(node.layer, builder)
            inputs.append(Port(value.name, value.shape, value.dtype))
            values[Ref(number)] = value
            continue
        results = _called(builder, node, values, graph.version)
        for output, one in enumerate(results):
            values[Ref(number, output)] = one
    return _finished(graph, builder, values, inputs)


def _input(layer: Layer, builder: Builder) -> Value:
    shape, dtype = input_shape(layer), input_dtype(layer)
    if dtype not in _INPUTS:
        raise UnsupportedError(f"input {layer.path!r} is of dtype {dtype}")
    return Value(builder.name(layer.path or "input"), shape, dtype)


def _called(
    builder: Builder, node: Node, values: Mapping[Ref, Value], version: int
) -> tuple[Value, ...]:
    layer = node.layer
    args, kwargs = _masked(given(node.args, values), given(dict(node.kwargs), values))
    call = Call(builder, layer, args, kwargs, version)
    if kwargs.get("training") is True and acts_in_training(layer):
        raise call.unsupported("training=True")
    return made(call, TABLE)


def _masked(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A mask that a layer is called with, put on the tensor that it is the mask of."""
    mask, x = kwargs.get("mask"), args[0] if args else None
    if isinstance(mask, Value) and isinstance(x, Value) and mask.rank == 2 and x.rank > 2:
        left = {key: value for key, value in kwargs.items() if key != "mask"}
        return (replace(x, mask=mask), *args[1:]), left
    return args, kwargs


def acts_in_training(layer: Layer) -> bool:
    """Is it a layer that does something else when it is called with training=True?"""
    kinds = ("Dropout", "Spatial", "Gaussian", "Alpha", "Random", "BatchNorm", "SyncBatch")
    return layer.kind.startswith(kinds) or bool(layer.config.get("dropout"))


def _finished(
    graph: Graph, builder: Builder, values: Mapping[Ref, Value], inputs: list[Port]
) -> Exported:
    """The graph with its outputs, laid out as Keras does, under the names of their layers."""
    builder.scope = "output"
    renamed: dict[str, str] = {}
    taken = {port.name for port in inputs} | set(builder.weights)
    outputs = []
    for wanted, ref in graph.outputs:
        value = builder.last(values[ref])
        fixed = value.name in taken or value.name in renamed
        name = builder.name(wanted)
        if fixed:
            builder.operations.append(Operation("Identity", name, (value.name,), (name,)))
        else:
            renamed[value.name] = name
        outputs.append(Port(name, value.shape, value.dtype))
    operations = [_renamed(operation, renamed) for operation in builder.operations]
    return Exported(
        graph.name,
        tuple(inputs),
        tuple(outputs),
        tuple(_used(operations, outputs)),
        builder.weights,
        builder.origins,
        builder.changes,
        tuple(builder.notes),
    )


def _renamed(operation: Operation, names: Mapping[str, str]) -> Operation:
    return replace(
        operation,
        inputs=tuple(names.get(name, name) for name in operation.inputs),
        outputs=tuple(names.get(name, name) for name in operation.outputs),
    )


def _used(operations: list[Operation], outputs: list[Port]) -> list[Operation]:
    """The operations that an output needs."""
    wanted = {port.name for port in outputs}
    kept = []
    for operation in reversed(operations):
        if wanted.intersection(operation.outputs):
            wanted.update(operation.inputs)
            kept.append(operation)
    return kept[::-1]
