"""What each tensor of a model is: its layer, kind, role and axes, and on what evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..layers import Block, LayerMap, TensorRole, blocks, layer_map
from ..reports import Report, column
from ..tree import WeightTree, tie_key
from .listing import heading, tree_notes

EVIDENCE = ("config", "graph", "name+shape")
_UNSURE = 0.7


@dataclass(frozen=True)
class LayerRow:
    """One tensor, or one layer's tensors together."""

    name: str = column("the tensor's name, or the layer's path")
    kind: str = column("the layer's kind, by one name for all frameworks")
    role: str = column("what the tensor is in its layer; a layer's tensors are joined by +")
    axes: str = column("one letter for each axis; fused ones in parentheses")
    shape: tuple[int, ...] | None = column("size along each axis; none for a layer")
    count: int = column("number of elements, tied tensors once", unit="count", short="params")
    evidence: str = column("config or graph: the file says so; name+shape: inferred")
    confidence: float = column("how sure, 0 to 1; 1 where the file says so", short="sure")
    within: str = column("the composite that the layer is part of", default="")
    part: str = column("which part of it", default="", shown=False)
    layer: str = column("the layer's path", default="", shown=False)
    note: str = column("what else it might be, or what is peculiar", default="", shown=False)


@dataclass(frozen=True)
class BlockRow:
    """One block of the model's structure."""

    name: str = column("the block's path; of stem, body and head what they are")
    kind: str = column("stem, stage, encoder_layer, decoder_layer, block, attention, head, ...")
    layers: int = column("number of layers in it", unit="count")
    tensors: int = column("number of tensors in it", unit="count")
    count: int = column("number of elements, tied tensors once", unit="count", short="params")
    family: str = column("the repetition of equal blocks that it is an element of")
    depth: int = column("how deep in the structure", shown=False)


def layer_report(
    tree: WeightTree,
    *,
    by: Literal["tensor", "layer", "block"] = "tensor",
    match: Sequence[str] = (),
) -> Report:
    """`wtools layers`: a row for each tensor, layer or block. Reads no tensor.

    match: glob patterns of the tensors to show; what they are is still told from the whole tree.
    Raises NameNotFoundError when a pattern matches nothing.
    """
    whole = layer_map(tree)
    if match:
        tree = tree.select(*match)
    found = whole.only(tree)
    rows: Sequence[LayerRow] | Sequence[BlockRow]
    if by == "block":
        rows = _block_rows(whole, found)
    elif by == "layer":
        rows = [_layer_row(path, roles) for path, roles in found.layers().items()]
    else:
        rows = [_tensor_row(role) for role in found.tensors.values()]
    return Report(
        schema="wtools.layers/1",
        title=f"Layers of {heading(tree)}",
        row_type=BlockRow if by == "block" else LayerRow,
        rows=rows,
        summary=_summary(whole, found, tree),
        notes=[*tree.notes, *tree_notes(tree), *_notes(found)],
        path=tree.path,
        format=tree.format,
    )


def _tensor_row(role: TensorRole) -> LayerRow:
    meaning, tensor = role.meaning, role.tensor
    return LayerRow(
        name=tensor.name,
        kind=meaning.kind,
        role=meaning.role,
        axes=meaning.axes,
        shape=tensor.shape,
        count=tensor.size,
        evidence=meaning.evidence,
        confidence=round(meaning.confidence, 2),
        within=meaning.within,
        part=meaning.part,
        layer=role.layer,
        note=meaning.note,
    )


def _layer_row(path: str, roles: Sequence[TensorRole]) -> LayerRow:
    """The layer as its largest tensor says, on the weakest evidence of all."""
    main = max(roles, key=lambda role: role.tensor.size).meaning
    weakest = min(roles, key=lambda role: role.meaning.confidence).meaning
    return LayerRow(
        name=path or "(no layer)",
        kind=main.kind,
        role="+".join(dict.fromkeys(role.meaning.role for role in roles)),
        axes=main.axes,
        shape=None,
        count=_parameters(roles),
        evidence=weakest.evidence,
        confidence=round(weakest.confidence, 2),
        within=main.within,
        part="+".join(dict.fromkeys(r.meaning.part for r in roles if r.meaning.part)),
        layer=path,
        note=main.note,
    )


def _block_rows(whole: LayerMap, shown: LayerMap) -> list[BlockRow]:
    layers = shown.layers()
    rows: list[BlockRow] = []

    def add(block: Block, depth: int) -> None:
        kept = [path for path in block.layers if path in layers]
        if not kept:
            return
        roles = [role for path in kept for role in layers[path]]
        rows.append(
            BlockRow(
                name=block.path or block.kind,
                kind=block.kind,
                layers=len(kept),
                tensors=len(roles),
                count=_parameters(roles),
                family=block.family,
                depth=depth,
            )
        )
        for child in block.children:
            add(child, depth + 1)

    add(blocks(whole), 0)
    return rows


def _parameters(roles: Iterable[TensorRole]) -> int:
    return sum({tie_key(role.tensor): role.tensor.size for role in roles}.values())


def _summary(whole: LayerMap, found: LayerMap, tree: WeightTree) -> dict[str, object]:
    distinct = [found.tensors[tensor.name] for tensor in tree.distinct()]
    total = max(1, tree.size)
    by_kind: Counter[str] = Counter()
    by_evidence: Counter[str] = Counter()
    for role in distinct:
        by_kind[role.meaning.kind] += role.tensor.size
        by_evidence[role.meaning.evidence] += role.tensor.size
    summary: dict[str, object] = {
        "tensors": len(tree),
        "layers": len(found.layers()),
        "parameters": tree.size,
        "parameters_by_kind": dict(by_kind.most_common()),
        "fraction_by_evidence": {
            name: by_evidence[name] / total for name in EVIDENCE if by_evidence[name]
        },
    }
    unsure = sum(r.tensor.size for r in distinct if r.meaning.confidence < _UNSURE)
    summary["unsure_fraction"] = unsure / total
    families = _families(whole)
    if families:
        summary["repeated"] = families
    return summary


def _families(found: LayerMap) -> Mapping[str, int]:
    """Family of equal blocks -> how many there are."""
    return dict(Counter(block.family for block in blocks(found).walk() if block.family))


def _notes(found: LayerMap) -> list[str]:
    """Which layers could be another kind than the one shown."""
    doubts: dict[str, list[str]] = {}
    for role in found.tensors.values():
        if role.meaning.note.startswith("or "):
            doubts.setdefault(f"{role.meaning.kind} {role.meaning.note}", []).append(role.layer)
    notes = []
    for doubt, layers in doubts.items():
        names = list(dict.fromkeys(layers))
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        notes.append(f"{doubt}: {', '.join(names[:3])}{more}")
    return notes
