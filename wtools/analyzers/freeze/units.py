"""A model cut into pieces from input to output: stem, blocks, head; what freezes together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...layers import Block, LayerMap, TensorRole, blocks

STATISTICS = frozenset({"moving_mean", "moving_variance", "num_batches"})
NORMS = frozenset(
    {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "layer_scale"}
)


@dataclass(frozen=True)
class Unit:
    """name: the path of its layers, else what it is. kind: stem, block, encoder_layer, layer,
    head, ... stage: the stage that it is part of, else "".
    """

    name: str
    kind: str
    stage: str
    layers: tuple[str, ...]


def units(found: LayerMap) -> list[Unit]:
    """The pieces from input to output, each layer in one of them.

    Where nothing repeats, each layer with a kernel is a piece, with the norm that follows it.
    """
    root = blocks(found)
    stage_of = {
        layer: block.path
        for block in root.walk()
        if block.kind in ("stage", "encoder", "decoder")
        for layer in block.layers
    }
    place = {layer: i for i, layer in enumerate(root.layers)}
    pieces = [piece for unit in root.units() for piece in _pieces(unit, found)]
    rank = {"stem": 0, "head": 2}
    pieces.sort(key=lambda p: (rank.get(p.kind, 1), place[p.layers[0]]))
    return [
        Unit(
            _name(p), p.kind, stage_of.get(p.layers[0], "") if p.kind not in rank else "", p.layers
        )
        for p in pieces
        if p.layers
    ]


def _name(piece: Block) -> str:
    return piece.path or piece.kind


def _pieces(unit: Block, found: LayerMap) -> Iterator[Block]:
    """A piece without repetition cut before each layer that has a kernel."""
    if unit.kind not in ("model", "body", "part"):
        yield unit
        return
    group: list[str] = []
    for layer in unit.layers:
        if group and layer in found.kernels:
            yield _layers(group)
            group = []
        group.append(layer)
    if group:
        yield _layers(group)


def _layers(group: list[str]) -> Block:
    return Block("layer", group[0] or "(no layer)", tuple(group))


def is_statistic(role: TensorRole) -> bool:
    """Is it counted, or made by the program, rather than learned by gradients?"""
    return role.meaning.role in STATISTICS or role.meaning.kind in ("buffer", "normalization")
