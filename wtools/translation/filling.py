"""A template's layer filled from what was assigned to it, in the template's names and axes.

What the two sides keep differently is brought together first: letters (the k of a Conv1D is the
w of a Conv2D of height one), projections of an attention, roles that only one side has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import UsageError
from ..tree import Array, Tensor
from .flattening import flattened
from .likeness import Unit
from .model import CanonicalLayer, Part
from .pieces import Computed, Piece, flat
from .spelling import Spelled, spelled

_IMAGE = ("fd", "fh", "fw", "fk", "fc")  # of an image before a Flatten, channels last


@dataclass(frozen=True)
class Folds:
    """What a batch norm takes in from layers whose own parts have no place in the template.

    bias: of the layer before it, subtracted from the moving mean. gamma: its own, taken into the
    moving variance; epsilons: the source's and the template's.
    """

    bias: Part | None = None
    gamma: bool = False
    epsilons: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Filled:
    """spelled: the template's tensors that came of it. unused: names of the source's tensors
    whose parts have no place."""

    spelled: Sequence[Spelled]
    unused: Sequence[str] = field(default_factory=tuple)


def filled(
    template: CanonicalLayer, sources: Mapping[str, Unit], folds: Folds | None = None
) -> Filled:
    """The tensors of a template's layer. sources: projection ("" for a whole layer) -> its unit.

    Raises UsageError where shapes do not fit, UnsupportedError for what has no equal.
    """
    parts: dict[str, Part] = {}
    known = dict(template.sizes)
    first = next(iter(sources.values()))
    target = _depthwise(template, replace(first.layer, kind=first.kind))
    if first.projection in ("depthwise", "pointwise") or template.kind.startswith("separable_"):
        parts = _separable(target, sources)
        for part in parts.values():
            known |= part.piece.sizes
    elif template.kind == "multi_head_attention" or first.projection:
        target, parts, known = _attention(template, sources)
    else:
        source = _depthwise(first.layer, template)
        for role, part in source.parts.items():
            parts[role] = _fitted(part, target.parts.get(role), source, target)
        known = {**known, **source.sizes}
        for part in parts.values():
            known |= part.piece.sizes
    if folds is not None:
        parts = _folded(parts, folds)
    joined = first.projection or template.kind.startswith("separable_")
    kind = target.kind if joined or target is not template else first.layer.kind
    facts = dict(first.layer.facts)
    if "H" in known:
        facts["heads"] = known["H"]
    made = CanonicalLayer(first.layer.path, kind, first.layer.convention, known, parts, facts)
    found = spelled(made, template.convention, target)
    used = {name for one in found for name in one.sources}
    if folds is not None and folds.gamma:
        used |= set(first.parts["gamma"].stored)
    own = [name for unit in sources.values() for name in unit.stored]
    return Filled(found, [name for name in dict.fromkeys(own) if name not in used])


def _depthwise(layer: CanonicalLayer, other: CanonicalLayer) -> CanonicalLayer:
    """A convolution of one input as the depthwise one that the other side knows it to be."""
    plain = layer.kind.startswith("conv") and layer.sizes.get("i") == 1
    if not plain or not other.kind.startswith("depthwise_conv"):
        return layer
    sizes = {name: other.sizes[name] for name in ("i", "m")}
    parts = {
        role: _part(role, relabelled(part.piece, {"o": "(i m)", "i": "1"}, sizes), part.stored)
        for role, part in layer.parts.items()
    }
    return replace(layer, kind=f"depthwise_{layer.kind}", sizes=sizes, parts=parts)


def relabelled(piece: Piece, words: Mapping[str, str], sizes: Mapping[str, int]) -> Piece:
    """The piece with letters in place of others: {"o": "(H e)"}; sizes: of the new ones."""
    tokens = piece.axes.replace("(", "( ").replace(")", " )").split()
    text, depth = [], 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        word = words.get(token, token)
        text.append(word.strip("()") if depth and word != token else word)
    axes = " ".join(text).replace("( ", "(").replace(" )", ")")
    kept = {name: size for name, size in piece.sizes.items() if name not in words}
    return replace(piece, axes=axes, sizes={**kept, **sizes})


def _part(role: str, piece: Piece, stored: tuple[str, ...]) -> Part:
    return Part(role, " ".join(sorted(piece.letters)), piece, stored)


def _fitted(
    part: Part, wanted: Part | None, layer: CanonicalLayer, template: CanonicalLayer
) -> Part:
    """The part with the letters that the template's has."""
    if wanted is None:
        return part
    own = dict(zip(flat(part.axes), part.shape, strict=True))
    there = dict(zip(flat(wanted.axes), wanted.shape, strict=True))
    image = [name for name in _IMAGE if name in wanted.piece.letters]
    if image and not any(name in _IMAGE for name in part.piece.letters):
        shape = [wanted.piece.sizes[name] for name in image]
        axes, sizes = flattened(
            part.piece.axes, part.piece.sizes, shape, layer.convention, layer.path
        )
        return Part(part.role, part.axes, replace(part.piece, axes=axes, sizes=sizes), part.stored)
    here = [name for name in own if name not in there and own[name] != 1]
    other = [name for name in there if name not in own and there[name] != 1]
    words: dict[str, str] = {}
    for name in here:
        match = next((n for n in other if there[n] == own[name] and n not in words.values()), None)
        several = [n for n in other if n[0] == name[0]]
        if match is not None:
            words[name] = match
        elif math.prod(there[n] for n in several) == own[name]:  # the outputs of an einsum
            words[name] = f"({' '.join(several)})"
    if not words:
        return _resplit(part, there)
    sizes = {n: there[n] for new in words.values() for n in flat(new)}
    gone = {name: "1" for name in sizes if name in own}  # the letter is there, of size one
    piece = relabelled(part.piece, gone, {}) if gone else part.piece
    return _part(part.role, relabelled(piece, words, sizes), part.stored)


def _separable(template: CanonicalLayer, sources: Mapping[str, Unit]) -> dict[str, Part]:
    """The parts of a separable convolution, of the two convolutions that it is, or of one of these,
    in the letters of the template's."""
    found: dict[str, Part] = {}
    for projection, unit in sources.items():
        if projection == "depthwise" and not unit.projection:
            kind = f"depthwise_{template.kind.removeprefix('separable_')}"
            unit = Unit(_depthwise(unit.layer, replace(template, kind=kind)))
        for role, part in unit.parts.items():
            name = f"{projection}_{role}" if projection and role != "bias" else role
            wanted = template.parts.get(name)
            there = dict(wanted.piece.sizes) if wanted is not None else {}
            piece, pointwise = part.piece, "pointwise" in (projection, unit.projection)
            if pointwise and "(i m)" in piece.axes and "m" not in there:
                size = {n: k for n, k in piece.sizes.items() if n != "m"}
                size["i"] = piece.sizes["i"] * piece.sizes["m"]
                piece = replace(piece, axes=piece.axes.replace("(i m)", "i"), sizes=size)
            elif pointwise and "m" in there and "m" not in piece.sizes:
                piece = relabelled(piece, {"i": "(i m)"}, {n: there[n] for n in ("i", "m")})
            own = Part(name, " ".join(sorted(piece.letters)), piece, part.stored)
            found[name] = _resplit(own, there)
    return found


def _resplit(part: Part, there: Mapping[str, int]) -> Part:
    """The part of a depthwise convolution with as many outputs a channel as the template has, where
    its own axes are fused and tell only the product."""
    sizes = part.piece.sizes
    wanted = {n: there[n] for n in ("i", "m") if n in there and n in sizes}
    fused = "(i m)" in part.piece.axes and len(wanted) == 2
    if not fused or math.prod(wanted.values()) != sizes["i"] * sizes["m"]:
        return part
    return Part(part.role, part.axes, replace(part.piece, sizes={**sizes, **wanted}), part.stored)


# --- attentions -----------------------------------------------------------------------------------


def _attention(
    template: CanonicalLayer, sources: Mapping[str, Unit]
) -> tuple[CanonicalLayer, dict[str, Part], dict[str, int]]:
    """(template, the source's parts, sizes), all in the letters of attentions."""
    layers = (template, *(unit.layer for unit in sources.values()))
    heads = max((own for layer in layers if (own := _heads(layer))), default=None)  # 1: not known
    target = replace(
        template, parts={role: _split(part, heads) for role, part in template.parts.items()}
    )
    if template.kind != "multi_head_attention":
        projection = next(iter(sources.values())).projection
        parts = _projected(template.parts, projection, heads)
        target = replace(template, kind="multi_head_attention", parts=parts)
    found: dict[str, Part] = {}
    known: dict[str, int] = dict(template.sizes)
    if heads is not None:
        known |= {"H": heads[0], "e": heads[1]}
    for projection, unit in sources.items():
        name = projection or unit.projection
        if unit.projection:
            own_parts = {
                role: _split(part, heads)
                for role, part in unit.layer.parts.items()
                if role.startswith(f"{name}_")
            }
        else:
            own_parts = _projected(unit.parts, name, heads)
        found |= own_parts
        for part in own_parts.values():
            known |= part.piece.sizes
    return target, found, known


def _split(part: Part, heads: tuple[int, int] | None) -> Part:
    """The part with so many heads, where it does not tell how many it has."""
    size = part.piece.sizes
    if heads is None or size.get("H") != 1 or size.get("e") != math.prod(heads):
        return part
    piece = replace(part.piece, sizes={**size, "H": heads[0], "e": heads[1]})
    return Part(part.role, part.axes, piece, part.stored)


def _heads(layer: CanonicalLayer) -> tuple[int, int] | None:
    """(heads, width of each) of an attention."""
    if "H" in layer.sizes and "e" in layer.sizes:
        return layer.sizes["H"], layer.sizes["e"]
    for part in layer.parts.values():
        if "H" in part.piece.sizes and "e" in part.piece.sizes:
            return part.piece.sizes["H"], part.piece.sizes["e"]
    return None


def _projected(
    parts: Mapping[str, Part], projection: str, heads: tuple[int, int] | None
) -> dict[str, Part]:
    """The parts of a linear layer as those of a projection."""
    found = {}
    for role, part in parts.items():
        inner, outer = ("D", "(H e)") if projection != "output" else ("(H e)", "D")
        words = {"i": inner, "o": outer}
        size = part.piece.sizes
        wide, deep = ("i", "o") if projection == "output" else ("o", "i")
        sizes = {"D": size[deep]} if deep in size else {}
        if wide in size:
            fits = heads is not None and math.prod(heads) == size[wide]
            count, each = heads if heads is not None and fits else (1, size[wide])
            sizes |= {"H": count, "e": each}
        piece = relabelled(part.piece, words, sizes)
        found[f"{projection}_{role}"] = _part(f"{projection}_{role}", piece, part.stored)
    return found


# --- folding --------------------------------------------------------------------------------------


def _folded(parts: Mapping[str, Part], folds: Folds) -> dict[str, Part]:
    found = dict(parts)
    if folds.bias is not None:
        mean, bias = parts["moving_mean"], folds.bias
        read_mean, read_bias = mean.piece.tensor.read, bias.piece.tensor.read
        found["moving_mean"] = _computed(
            mean, lambda: read_mean().reshape(-1) - read_bias().reshape(-1), bias.stored
        )
    if folds.gamma:
        variance, gamma = parts["moving_variance"], parts["gamma"]
        read_variance, read_gamma = variance.piece.tensor.read, gamma.piece.tensor.read
        one, other = folds.epsilons

        def narrowed() -> Array:
            wide = read_variance().astype(np.float64) + one
            return (wide / read_gamma().astype(np.float64) ** 2 - other).astype(
                read_variance().dtype
            )

        found["moving_variance"] = _computed(variance, narrowed, gamma.stored)
        del found["gamma"]
    return found


def _computed(part: Part, compute: object, more: tuple[str, ...]) -> Part:
    assert callable(compute)
    tensor = part.piece.tensor
    new: Tensor = replace(tensor, data=Computed(compute), storage=None, quantization=None)
    return Part(part.role, part.axes, replace(part.piece, tensor=new), (*part.stored, *more))


__all__ = ["Filled", "Folds", "UsageError", "filled", "relabelled"]
