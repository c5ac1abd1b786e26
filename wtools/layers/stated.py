"""What a file says of its layers: the class of a Keras layer or of a pickled torch module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..layouts import keras, torch
from .context import Context
from .estimators import stated_estimator
from .inferred import infer
from .kinds import WRAPPERS, kind_of_class
from .model import Group, Meaning
from .recurrent import GATES
from .words import words

_DIRECTIONS = {"forward": "forward", "backward": "backward"}


def stated(group: Group, context: Context, inner: Mapping[str, str]) -> dict[str, Meaning]:
    """A meaning for the members whose class the file gives and which is known; maybe none.

    inner: path of a wrapping layer -> class of the layer in it. Names and shapes still decide
    between what one class can be: grouped convolutions, the gates of a cell.
    """
    found: dict[str, Meaning] = {}
    guesses: dict[str, Meaning] = {}
    by_keras = any("/" in leaf or leaf in _KERAS_NAMES for leaf in group.members)
    for leaf, tensor in group.members.items():
        wrapper = tensor.kind in WRAPPERS
        kind = kind_of_class(inner.get(group.path, "") if wrapper else tensor.kind)
        if "feeds" in tensor.facts or not (kind or wrapper):
            continue
        estimator = stated_estimator(tensor.kind, leaf, group)
        if estimator is not None:
            found[leaf] = estimator
        elif by_keras:
            found[leaf] = _keras(kind, leaf, group)
        else:
            guesses = guesses or infer(group, context)
            found[leaf] = _torch(kind, leaf, guesses[leaf])
    return found


_KERAS_NAMES = frozenset(
    name
    for layout in keras.LAYOUTS.values()
    for stored in layout.roles.values()
    for name in stored.names
) - {"bias", "scale", "running_mean"}


def _torch(kind: str, leaf: str, guess: Meaning) -> Meaning:
    if guess.kind in (kind, f"depthwise_{kind}"):
        return _certain(guess)
    layout = torch.LAYOUTS.get(kind) or keras.LAYOUTS.get(kind)
    role = layout.role_of(leaf) if layout else ""
    axes = layout.roles[role].axes if layout and role else ""
    return Meaning(kind or "unknown", role or leaf, axes.strip("*"), evidence="config")


def _certain(guess: Meaning) -> Meaning:
    note = "" if guess.note.startswith("or ") else guess.note
    return replace(guess, evidence="config", confidence=1.0, note=note)


def _keras(kind: str, leaf: str, group: Group) -> Meaning:
    """A variable of a Keras layer, by Keras' conventions."""
    tensor = group.members[leaf]
    prefix, _, own = leaf.rpartition("/")
    within, part = _frame(tensor.kind, prefix)
    recurrent = _member(group, prefix, "recurrent_kernel")
    if len(recurrent) == 2 and kind in ("", "rnn"):  # of a wrapper, or of a cell in Keras' RNN
        kind = GATES.get(recurrent[1] // max(1, recurrent[0]), "unknown")
    convention, note = kind, ""
    if kind == "gru":
        before = len(_member(group, prefix, "bias")) == 1
        convention = "gru_reset_before" if before else "gru"
        note = "reset_before" if before else "reset_after"
    if f"{prefix}/kernel_scale".lstrip("/") in group.members and kind == "dense":
        kind = "quantized_linear"
    layout = keras.LAYOUTS.get(convention)
    role = (layout.role_of("/".join(leaf.split("/")[-2:])) or layout.role_of(own)) if layout else ""
    axes = _axes(kind, layout.roles[role].axes, tensor.shape) if layout and role else ""
    return Meaning(
        kind or "unknown", role or own, axes, evidence="config", within=within, part=part, note=note
    )


def _member(group: Group, prefix: str, name: str) -> tuple[int, ...]:
    return group.shape(f"{prefix}/{name}" if prefix else name) or ()


def _axes(kind: str, axes: str, shape: tuple[int, ...]) -> str:
    """The layout's axes; of PReLU, its input's less the batch."""
    if axes != "*":
        return axes
    if kind == "prelu" and 1 <= len(shape) <= 4:
        return {1: "c", 2: "k c", 3: "h w c", 4: "d h w c"}[len(shape)]
    return ""


def _frame(kind: str, prefix: str) -> tuple[str, str]:
    """(wrapper, part of it) by the class and the names between the layer and the variable."""
    for word in words(prefix):
        if word in _DIRECTIONS:
            return "bidirectional", _DIRECTIONS[word]
    return WRAPPERS.get(kind, ""), ""
