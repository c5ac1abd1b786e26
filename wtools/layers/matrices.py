"""Matrices: a dense kernel, which way it lies, or the table of an embedding."""

from __future__ import annotations

from .context import Context, Flow, decisive_axes, pattern
from .convolutions import sigmoid
from .model import Group, Meaning
from .words import EMBEDDING, LINEAR, POSITION, PROJECTION


def matrix(group: Group, leaf: str, context: Context) -> Meaning:
    """What a weight of two axes is."""
    shape = group.shape(leaf) or (0, 0)
    if group.length("bias", "b") in (*shape,):
        return _dense(group, context, 0.99)
    if any(other.startswith("bias") for other in group.members):
        return _dense(group, context, 0.9)
    score = embedding_score(group, shape, context)
    if score > 0:
        note = "positions" if set(group.called) & POSITION else ""
        return Meaning("embedding", "embeddings", "V D", sigmoid(score), note=note)
    return _dense(group, context, sigmoid(-score))


def _dense(group: Group, context: Context, confidence: float) -> Meaning:
    axes = decisive_axes(group)
    if axes is not None:
        return Meaning("dense", "kernel", axes, confidence)
    near = context.axes_near(group) if group.length("bias") is not None else None
    note = "" if near in (None, "o i") else "lies as the matrices near it"
    return Meaning("dense", "kernel", near or "o i", confidence, note=note)


def embedding_score(group: Group, shape: tuple[int, ...], context: Context) -> float:
    """Log-odds that a matrix without bias is an embedding's table and not a dense kernel.

    By what it is called, most of all by the last word; by whether it is one of a repeated kind;
    by which of its axes fits the layer that follows; by its place and its shape.
    """
    score = _by_name(group)
    rows, columns = shape
    if context.families[pattern(group.path), shape] > 1 and "{}" in pattern(group.path):
        score -= 1.5
    score += _by_neighbours(shape, context.before(group), context.after(group))
    if rows >= 1000 and rows > 4 * columns:
        score += 1.0 if group.at < len(context.groups) / 2 else -1.0
    elif columns > rows:
        score -= 1.0
    return score - 0.5


def _by_name(group: Group) -> float:
    called = group.called
    if not called:
        return 0.0
    last, own = called[-1], set(called)
    if last in EMBEDDING:
        return 5.0
    if called == ("w",):  # `w1` of a gated layer, or just a weight
        return -1.0
    if own & LINEAR:
        return -4.0
    if last in PROJECTION and not own & {"relative", "position", "positional"}:
        return -4.0 + 1.0 * bool(own & EMBEDDING)
    if own & POSITION:
        return 3.0
    if own & EMBEDDING:
        return 3.0
    if last in ("table", "codebook"):
        return 5.0
    if last == "shared":
        return 2.5
    if own & PROJECTION:
        return -3.0
    return 0.5 * bool(group.words & EMBEDDING)


def _by_neighbours(shape: tuple[int, ...], before: Flow | None, after: Flow | None) -> float:
    rows, columns = shape
    score = 0.5 if before is None else 0.0
    if rows == columns:
        return score
    if after is not None:
        score += 1.5 * (after.ins == columns) - 1.5 * (after.ins == rows)
    if before is not None:
        score -= 1.5 * (before.outs == columns)
    return score
