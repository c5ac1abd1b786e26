"""A Graph as a PyTorch module: one file for each family of layers, `export` to walk them all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from ... import __version__
from ...errors import CorruptError, UnsupportedError, printable
from ...tree import Tensor
from ..ir import Graph, Layer, Node, Ref
from ..onnx_export import is_operation
from .call import LAYERS, MASKING, OPERATIONS, Call
from .code import Code, Value
from .names import LONGEST
from .parts import PARTS, sources

FAMILIES = (
    "activations",
    "attention",
    "convolutions",
    "dense",
    "merging",
    "normalization",
    "operations",
    "pooling",
    "recurrent",
    "shapes",
)
CLASS = "Model"
_INDENT = " " * 8


@dataclass(frozen=True)
class Exported:
    """A module. source: its file. weights: its state dict, not yet read; origins and changes: the
    name of the tensor that each is made of, and what was done to it."""

    source: str
    weights: Mapping[str, Tensor]
    origins: Mapping[str, str]
    changes: Mapping[str, str]


def families() -> None:
    """Import the modules of all families, which register themselves."""
    for name in FAMILIES:
        import_module(f".{name}", __name__)


def export(graph: Graph) -> Exported:
    """The graph as the source of a module, from headers alone but for arrays in its config.

    Raises UnsupportedError for a layer, or an option of one, that is not known; the layer and its
    config are named.
    """
    families()
    code = Code()
    values: dict[Ref, Value] = {}
    inputs = []
    calls: dict[int, int] = {}
    for node in graph.nodes:
        calls[id(node.layer)] = calls.get(id(node.layer), 0) + 1
    for number, node in enumerate(graph.nodes):
        code.scope = node.layer.path or node.layer.kind
        if node.layer.kind == "InputLayer":
            inputs.append(_input(node.layer, code))
            values[Ref(number)] = inputs[-1]
            continue
        made = _called(code, node, values, graph.version, once=calls[id(node.layer)] == 1)
        for output, one in enumerate(made):
            values[Ref(number, output)] = one
    code.scope = "output"
    results = [code.last(_given(ref, values)) for _, ref in graph.outputs]
    source = _source(graph, code, inputs, results)
    return Exported(source, code.weights, code.origins, code.changes)


def _input(layer: Layer, code: Code) -> Value:
    shape = layer.config.get("batch_shape")
    if not isinstance(shape, (list, tuple)) or not all(n is None or type(n) is int for n in shape):
        raise UnsupportedError(f"the shape of input {layer.path!r} is not known: {shape!r}")
    dtype = str(layer.config.get("dtype"))
    if dtype.startswith(("float", "mixed", "bfloat")):
        dtype = "float32"
    return code.new(tuple(shape), dtype)


def _called(
    code: Code, node: Node, values: Mapping[Ref, Value], version: int, *, once: bool
) -> tuple[Value, ...]:
    layer = node.layer
    args, kwargs = _given(node.args, values), _given(dict(node.kwargs), values)
    call = Call(code, layer, args, kwargs, version, once)
    function = (OPERATIONS if is_operation(layer) else LAYERS).get(layer.kind)
    if function is None:
        raise UnsupportedError(
            f"{layer.kind} is not a layer that wtools can write as a PyTorch module: "
            f"{_shown(layer.config)}",
            place=f"layer {layer.path!r}",
            advice="Without --module the weights alone are converted.",
        )
    try:
        made = function(call)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CorruptError(
            f"{layer.kind} cannot be what its config and weights say ({error}): "
            f"{_shown(layer.config)}",
            place=f"layer {layer.path!r}",
        ) from error
    except UnsupportedError as error:
        error.reason += f": {_shown(layer.config)}"
        raise
    unseen = [value for value in _tensors([args, kwargs]) if value.id not in call.seen]
    if unseen:
        raise call.unsupported(f"a further tensor of shape {unseen[0].shape}")
    if not isinstance(made, Value):
        return made
    return (replace(made, mask=_mask(args)),) if layer.kind in MASKING else (made,)


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
    return next((value.mask for value in _tensors(args)), None)


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


def _source(graph: Graph, code: Code, inputs: list[Value], results: list[Value]) -> str:
    helpers = sources(code.parts)
    body = code.body(inputs, results, {*PARTS, CLASS})
    shapes = ", ".join(f"({tuple(v.shape)!r}, {v.dtype!r})" for v in inputs)
    shapes += "," if len(inputs) == 1 else ""
    head = ["from collections import OrderedDict", ""] if "separable" in code.parts else []
    lines = [
        f'"""The model {_plain(graph.name)}, written by wtools {__version__} from its config.',
        "",
        "Inputs and outputs are laid out as in Keras: images have their channels last.",
        "",
        f"    model = {CLASS}()",
        '    model.load_state_dict(torch.load("model.pt", weights_only=True))',
        "    model.eval()",
        '"""',
        "",
        *head,
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
        *(line for text in helpers for line in ("", "", *text.split("\n"))),
        "",
        "",
        f"class {CLASS}(nn.Module):",
        f"    INPUTS = ({shapes})  # (shape, dtype) of each",
        "",
        "    def __init__(self):",
        "        super().__init__()",
        *_modules(code),
        "",
        *("    " + line for line in body),
        "",
    ]
    return "\n".join(lines)


def _plain(name: str) -> str:
    """`name` for a docstring: nothing in it can end one."""
    return re.sub(r"[^0-9A-Za-z_. -]+", "_", name)[:LONGEST]


def _modules(code: Code) -> Iterator[str]:
    """The submodules, containers before what is in them."""
    known = {".".join(parts) for parts in code.attributes.containers}
    done: set[str] = set()
    for name, constructor in code.modules.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            container = ".".join(parts[:depth])
            if container in known and container not in done:
                done.add(container)
                yield f"{_INDENT}self.{container} = nn.Module()"
        yield f"{_INDENT}self.{name} = {constructor}"
