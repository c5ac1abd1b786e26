"""Two models side by side: the layers of each as what can be assigned, and which are which.

An attention is four linear layers here, fused or not, so that a model with q, k and v apart goes
with one that has them in one tensor; a separable convolution is the two that torch has for it.
What the layers leave over (a bias that the other side keeps elsewhere, a tensor whose layer is not
known) is assigned part by part afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from .model import CanonicalLayer, Part
from .ordering import Item, Side
from .pieces import flat

_FAMILIES = {
    **dict.fromkeys(("dense", "linear_model", "conv1d", "conv2d", "conv3d"), "kernel"),
    **dict.fromkeys(("einsum_dense",), "kernel"),
    **dict.fromkeys((f"depthwise_conv{n}d" for n in (1, 2, 3)), "depthwise"),
    **dict.fromkeys(("layer_norm", "rms_norm"), "norm"),
    **dict.fromkeys(("embedding", "positional"), "embedding"),
}
_MAIN = (
    *("kernel", "query_kernel", "embeddings", "moving_mean", "gamma", "alpha"),
    *("depthwise_kernel", "recurrent_kernel"),
)
_ATTENTION = ("query", "key", "value", "output")
_SEPARABLE = ("depthwise", "pointwise")


@dataclass(frozen=True, eq=False)
class Unit:
    """What is assigned: a layer, or one of the parts of an attention or a separable convolution.

    layer: the canonical layer. projection: "query", "key", "value" or "output" of an attention,
    "depthwise" or "pointwise" of a separable convolution, else "".
    """

    layer: CanonicalLayer
    projection: str = ""

    @property
    def path(self) -> str:
        level = self.layer.facts.get("level") if self.layer.facts.get("levels", 1) > 1 else None
        own = [self.layer.path, self.projection, "" if level is None else str(level)]
        return "/".join(part for part in own if part)

    @property
    def parts(self) -> Mapping[str, Part]:
        """The parts of a projection as those of a linear layer, of a convolution."""
        if not self.projection:
            return self.layer.parts
        begin = f"{self.projection}_"
        bias = "bias" if self.projection == "pointwise" else ""
        return {
            role.removeprefix(begin): part
            for role, part in self.layer.parts.items()
            if role.startswith(begin) or role == bias
        }

    @property
    def kind(self) -> str:
        """That of a layer which would have these parts alone."""
        if self.projection in _SEPARABLE:
            kind = self.layer.kind.removeprefix("separable_")
            return f"depthwise_{kind}" if self.projection == "depthwise" else kind
        return "dense" if self.projection else self.layer.kind

    @property
    def stored(self) -> tuple[str, ...]:
        """The names of the tensors that it is made of."""
        return tuple(dict.fromkeys(name for part in self.parts.values() for name in part.stored))

    def signature(self) -> tuple[Hashable, ...]:
        """Equal for units that could be one another's; first the family of the kind."""
        family = _FAMILIES.get(self.kind, self.kind)
        parts = self.parts
        main = next((parts[role] for role in _MAIN if role in parts), None)
        main = main or max(parts.values(), key=lambda part: math.prod(part.shape))
        sizes = dict(zip(flat(main.axes), main.shape, strict=True))
        if family in ("norm", "batch_norm"):
            return family, math.prod(main.shape)
        if family == "depthwise" or self.projection == "pointwise":  # fused axes: the product alone
            sizes = {**sizes, "i": sizes.get("i", 1) * sizes.get("m", 1), "m": 1}
        if family == "depthwise":  # as a convolution of one input it may pass for, too
            sizes = {**sizes, "i": 1, "o": sizes["i"]}
        if family in ("kernel", "depthwise"):
            return "kernel", _plain(sizes, self.projection)
        if family == "prelu":  # shared along axes of an image, or the vector of torch
            sizes = {name: size for name, size in sizes.items() if name == "c" or size != 1}
        backward = any(role.startswith("backward_") for role in parts)
        return family, tuple(sorted(sizes.items())), backward


def _plain(sizes: Mapping[str, int], projection: str) -> tuple[object, ...]:
    """(spatial sizes over 1, inputs, outputs, ...) whatever letters they have."""
    spatial = tuple(sizes[name] for name in ("d", "h", "w", "k") if sizes.get(name, 1) != 1)
    ins = math.prod(size for name, size in sizes.items() if name[0] in "if" and name != "i0")
    ins *= sizes.get("i0", 1)
    outs = math.prod(size for name, size in sizes.items() if name[0] == "o")
    heads, width = sizes.get("H", 1) * sizes.get("e", 1), sizes.get("D", 1)
    if projection in _ATTENTION:
        ins, outs = (heads, width) if projection == "output" else (width, heads)
    return (*spatial, "x", ins, outs, sizes.get("m", 1), sizes.get("c", 1), sizes.get("x", 1))


def units(layers: Sequence[CanonicalLayer]) -> list[Unit]:
    """The layers, attentions and separable convolutions taken apart."""
    found = []
    for layer in layers:
        own = [one for one in (*_ATTENTION, *_SEPARABLE) if f"{one}_kernel" in layer.parts]
        if layer.kind.startswith(("multi_head_attention", "separable_")) and own:
            found += [Unit(layer, one) for one in own]
        else:
            found.append(Unit(layer))
    return found


@dataclass(frozen=True)
class Graph:
    """Of the units of one model: where each stands, which follow which (see
    `wtools.conversion.wiring`)."""

    place: Mapping[int, int] = field(default_factory=dict)
    after: Mapping[int, set[int]] = field(default_factory=dict)


def side(found: Sequence[Unit], graph: Graph | None) -> Side:
    """The units as items of an assignment; without a graph the next in the file comes after."""
    count = len(found)
    after = graph.after if graph else {i: {i + 1} for i in range(count - 1)}
    before: dict[int, set[int]] = {}
    for one, others in after.items():
        for other in others:
            before.setdefault(other, set()).add(one)
    items = [
        Item(
            unit.path,
            _FAMILIES.get(unit.kind, unit.kind),
            signature,
            graph.place.get(i, -1) if graph else -1,
            frozenset(before.get(i, ())),
            frozenset(after.get(i, ())),
            frozenset(unit.parts),
        )
        for i, (unit, signature) in enumerate((unit, unit.signature()) for unit in found)
    ]
    return Side(items, graph is not None)


# --- parts without a layer to go with -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Loose:
    """A part that is assigned by itself. at: where in the file; path: its whole name. blunt: by
    its stored shape alone."""

    role: str
    part: Part
    path: str
    at: int
    blunt: bool = False

    def signature(self) -> tuple[Hashable, ...]:
        """The sizes of its axes over 1, by their letters where these are known."""
        piece = self.part.piece
        if self.blunt:
            return "shape", piece.tensor.shape
        shape = self.part.shape if piece.at else piece.tensor.shape
        long = [size for size in shape if size != 1]
        if len(long) < 2:
            return "vector", tuple(long)
        letters = flat(self.part.axes)
        if not letters or not set(letters) <= {"i", "o", "h", "w", "d", "k"}:
            return "array", tuple(long)
        return "kernel", _plain(dict(zip(letters, self.part.shape, strict=True)), "")


def loose_sides(
    one: Side,
    other: Side,
    places: tuple[Sequence[int], Sequence[int]],
    pairs: Mapping[int, int],
    loose: tuple[Sequence[Loose], Sequence[Loose]],
) -> tuple[tuple[Side, dict[int, int]], tuple[Side, dict[int, int]], dict[int, int]]:
    """(side and item -> loose part, for both; fixed pairs of items) with the loose parts among
    the units, each where its tensor is in the file.

    places: where each unit's first tensor is. pairs: source unit -> target unit.
    """
    back = {target: source for source, target in pairs.items()}
    made = []
    for side, own, parts, partner in (
        (one, places[0], loose[0], {i: i for i in pairs}),
        (other, places[1], loose[1], back),
    ):
        order = sorted(
            [(at, 0, i) for i, at in enumerate(own)] + [(p.at, 1, i) for i, p in enumerate(parts)]
        )
        items = []
        unit_at, part_at = {}, {}
        for position, (_, is_part, i) in enumerate(order):
            near = frozenset(n for n in (position - 1,) if n >= 0)
            after = frozenset(n for n in (position + 1,) if n < len(order))
            if is_part:
                part_at[position] = i
                signature, path = parts[i].signature(), parts[i].path
            else:
                unit_at[i] = position
                signature, path = ("unit", partner.get(i, -1 - i)), side.items[i].path
            items.append(Item(path, str(signature[0]), signature, -1, near, after))
        made.append((Side(items, False), part_at, unit_at))
    fixed = {made[0][2][s]: made[1][2][t] for s, t in pairs.items()}
    return (made[0][0], made[0][1]), (made[1][0], made[1][1]), fixed
