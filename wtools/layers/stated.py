"""What a file says of its layers: the class of a Keras layer or of a pickled torch module."""

from __future__ import annotations

from ..layouts import Layout, keras, torch
from .context import Context
from .inferred import infer
from .kinds import WRAPPERS, kind_of_class
from .model import Group, Meaning
from .recurrent import GATES
from .words import words

_DIRECTIONS = {"forward": "forward", "backward": "backward"}


def stated(group: Group, context: Context) -> dict[str, Meaning]:
    """A meaning for the members whose class the file gives and which is known; maybe none.

    Names and shapes still decide between what one class can be: grouped convolutions, gates.
    """
    found: dict[str, Meaning] = {}
    guesses: dict[str, Meaning] | None = None
    for leaf, tensor in group.members.items():
        kind = kind_of_class(tensor.kind)
        if not kind and tensor.kind not in WRAPPERS:
            continue
        guesses = guesses or infer(group, context)
        meaning = _keras(kind, leaf, tensor.shape, group) or _torch(kind, leaf, guesses[leaf])
        if meaning is not None:
            found[leaf] = meaning
    return found


def _torch(kind: str, leaf: str, guess: Meaning) -> Meaning | None:
    if kind in ("", "multi_head_attention") and guess.kind == "unknown":
        return Meaning(kind, leaf, evidence="config") if kind else None
    same = guess.kind == kind or guess.kind == f"depthwise_{kind}"
    if same:
        return _certain(guess)
    layout = torch.LAYOUTS.get(kind)
    role = layout.role_of(leaf) if layout else ""
    axes = layout.roles[role].axes if layout and role else ""
    return Meaning(kind, role or leaf, axes, evidence="config")


def _certain(guess: Meaning) -> Meaning:
    return Meaning(
        guess.kind,
        guess.role,
        guess.axes,
        evidence="config",
        within=guess.within,
        part=guess.part,
        note="" if "or " in guess.note else guess.note,
    )


def _keras(kind: str, leaf: str, shape: tuple[int, ...], group: Group) -> Meaning | None:
    """A variable by Keras' conventions; None where its name is not one of Keras'."""
    path = [part for part in leaf.split("/") if part]
    within, part = _frame(group.members[leaf].kind, path)
    if not kind:
        kind = _inside(group, leaf)
    if kind == "gru":
        bias = next((t.shape for n, t in group.members.items() if n.endswith("bias")), ())
        layout = keras.LAYOUTS["gru" if len(bias) != 1 else "gru_reset_before"]
        note = {1: "reset_before", 2: "reset_after"}.get(len(bias), "")
    else:
        layout, note = _layout(kind), ""
    role = layout.role_of("/".join(path[-2:])) or layout.role_of(path[-1])
    if not role:
        return None
    axes = _axes_of(kind, layout.roles[role].axes, shape)
    return Meaning(kind, role, axes, evidence="config", within=within, part=part, note=note)


_NONE = Layout((), {})


def _layout(kind: str) -> Layout:
    return keras.LAYOUTS.get(kind, _NONE)


def _axes_of(kind: str, axes: str, shape: tuple[int, ...]) -> str:
    """The layout's axes; of PReLU, its input's less the batch."""
    if axes != "*":
        return axes
    if kind == "prelu" and 1 <= len(shape) <= 4:
        letters = ("d", "h", "w")[4 - len(shape) :] if len(shape) > 2 else ("k",) * (len(shape) - 1)
        return " ".join((*letters, "c"))
    return ""


def _frame(kind: str, path: list[str]) -> tuple[str, str]:
    """(wrapper, part of it) by the class and the names between the layer and the variable."""
    for part in path[:-1]:
        for word in words(part):
            if word in _DIRECTIONS:
                return "bidirectional", _DIRECTIONS[word]
    return WRAPPERS.get(kind, ""), ""


def _inside(group: Group, leaf: str) -> str:
    """The kind of the layer inside a wrapper: by its name, else by the shapes of its kernels."""
    for part in leaf.split("/")[:-1]:
        said = words(part)
        for kind in ("lstm", "gru", "rnn"):
            if kind in said:
                return kind
    prefix = leaf.rpartition("/")[0]
    recurrent = group.shape(f"{prefix}/recurrent_kernel")
    if recurrent is not None and len(recurrent) == 2 and recurrent[0]:
        return GATES.get(recurrent[1] // recurrent[0], "unknown")
    return "unknown"
