"""A Graph as a PyTorch module: one file for each family of layers, `export` to walk them all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from ... import __version__
from ...tree import Tensor
from ..calls import given, input_dtype, input_shape, made
from ..ir import Graph, Ref
from .call import TABLE, Call
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
            inputs.append(code.new(input_shape(node.layer), input_dtype(node.layer)))
            values[Ref(number)] = inputs[-1]
            continue
        args, kwargs = given(node.args, values), given(dict(node.kwargs), values)
        once = calls[id(node.layer)] == 1
        call = Call(code, node.layer, args, kwargs, graph.version, once)
        for output, one in enumerate(made(call, TABLE)):
            values[Ref(number, output)] = one
    code.scope = "output"
    results = [code.last(given(ref, values)) for _, ref in graph.outputs]
    source = _source(graph, code, inputs, results)
    return Exported(source, code.weights, code.origins, code.changes)


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
