"""A canonical layer as the tensors that a framework stores for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..errors import UnsupportedError, UsageError
from ..tree import Array, Tensor
from .addends import total
from .flattening import aligned, order_of, shown
from .model import CanonicalLayer
from .pieces import Computed, Piece, flat, shape_of, stacked
from .slots import Slot, of_template, slots

_SHOWN = {"lstm": {"c": "g"}, "gru": {"h": "n"}}  # what torch's documentation calls gates


class Spelled(NamedTuple):
    """One tensor as a framework stores it.

    steps: what was done, from source to target, in words. losses: what cannot be undone, or is
    not in the source. sources: the names of the stored tensors that it is made of. addends: of
    a sum, role -> what was added, with the axes of the sum.
    """

    name: str
    tensor: Tensor
    steps: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    slot: Slot | None = None
    addends: Mapping[str, Tensor] = {}


def spelled(
    layer: CanonicalLayer,
    to: str,
    template: CanonicalLayer | None = None,
    *,
    original: Sequence[Slot] | None = None,
) -> list[Spelled]:
    """The tensors of `layer` in the convention `to` ("keras", "torch", "onnx").

    template: a layer of another file: then with its names, axes and shapes. original: the slots
    of the file that the layer once came from.
    Raises UnsupportedError, the layer named, for what the convention has no equal of.
    """
    refuse(layer, to)
    if template is not None:
        original = of_template(template)
    wanted = list(original if original is not None else slots(layer, to))
    found = [one for slot in wanted if (one := _filled(slot, layer, to)) is not None]
    there = {role for slot in wanted for role in (*slot.roles, *slot.added)}
    left = [r for r in layer.parts if r not in there and not _neutral(layer, r)]
    dropped = tuple(_dropped(layer, role, to) for role in left if role in _DROPPED)
    if dropped and found:
        found[0] = found[0]._replace(losses=(*found[0].losses, *dropped))
    if template is None:
        found += [_kept(layer, role, to) for role in left if role not in _DROPPED]
    return found


def _neutral(layer: CanonicalLayer, role: str) -> bool:
    """Was the tensor made by a translation, so that nothing is lost without it?"""
    told = layer.parts[role].piece.tensor.facts.get("translated")
    return isinstance(told, Mapping) and told.get("made") is True


def _dropped(layer: CanonicalLayer, role: str, to: str) -> str:
    name = layer.parts[role].piece.tensor.name
    return f"{name}: {to} does not keep it"


_DROPPED = frozenset({"num_batches"})  # a count of training steps, which Keras does not keep


def refuse(layer: CanonicalLayer, to: str) -> None:
    """Raise UnsupportedError where `to` has nothing that computes what the layer does."""
    if to == "torch" and layer.kind == "gru_reset_before":
        raise UnsupportedError(
            "a GRU that resets before the product (reset_after=False) has no equal in torch",
            place=f"layer {layer.path!r}",
            advice="--layout keep copies its weights; ONNX has such a GRU.",
        )
    alpha = layer.parts.get("alpha") if layer.kind == "prelu" else None
    if to == "torch" and alpha is not None and sum(size > 1 for size in alpha.shape) > 1:
        raise UnsupportedError(
            "a PReLU with an alpha for each place has no equal in torch, which has one a channel",
            place=f"layer {layer.path!r}",
            advice="--layout keep copies its weights; shared_axes=[1, 2] makes it one a channel.",
        )
    headless = layer.kind == "multi_head_attention" and layer.facts.get("heads", 1) is None
    if to == "keras" and headless:
        raise UnsupportedError(
            "how many heads the attention has is not in its weights",
            place=f"layer {layer.path!r}",
            advice=f"--heads {layer.path}=N says it.",
        )


def _filled(slot: Slot, layer: CanonicalLayer, to: str) -> Spelled | None:
    parts = [layer.parts.get(role) for role in slot.roles]
    if not any(part is not None for part in parts):
        return _made(slot, layer) if slot.made is not None else None
    if not slot.along and not any(role in layer.parts for role in slot.added):
        one = parts[0]
        assert one is not None
        result = _moved(one.piece, slot, layer, to)
    elif slot.along:
        result = _joined(slot, layer, to)
    else:
        result = _added(slot, layer, to)
    if slot.shape is not None and result.tensor.shape != slot.shape:
        raise UsageError(
            f"shape {list(result.tensor.shape)} cannot fill {list(slot.shape)}",
            place=repr(slot.name),
        )
    return result


def _moved(piece: Piece, slot: Slot, layer: CanonicalLayer, to: str) -> Spelled:
    """One role into one tensor."""
    piece, axes = aligned(piece, slot.axes, to)
    tensor = piece.moved(axes, slot.gates)
    steps = steps_of(piece, axes, slot.gates, layer, tensor)
    source = piece.tensor.name
    if "fc" in piece.letters and steps:
        steps = (*steps, "Flatten: rows in the order of " + order_of(to))
    slot = replace(slot, axes=axes)
    if set(slot.roles) & set(layer.facts.get("apart", ())):
        steps = (*steps, "as it was before it was added up")
    if not steps and source != slot.name:
        steps = ("renamed",)
    return Spelled(slot.name, _named(tensor, slot.name), steps, (), (source,), slot)


def _joined(slot: Slot, layer: CanonicalLayer, to: str) -> Spelled:
    """Several roles one after another in one tensor; zeros for those that the source lacks."""
    inner = [name for name in flat(slot.axes) if name not in slot.along.split()]
    apart = " ".join(inner)
    found = [layer.parts.get(role) for role in slot.roles]
    first = next(part for part in found if part is not None)
    known = {**layer.sizes, **first.piece.sizes, **_along(slot)}
    kept = [(part.piece if part is not None else None) for part in found]
    shape = shape_of(apart, known)
    dtype = dtypes.get(first.piece.tensor.dtype).numpy
    whole = _whole(slot, kept)
    if whole is not None:  # it lies as the source has it
        return _moved(whole, slot, layer, to)

    def compute() -> Array:
        arrays = [
            piece.taken(apart, slot.gates) if piece is not None else np.zeros(shape, dtype)
            for piece in kept
        ]
        return stacked(arrays, " ".join([*slot.along.split(), *inner]), slot.axes, known)

    sources = tuple(dict.fromkeys(piece.tensor.name for piece in kept if piece is not None))
    steps = [f"{', '.join(slot.roles)} joined"]
    example = first.piece
    steps += steps_of(example, slot.axes, slot.gates, layer, None)
    zeros = [role for role, piece in zip(slot.roles, kept, strict=True) if piece is None]
    steps += [f"{role}: zeros" for role in zeros]
    tensor = replace(
        first.piece.tensor,
        shape=shape_of(slot.axes, known),
        data=Computed(compute),
        storage=None,
        quantization=None,
    )
    return Spelled(slot.name, _named(tensor, slot.name), tuple(steps), (), sources, slot)


def _along(slot: Slot) -> dict[str, int]:
    """The sizes of the letters that the roles stand along: n directions times what is held."""
    letters = slot.along.split()
    if len(letters) == 1:
        return {letters[0]: len(slot.roles)}
    inner = len([role for role in slot.roles if not role.startswith("backward_")])
    return {letters[0]: len(slot.roles) // inner, letters[1]: inner}


def _whole(slot: Slot, pieces: list[Piece | None]) -> Piece | None:
    """The stored tensor, where all that is to be joined is it, from first to last."""
    own = [piece for piece in pieces if piece is not None]
    if len(own) < len(pieces) or len({id(piece.tensor) for piece in own}) > 1:
        return None
    letters = {letter for piece in own for letter, _ in piece.at}
    size = own[0].sizes
    count = int(np.prod([size.get(letter, 0) for letter in letters]))
    in_order = [p.at for p in own] == sorted(p.at for p in own)
    if letters != set(slot.along.split()) or count != len(own) or not in_order:
        return None
    return replace(own[0], at=())


def _added(slot: Slot, layer: CanonicalLayer, to: str) -> Spelled:
    """Two biases as one: their sum, the first alone where the second is all zeros."""
    roles = [role for role in (slot.roles[0], *slot.added) if role in layer.parts]
    pieces = [layer.parts[role].piece for role in roles]
    first = pieces[0]

    def each(piece: Piece) -> Tensor:
        shape = shape_of(slot.axes, piece.sizes)
        data = Computed(lambda: piece.taken(slot.axes, slot.gates))
        return replace(piece.tensor, shape=shape, data=data, storage=None)

    addends = {role: each(piece) for role, piece in zip(roles, pieces, strict=True)}
    summed = Computed(lambda: total(one.read() for one in addends.values()))
    names = list(dict.fromkeys(piece.tensor.name for piece in pieces))
    tensor = replace(addends[roles[0]], data=summed)
    steps = (*steps_of(first, slot.axes, slot.gates, layer, None), f"sum of {' and '.join(names)}")
    loss = (
        f"{slot.name}: {' + '.join(names)} added up: the outputs are equal, but {to} has one "
        "bias and cannot tell them apart again"
    )
    made = all(_neutral(layer, role) for role in slot.added if role in layer.parts)
    losses = () if made else (loss,)
    kept = {} if made or first.tensor.quantization is not None else addends
    return Spelled(slot.name, _named(tensor, slot.name), steps, losses, tuple(names), slot, kept)


def _made(slot: Slot, layer: CanonicalLayer) -> Spelled | None:
    """A tensor of one value that the target must have and the source has not."""
    sample = next(iter(layer.parts.values())).piece.tensor
    try:
        shape = shape_of(slot.axes, {**layer.sizes, **_along(slot)} if slot.along else layer.sizes)
    except KeyError:
        return None
    most = max(part.piece.tensor.size for part in layer.parts.values())
    if np.prod(shape, dtype=object) > max(1, most):  # by sizes that a file only claims
        return None
    dtype = slot.dtype or sample.dtype
    value = slot.made or 0.0

    def compute() -> Array:
        return np.full(shape, value, dtypes.get(dtype).numpy)

    what = "ones" if value else "zeros"
    tensor = Tensor(slot.name, shape, dtype, Computed(compute), trainable=sample.trainable)
    counted = slot.roles == ("num_batches",)
    return Spelled(
        slot.name,
        tensor,
        ("made: 0",) if counted else (f"made: {what}",),
        (),
        (),
        slot,
    )


def _kept(layer: CanonicalLayer, role: str, to: str) -> Spelled:
    """A role that the convention has no place for, as it is, under a name like the source's."""
    tensor = layer.parts[role].piece.tensor
    name = renamed(tensor.name, layer.convention, to)
    loss = f"{name}: {layer.kind} {role} as it is: {to} has no place of its own for it"
    return Spelled(name, _named(tensor, name), ("copied",), (loss,), (tensor.name,))


def renamed(name: str, convention: str, to: str) -> str:
    """A name with its parts joined as the convention `to` joins them."""
    if convention == to or "keras" not in (convention, to):
        return name
    return name.replace("/", ".") if convention == "keras" else name.replace(".", "/")


def steps_of(
    piece: Piece, axes: str, gates: str, layer: CanonicalLayer, result: Tensor | None
) -> tuple[str, ...]:
    """How a piece's elements move, in words; nothing where they do not."""
    steps = []
    if piece.at:
        where = ", ".join(f"{letter}={index}" for letter, index in piece.at)
        steps.append(f"{where} of {piece.axes}")
    if result is None or result.shape != piece.tensor.shape or result is not piece.tensor:
        if piece.axes != axes and not piece.at:
            steps.append(f"{shown(piece.axes)} -> {shown(axes)}")
        elif piece.at and " ".join(piece.letters) != axes:
            steps.append(f"{' '.join(piece.letters)} -> {axes}")
    if piece.gates and gates and piece.gates != gates:
        steps.append(f"gates {piece.gates} -> {gates}")
    return tuple(steps)


def _named(tensor: Tensor, name: str) -> Tensor:
    """Under its new name; what the file said of layer and place in its own terms goes."""
    facts: Mapping[str, object] = {k: v for k, v in tensor.facts.items() if k not in _OF_A_PLACE}
    return replace(tensor, name=name, stored=name, layer="", kind="", facts=facts)


_OF_A_PLACE = frozenset({"feeds", "via", "strides", "node", "group"})
