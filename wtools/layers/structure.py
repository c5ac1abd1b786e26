"""Blocks: the layers of a model as a tree, what repeats in it, where it begins and ends.

>>> root = blocks(layer_map(tree))
>>> [(unit.kind, unit.path) for unit in root.units()]   # from the input to the output
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .mapping import LayerMap
from .words import word_set, words

_ALIKE = 0.7  # share of layers that two elements of a list have in common to be alike
_DEEPEST = 32  # parts of a name that are looked at one by one
_HEAD = word_set(
    "head heads classifier fc lm logits output outputs predictions pooler score cls top final "
    "last proj ln norm aux"
)
_STEM = word_set("stem embed embedding embeddings emb wte wpe tok token patch pos position first")


@dataclass(frozen=True)
class Block:
    """A part of a model: its layers in the model's order, and the parts that it is made of.

    kind: "model", "encoder", "decoder", "stage", "encoder_layer", "decoder_layer",
        "transformer_layer", "block", "attention", "stem", "head", "body" (what lies between,
        where nothing repeats), or "part".
    path: what the names in it begin with; "" for the model, and for stem, body and head.
    family: the repetition that it is an element of, `encoder.layer.{0..11}`, else "".
    """

    kind: str
    path: str
    layers: tuple[str, ...]
    children: tuple[Block, ...] = ()
    family: str = ""

    def walk(self) -> Iterator[Block]:
        """This block and all below it, outer ones first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def units(self) -> list[Block]:
        """The model cut into pieces from input to output: stem, each block or layer, head.

        Each layer is in exactly one of them: what freezes or learns at one rate.
        """
        if self.kind in UNITS or not any(below.kind in UNITS for below in self.walk()):
            return [self]
        inside = {layer for child in self.children for layer in child.layers}
        place = {layer: i for i, layer in enumerate(self.layers)}
        between = tuple(layer for layer in self.layers if layer not in inside)
        found = [unit for child in self.children for unit in child.units()]
        if between:
            found.append(Block("part", self.path, between))
        ends = {"stem": -1, "head": len(place)}
        return sorted(found, key=lambda unit: ends.get(unit.kind, place[unit.layers[0]]))


UNITS = frozenset({"stem", "head", "block", "encoder_layer", "decoder_layer", "transformer_layer"})


@dataclass
class _Node:
    name: str
    path: str
    layer: str | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)  # all at or below, in order
    sizes: int = 0  # equal for nodes of equal names, roles and shapes
    kind: str = ""
    family: str = ""
    holds_blocks: bool = False


def blocks(found: LayerMap) -> Block:
    """The tree of blocks of a model."""
    root = _Node("", "")
    for path in found.layers():
        _insert(root, path, _parts(path, found))
    _sign(root, _signatures(found))
    _find(root, found)
    return _frame(_block(root, found), found)


def _parts(path: str, found: LayerMap) -> list[str]:
    """The parts of a path; those of a flat name (`conv2_block1_1_conv`) are cut at numbers."""
    parts = path.split(found.tree_separator, _DEEPEST) if path else []
    if found.flat:
        parts = [piece for part in parts for piece in re.split(r"(?<=\d)_|(?<=\d[a-z])_", part)]
    return parts[:_DEEPEST]


def _insert(root: _Node, path: str, parts: list[str]) -> None:
    node = root
    node.layers.append(path)
    begin = 0
    for part in parts:
        at = path.find(part, begin)
        begin = at + len(part)
        node = node.children.setdefault(part, _Node(part, path[:begin]))
        node.layers.append(path)
    node.layer = path


def _signatures(found: LayerMap) -> dict[str, str]:
    """Layer -> its kind, roles and shapes as text."""
    return {
        path: ",".join(sorted(f"{r.meaning.kind}:{r.meaning.role}{r.tensor.shape}" for r in roles))
        for path, roles in found.layers().items()
    }


def _sign(node: _Node, signatures: dict[str, str]) -> None:
    """What is at and below each node, as a number: equal for nodes of equal roles and sizes."""
    for child in node.children.values():
        _sign(child, signatures)
    own = signatures[node.layer] if node.layer is not None else ""
    node.sizes = hash((own, tuple((name, c.sizes) for name, c in node.children.items())))


def _find(node: _Node, found: LayerMap) -> None:
    """Mark blocks, stages and families from the leaves up."""
    for child in node.children.values():
        _find(child, found)
    lists: dict[str, list[_Node]] = {}
    for child in node.children.values():
        if re.search(r"\d", child.name):
            lists.setdefault(pattern_of(child.name), []).append(child)
    for pattern, members in lists.items():
        _mark_list(node, pattern, members, found)
    below = node.children.values()
    node.holds_blocks = any(child.kind in UNITS or child.holds_blocks for child in below)


def _mark_list(parent: _Node, pattern: str, members: list[_Node], found: LayerMap) -> None:
    """Which elements of a list are blocks, and which are alike."""
    if len(members) < 2:
        return
    if sum(member.holds_blocks for member in members) >= 2:
        for member in members:
            member.kind = "stage" if member.holds_blocks else member.kind
        return
    inside = [_inside(member, found) for member in members]
    alike = [
        i
        for i, own in enumerate(inside)
        if sum(layer in found.kernels for layer in members[i].layers) > 1
        and any(
            _overlap(own, near) >= _ALIKE
            for near in (*inside[max(0, i - 1) : i], *inside[i + 1 : i + 2])
        )
    ]
    if not alike:
        return
    first, last = alike[0], alike[-1]
    while first > 0 and len(members[first - 1].layers) > 2:
        first -= 1
    while last < len(members) - 1 and len(members[last + 1].layers) > 2:
        last += 1
    for member in members[first : last + 1]:
        member.kind = _kind_of_block(member, found)
    _name_families(parent, pattern, members[first : last + 1])


def _inside(node: _Node, found: LayerMap) -> frozenset[str]:
    """What an element of a list is made of: its layers' names and kinds."""
    begin = len(node.path)
    return frozenset(f"{layer[begin:]} {found.kinds[layer]}" for layer in node.layers)


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _name_families(parent: _Node, pattern: str, members: list[_Node]) -> None:
    """Runs of elements with equal roles and sizes: `layer.{0..11}`."""
    at = 0
    while at < len(members):
        end = at + 1
        while end < len(members) and members[end].sizes == members[at].sizes:
            end += 1
        if end - at > 1:
            begin = members[at].path[: len(members[at].path) - len(members[at].name)]
            numbers = [
                re.findall(r"\d+[a-z]?", m.name)[-1] for m in (members[at], members[end - 1])
            ]
            family = begin + pattern.replace("{}", f"{{{numbers[0]}..{numbers[1]}}}")
            for member in members[at:end]:
                member.family = family
        at = end


def pattern_of(name: str) -> str:
    """A name with its last number (and one letter after it) as {}: "Mixed_5b" -> "Mixed_{}"."""
    return re.sub(r"\d+[a-z]?(?=\D*$)", "{}", name, count=1)


def _kind_of_block(node: _Node, found: LayerMap) -> str:
    attentions = [layer for layer in node.layers if layer in found.attentions]
    if not attentions:
        return "block"
    said = set(words(node.path))
    if len(attentions) > 1 or "decoder" in said:  # one of them looks at the encoder
        return "decoder_layer"
    return "encoder_layer" if "encoder" in said else "transformer_layer"


def _block(node: _Node, found: LayerMap) -> Block:
    children = []
    for child in node.children.values():
        below = _block(child, found)
        if below.kind != "part" or below.children or len(below.layers) > 1:
            children.append(below)
    kind = node.kind or _kind_of_part(node, found)
    return Block(kind, node.path, tuple(node.layers), tuple(_useful(children)), node.family)


def _kind_of_part(node: _Node, found: LayerMap) -> str:
    if not node.path:
        return "model"
    said = words(node.name)
    if said and said[-1] in ("encoder", "decoder") and node.holds_blocks:
        return said[-1]
    kernels = [layer for layer in node.layers if layer in found.kernels]
    if len(kernels) > 1 and all(layer in found.in_attentions for layer in kernels):
        return "attention"
    return "part"


def _useful(children: list[Block]) -> Iterator[Block]:
    """Without parts that are nothing but one layer or one other block."""
    for child in children:
        if child.kind != "part" or len(child.layers) > 1:
            only = child.children[0] if len(child.children) == 1 else None
            same = only is not None and len(only.layers) == len(child.layers)
            yield only if same and child.kind == "part" and only is not None else child


def _frame(root: Block, found: LayerMap) -> Block:
    """Add stem and head: what comes before the first unit and after the last one."""
    inner = [block for block in root.walk() if block.kind in UNITS]
    taken = {layer for block in inner for layer in block.layers}
    rest = [layer for layer in root.layers if layer not in taken]
    if not taken:
        return _frame_plain(root, found)
    place = {layer: i for i, layer in enumerate(root.layers)}
    first = min(place[layer] for layer in taken)
    last = max(place[layer] for layer in taken)
    stem, head = [], []
    for layer in rest:
        said = set(words(layer.rpartition(found.tree_separator)[2]) or words(layer))
        said |= set(words(layer.partition(found.tree_separator)[0]))
        early = place[layer] < first if found.context.in_order else not said & _HEAD
        late = place[layer] > last if found.context.in_order else bool(said & _HEAD)
        if early or (said & _STEM and not late):
            stem.append(layer)
        elif late:
            head.append(layer)
    return _with_ends(root, stem, head)


def _frame_plain(root: Block, found: LayerMap) -> Block:
    """A model without repetition: the matrices at its end are the head."""
    layers = found.layers()
    weighted = [
        path for path in root.layers if any(r.meaning.role == "kernel" for r in layers[path])
    ]
    kinds = {path: next((r.meaning.kind for r in layers[path]), "") for path in weighted}
    head: list[str] = []
    for path in reversed(weighted):
        if kinds[path] != "dense":
            break
        head.insert(0, path)
    if not head or len(head) == len(weighted):
        head = weighted[-1:]
    if len(weighted) < 2:
        return root
    return _with_ends(root, [], head)


def _with_ends(root: Block, stem: list[str], head: list[str]) -> Block:
    ends = set(stem) | set(head)
    children = [child for child in root.children if not set(child.layers) <= ends]
    begin = [Block("stem", "", tuple(stem))] if stem else []
    end = [Block("head", "", tuple(head))] if head else []
    kept = tuple(_without(child, ends) for child in children)
    between = set(root.layers) - ends
    if between and not kept:
        kept = (Block("body", "", tuple(layer for layer in root.layers if layer in between)),)
    return replace(root, children=(*begin, *kept, *end))


def _without(block: Block, layers: set[str]) -> Block:
    """The block less some layers, which stem and head have taken."""
    if not layers & set(block.layers):
        return block
    children = [_without(child, layers) for child in block.children]
    return replace(
        block,
        layers=tuple(layer for layer in block.layers if layer not in layers),
        children=tuple(child for child in children if child.layers),
    )
