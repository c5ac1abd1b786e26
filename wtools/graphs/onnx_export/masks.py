"""Recurrence over the steps that a mask lets count, whichever these are.

Keras leaves state and output as they were at a step that does not count. ONNX only knows series
that end early (sequence_lens), so the steps that count are moved to the front, in their order,
and afterwards each step takes the output of the last one before it that counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .builder import Builder, Value


@dataclass(frozen=True)
class Steps:
    """lengths: (batch) steps that count. order: (batch, time, 1) where these are, the others
    after them. before: (batch, time) how many count up to each step, itself included."""

    lengths: str
    order: str
    before: str
    mask: str


def steps(b: Builder, mask: str) -> Steps:
    """What a mask (batch, time) says."""
    counted = b.node("Cast", mask, to=7)
    before = b.node("CumSum", counted, b.constant(1))
    total = b.node("ReduceSum", counted, b.constant([1]), keepdims=0)
    size = b.node("Shape", mask, start=1, end=2)
    last = b.node("Squeeze", size, b.constant([0]))
    time = b.node("Range", b.constant(0), last, b.constant(1))
    early = b.node("Sub", size, time)
    key = b.node("Where", mask, early, b.node("Neg", time))
    order = b.nodes("TopK", [key, size], 2, axis=1, largest=1, sorted=1)[1]
    order = b.node("Unsqueeze", order, b.constant([2]))
    return Steps(b.node("Cast", total, to=6), order, before, mask)


def compacted(b: Builder, x: str, steps: Steps) -> str:
    """(batch, time, features) with the steps that count in front."""
    return b.node("GatherND", x, steps.order, batch_dims=1)


def spread(b: Builder, y: str, steps: Steps, *, zeros: bool) -> str:
    """The outputs (batch, time, units) back in their places: at a step that does not count, the
    one before, or zeros."""
    at = b.node("Max", b.node("Sub", steps.before, b.constant(1)), b.constant(0))
    at = b.node("Unsqueeze", at, b.constant([2]))
    y = b.node("GatherND", y, at, batch_dims=1)
    kept = steps.mask if zeros else b.node("Greater", steps.before, b.constant(0))
    kept = b.node("Unsqueeze", kept, b.constant([2]))
    return b.node("Where", kept, y, b.number(0.0))


def flipped(b: Builder, name: str) -> str:
    """(batch, time, ...) with the last step first."""
    far = np.iinfo(np.int64).max
    ends = [b.constant([n]) for n in (-1, -far, 1, -1)]
    return b.node("Slice", name, *ends)


def mask_of(value: Value) -> str | None:
    return None if value.mask is None else value.mask.name
