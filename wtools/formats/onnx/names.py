"""What a person calls a weight, where the exporter only numbered it.

`onnx::MatMul_123` feeds the node `/encoder/layer.0/attention/self/query/MatMul`, so it is
`encoder/layer.0/attention/self/query/MatMul.weight`. Names that say something stay as they are.
"""

from __future__ import annotations

import re

from .collect import Weight
from .graph import Node
from .operators import input_name, role
from .scopes import Feed, tidy

_NUMBERED = re.compile(
    r"""
    \d+                                     # PyTorch before 1.13
    | onnx::\w+_\d+                         # torch.onnx, TorchScript
    | _?val?_\d+(_\d+)?                     # torch.onnx, dynamo
    | (const|Const|const_fold_opt|const_scalar)__\d+    # tf2onnx
    | (.*/)?Constant(_\d+)?(_output_\d+)?   # an anonymous Constant node
    | (tensor|initializer|constant|const|arg|param|variable)_?\d+
    """,
    re.VERBOSE,
)
_PART = re.compile(r"(?P<base>.+?)_(q|quantized|scale|zero_point)")


def name_of(weight: Weight, feeds: list[Feed]) -> str:
    """The weight's name, not yet made unique."""
    if weight.origin == "attribute" or not numbered(weight.label):
        return weight.scope.prefix + weight.label
    if weight.part is not None:
        return ""  # named after the weight that it belongs to
    if not feeds:
        return weight.scope.prefix + weight.label
    feed = feeds[0]
    return f"{feed.prefix}{place(feed)}.{role(feed.use.node.op_type, feed.use.index)}"


def numbered(name: str) -> bool:
    """Is this a name that an exporter made up by counting?"""
    match = _PART.fullmatch(name)
    return bool(_NUMBERED.fullmatch(match["base"] if match else name))


def place(feed: Feed) -> str:
    """The using node with its module path: `encoder/layer.0/query/MatMul`, else `MatMul_12`."""
    node = feed.use.node
    modules = _modules(node)
    if modules:
        return f"{modules}/{node.op_type}"
    return tidy(feed.use.label.split(";")[0]).removeprefix("node_") or node.op_type


def layer_of(weight: Weight, feeds: list[Feed], separator: str) -> str:
    """The layer: what a dotted name says (`encoder.0` of `encoder.0.weight`), else the module
    around the node that the weight feeds, its parts joined as in dotted names where the tree has
    these; else that node.
    """
    head, _, leaf = weight.label.rpartition(".")
    if head and leaf.isidentifier() and not set("/;: ") & set(head) and not numbered(weight.label):
        return weight.scope.prefix + head
    if not feeds:
        return ""
    node = place(feeds[0])
    path = (_modules(feeds[0].use.node) or node.rpartition("/")[0]).replace("/", separator)
    return feeds[0].prefix + (path or node)


def facts_of(feeds: list[Feed]) -> dict[str, object]:
    """feeds: (node, operator, the operator's name of the input); via: what lies between."""
    if not feeds:
        return {}
    uses = [
        (f.use.label, f.use.node.op_type, input_name(f.use.node.op_type, f.use.index))
        for f in feeds
    ]
    via = feeds[0].via
    return {"feeds": uses, "via": list(via)} if via else {"feeds": uses}


def unique(name: str, taken: set[str]) -> str:
    """`name`, or with `#2`, `#3`, ... the first that is not taken; takes it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    taken.add(free)
    return free


def _modules(node: Node) -> str:
    """The scopes that torch.onnx recorded, each a dotted path that contains the one before;
    the last is the operation itself.
    """
    parts: list[str] = []
    before = ""
    for scope in node.scopes[:-1]:
        inside = scope.removeprefix(before + ".") if before else scope
        if inside:
            parts.append(inside)
        before = scope
    return "/".join(parts)
