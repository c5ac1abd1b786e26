"""Which tensors a framework stores for a layer, under its idiomatic names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..layouts import Layout
from .model import CanonicalLayer, layout_of
from .units import RECURRENT

SPATIAL = {1: "k", 2: "h w", 3: "d h w"}


@dataclass(frozen=True)
class Slot:
    """A tensor to be filled.

    roles: the canonical roles that lie in it, one after another along the letters `along`; just
        one where that is "". added: roles that are added to the one, as there is no other place.
    gates: their order. made: the value of all elements where the source has none, None where the
        tensor is then left out. shape: the template's, if there is one.
    """

    name: str
    axes: str
    roles: tuple[str, ...]
    along: str = ""
    gates: str = ""
    added: tuple[str, ...] = ()
    made: float | None = None
    dtype: str = ""
    shape: tuple[int, ...] | None = None


def slots(layer: CanonicalLayer, to: str) -> Iterator[Slot]:
    """The tensors of a layer in the convention `to`; none where it has no such layer."""
    if layer.kind in RECURRENT:
        yield from RECURRENTS[to](layer)
    elif layer.kind == "multi_head_attention" and to != "onnx":
        yield from (_torch_attention if to == "torch" else _keras_attention)(layer)
    elif layer.kind == "einsum_dense":
        yield from _einsum(layer, to)
    elif layer.kind.startswith("separable_conv") and to == "torch":
        yield from _separable(layer)
    elif layer.kind == "depthwise_conv3d" and to == "keras":  # a Conv3D of as many groups
        yield Slot(named(layer.path, to, "kernel"), "d h w 1 (i m)", ("kernel",))
        yield Slot(named(layer.path, to, "bias"), "(i m)", ("bias",))
    else:
        kind = "dense" if layer.kind == "linear_model" else layer.kind
        yield from _plain(layer, layout_of(to, kind), to)


def named(path: str, to: str, *leaves: str) -> str:
    """The name of a tensor of the layer at `path` ("a/b"), as the convention joins names."""
    separator = "/" if to == "keras" else "."
    parts = path.split("/") if path else []
    if to != "keras":
        parts = [part.replace(".", "_") for part in parts]
    return separator.join([*parts, *leaves])


def _plain(layer: CanonicalLayer, layout: Layout, to: str) -> Iterator[Slot]:
    """By the table alone."""
    path = layer.path or ("dense" if to == "keras" else "")
    for role, stored in layout.roles.items():
        name, axes = named(path, to, stored.names[0]), stored.axes
        if axes == "*":  # as its input has them: only the layer itself can tell
            axes = " ".join(layer.parts[role].piece.letters) if role in layer.parts else ""
        yield Slot(name, axes, (role,), made=_made(layer, role, to), dtype=_dtype(role))


def _made(layer: CanonicalLayer, role: str, to: str) -> float | None:
    """What a framework cannot be without: torch's BatchNorm of Keras' without gamma or beta."""
    if to == "torch" and layer.kind in ("batch_norm", "layer_norm", "group_norm"):
        return {"gamma": 1.0, "beta": 0.0, "num_batches": 0.0}.get(role)
    return None


def _dtype(role: str) -> str:
    return "int64" if role == "num_batches" else ""


# --- recurrent ------------------------------------------------------------------------------------


def _directions(layer: CanonicalLayer) -> tuple[str, ...]:
    both = any(role.startswith("backward_") for role in layer.parts)
    return ("", "backward_") if both else ("",)


def _torch_recurrent(layer: CanonicalLayer) -> Iterator[Slot]:
    layout = layout_of("torch", layer.kind)
    level, path = layer.facts.get("level", 0), layer.path
    if layer.facts.get("separate"):
        path, level = f"{path}/{level}" if path else str(level), 0
    for prefix in _directions(layer):
        suffix = "" if layer.facts.get("cell") else f"_l{level}"
        suffix += "_reverse" if prefix else ""
        biased = any(f"{prefix}{role}" in layer.parts for role in ("bias", "recurrent_bias"))
        for role, stored in layout.roles.items():
            made = 0.0 if biased and role in ("bias", "recurrent_bias") else None
            name = named(path, "torch", f"{stored.names[0]}{suffix}")
            yield Slot(name, stored.axes, (f"{prefix}{role}",), gates=layout.gates, made=made)


def _keras_recurrent(layer: CanonicalLayer) -> Iterator[Slot]:
    layout = layout_of("keras", layer.kind)
    kind = layer.kind.removesuffix("_reset_before").replace("rnn", "simple_rnn")
    path = layer.path
    if layer.facts.get("levels", 1) > 1:
        path = f"{path}_l{layer.facts['level']}" if path else f"{kind}_l{layer.facts['level']}"
    path = path or kind
    both = len(_directions(layer)) > 1
    for prefix in _directions(layer):
        below = [] if layer.facts.get("cell") else [f"{kind}_cell"]
        if both:
            below = [f"{'backward' if prefix else 'forward'}_{kind}", *below]
        for role, stored in layout.roles.items():
            name = named(path, "keras", *below, stored.names[0])
            held = tuple(f"{prefix}{one}" for one in stored.holds or (role,))
            added = (f"{prefix}recurrent_bias",) if held == (f"{prefix}bias",) else ()
            made = 0.0 if stored.holds and any(one in layer.parts for one in held) else None
            yield Slot(name, stored.axes, held, stored.along, layout.gates, added=added, made=made)


def _onnx_recurrent(layer: CanonicalLayer) -> Iterator[Slot]:
    layout = layout_of("onnx", layer.kind)
    path = layer.path
    if layer.facts.get("levels", 1) > 1:
        path = f"{path}_l{layer.facts['level']}"
    for role, stored in layout.roles.items():
        inner = stored.holds or (role,)
        held = tuple(f"{prefix}{one}" for prefix in _directions(layer) for one in inner)
        made = 0.0 if stored.holds and any(one in layer.parts for one in held) else None
        along = f"n {stored.along}".strip()
        name = named(path, "onnx", stored.names[0])
        yield Slot(name, stored.axes, held, along, layout.gates, made=made)


RECURRENTS = {"torch": _torch_recurrent, "keras": _keras_recurrent, "onnx": _onnx_recurrent}


# --- attention ------------------------------------------------------------------------------------


def fuses(sizes: Mapping[str, int], layer: CanonicalLayer) -> bool:
    """Can nn.MultiheadAttention hold it: all three from the model's width, to as many heads?"""
    shapes = {
        layer.parts[f"{part}_kernel"].shape
        for part in ("query", "key", "value")
        if f"{part}_kernel" in layer.parts
    }
    width = sizes.get("D", 0)
    return len(shapes) == 1 and sizes.get("H", 0) * sizes.get("e", 0) == width


def _torch_attention(layer: CanonicalLayer) -> Iterator[Slot]:
    layout = layout_of("torch", layer.kind)
    if fuses(layer.sizes, layer):
        for role in ("qkv_kernel", "qkv_bias", "output_kernel", "output_bias"):
            stored = layout.roles[role]
            name = named(layer.path, "torch", stored.names[0])
            yield Slot(name, stored.axes, stored.holds or (role,), stored.along)
    else:  # four linear layers, as most implementations have them
        for part, module in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
            name = named(layer.path, "torch", module, "weight")
            yield Slot(name, "(H e) D", (f"{part}_kernel",))
            yield Slot(named(layer.path, "torch", module, "bias"), "(H e)", (f"{part}_bias",))
        name = named(layer.path, "torch", "out_proj.weight")
        yield Slot(name, "D (H e)", ("output_kernel",))
        yield Slot(named(layer.path, "torch", "out_proj.bias"), "D", ("output_bias",))
    for role in ("extra_key", "extra_value"):
        stored = layout.roles[role]
        yield Slot(named(layer.path, "torch", stored.names[0]), stored.axes, (role,))


def _keras_attention(layer: CanonicalLayer) -> Iterator[Slot]:
    for role, stored in layout_of("keras", layer.kind).roles.items():
        yield Slot(named(layer.path, "keras", stored.names[0]), stored.axes, (role,))


# --- others ---------------------------------------------------------------------------------------


def _einsum(layer: CanonicalLayer, to: str) -> Iterator[Slot]:
    """A Linear of all inputs to all outputs in torch; in Keras the tensors as they are."""
    kernel = layer.parts.get("kernel")
    letters = kernel.piece.letters if kernel is not None else ()
    ins = " ".join(letter for letter in letters if letter.startswith("i"))
    outs = " ".join(letter for letter in letters if letter.startswith("o"))
    names = ("kernel", "bias") if to == "keras" else ("weight", "bias")
    axes = (f"({outs}) ({ins})", f"({outs})") if to == "torch" else (f"{ins} {outs}", outs)
    for role, name, own in zip(("kernel", "bias"), names, axes, strict=True):
        yield Slot(named(layer.path, to, name), own, (role,))


def _separable(layer: CanonicalLayer) -> Iterator[Slot]:
    """Two convolutions: depthwise, then one of kernels of size one, which has the bias."""
    n = 1 if layer.kind.endswith("1d") else 2
    ones = " ".join("1" * n)
    depthwise = named(layer.path, "torch", "depthwise", "weight")
    yield Slot(depthwise, f"(i m) 1 {SPATIAL[n]}", ("depthwise_kernel",))
    pointwise = named(layer.path, "torch", "pointwise", "weight")
    yield Slot(pointwise, f"o (i m) {ones}", ("pointwise_kernel",))
    yield Slot(named(layer.path, "torch", "pointwise", "bias"), "o", ("bias",))


def of_template(template: CanonicalLayer) -> list[Slot]:
    """The tensors that a template's layer has, with their names, axes and shapes."""
    lying: dict[str, list[tuple[str, tuple[tuple[str, int], ...]]]] = {}
    for role, part in template.parts.items():
        lying.setdefault(part.piece.tensor.name, []).append((role, part.piece.at))
    found = []
    for name, tensor in template.tensors.items():
        held = sorted(lying[name], key=lambda one: one[1])
        along = " ".join(letter for letter, _ in held[0][1])
        roles = tuple(role for role, _ in (held if along else held[:1]))  # the rest is added to it
        piece = template.parts[roles[0]].piece
        found.append(Slot(name, piece.axes, roles, along, piece.gates, shape=tensor.shape))
    return completed(found, template.kind)


def completed(found: list[Slot], kind: str) -> list[Slot]:
    """Slots of a layer of another file, with what becomes of roles that only one side has."""
    there = {role for slot in found for role in slot.roles}
    return [
        replace(
            slot,
            added=_added(slot.roles, kind, there),
            made=_NEUTRAL.get(slot.roles[0].removeprefix("backward_")),
            dtype=_dtype(slot.roles[0]),
        )
        for slot in found
    ]


_NEUTRAL = {"gamma": 1.0, "beta": 0.0, "num_batches": 0.0, "bias": 0.0, "recurrent_bias": 0.0}


def _added(roles: tuple[str, ...], kind: str, there: set[str]) -> tuple[str, ...]:
    """The second bias of a recurrent layer, where there is a place for one alone."""
    if kind not in RECURRENT or len(roles) > 1 or not roles[0].endswith("bias"):
        return ()
    second = f"{roles[0].removesuffix('bias')}recurrent_bias"
    return () if second in there or roles[0].endswith("recurrent_bias") else (second,)


__all__ = ["Slot", "completed", "named", "of_template", "slots"]
