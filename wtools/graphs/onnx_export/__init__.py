"""A Graph as an ONNX model: one module for each family of layers, `export` to walk them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from ...errors import CorruptError, UnsupportedError, printable
from ...tree import Tensor
from ..ir import Graph, Layer, Node, Ref
from .builder import Builder, Operation, Shape, Value
from .call import LAYERS, MASKING, OPERATIONS, Call

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


# What options raise that cannot be meant: a size of text, an axis that is not there, ...
_MEANINGLESS = (
    *(KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError),
    RecursionError,
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
        made = _called(builder, node, values, graph.version)
        for output, one in enumerate(made):
            values[Ref(number, output)] = one
    return _finished(graph, builder, values, inputs)


def _input(layer: Layer, builder: Builder) -> Value:
    shape = layer.config.get("batch_shape")
    if not isinstance(shape, (list, tuple)) or not all(n is None or type(n) is int for n in shape):
        raise UnsupportedError(f"the shape of input {layer.path!r} is not known: {shape!r}")
    dtype = str(layer.config.get("dtype"))
    if dtype.startswith(("float", "mixed", "bfloat")):
        dtype = "float32"
    if dtype not in _INPUTS:
        raise UnsupportedError(f"input {layer.path!r} is of dtype {dtype}")
    return Value(builder.name(layer.path or "input"), tuple(shape), dtype)


def _called(
    builder: Builder, node: Node, values: Mapping[Ref, Value], version: int
) -> tuple[Value, ...]:
    layer = node.layer
    args, kwargs = _given(node.args, values), _given(dict(node.kwargs), values)
    args, kwargs = _masked(args, kwargs)
    call = Call(builder, layer, args, kwargs, version)
    if kwargs.get("training") is True and acts_in_training(layer):
        raise call.unsupported("training=True")
    table = OPERATIONS if is_operation(layer) else LAYERS
    function = table.get(layer.kind)
    if function is None:
        raise UnsupportedError(
            f"{layer.kind} is not a layer that wtools can export: {_shown(layer.config)}",
            place=f"layer {layer.path!r}",
            advice="--weights-only writes the tensors without a graph.",
        )
    try:
        made = function(call)
    except _MEANINGLESS as error:
        raise CorruptError(
            f"{layer.kind} cannot be what its config and weights say ({error}): "
            f"{_shown(layer.config)}",
            place=f"layer {layer.path!r}",
        ) from error
    except UnsupportedError as error:
        error.reason += f": {_shown(layer.config)}"
        raise
    unseen = [value for value in _tensors([args, kwargs]) if value.name not in call.seen]
    if unseen:
        raise call.unsupported(f"the further argument {unseen[0].name!r}")
    results = (made,) if isinstance(made, Value) else made
    if layer.kind in MASKING and isinstance(made, Value):
        return (replace(made, mask=_mask(args)),)
    return results


def _masked(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A mask that a layer is called with, put on the tensor that it is the mask of."""
    mask, x = kwargs.get("mask"), args[0] if args else None
    if isinstance(mask, Value) and isinstance(x, Value) and mask.rank == 2 and x.rank > 2:
        left = {key: value for key, value in kwargs.items() if key != "mask"}
        return (replace(x, mask=mask), *args[1:]), left
    return args, kwargs


def is_operation(layer: Layer) -> bool:
    """Is it an operation of keras.ops? Where `.h5` leaves the module out: it has no options
    that every layer has (but for SpatialDropout, which hides them)."""
    if layer.module:
        return ".ops" in layer.module or ".activations" in layer.module
    hidden = layer.kind.startswith("SpatialDropout") or "batch_input_shape" in layer.config
    return "trainable" not in layer.config and not hidden


def acts_in_training(layer: Layer) -> bool:
    """Is it a layer that does something else when it is called with training=True?"""
    kinds = ("Dropout", "Spatial", "Gaussian", "Alpha", "Random", "BatchNorm", "SyncBatch")
    return layer.kind.startswith(kinds) or bool(layer.config.get("dropout"))


def _tensors(value: Any) -> Iterator[Value]:
    if isinstance(value, Value):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)


def _mask(args: Any) -> Value | None:
    first = args[0] if isinstance(args, (list, tuple)) and args else args
    if isinstance(first, (list, tuple)):
        return _mask(first)
    return first.mask if isinstance(first, Value) else None


def _given(value: Any, values: Mapping[Ref, Value]) -> Any:
    """A nested argument with Values in place of Refs."""
    if isinstance(value, Ref):
        if value not in values:
            raise CorruptError(f"output {value.output} of a layer that has fewer is used")
        return values[value]
    if isinstance(value, Mapping):
        return {key: _given(inner, values) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_given(inner, values) for inner in value)
    return value


def _shown(config: Mapping[str, Any]) -> str:
    """The options of a layer that have to do with what it computes."""
    hidden = ("initializer", "regularizer", "constraint", "name", "trainable", "quantization")
    shown = {
        key: value
        for key, value in config.items()
        if not any(word in key for word in hidden) and value is not None
    }
    text = printable(shown)
    return text if len(text) < 600 else text[:600] + "..."


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
