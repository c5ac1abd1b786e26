"""Rules on the values of single tensors, answered from their sketches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...errors import WtoolsError
from ...sketch import Sketch
from ...sketch import sketch as sketch_of
from ...tree import Tensor, tie_key
from ..channels import channel_axis, channel_max
from ..passing import expect, once
from .model import Finding, Rule, Subject

HALF_MAX = 65504.0  # the largest finite float16
SUBNORMAL_SHARE = 0.01  # of the elements that are not zero
OUTLIER = 20.0  # a channel's largest magnitude over the median channel's
_FEW_CHANNELS = 8  # of fewer the median says little


def nan(subject: Subject) -> Iterator[Finding]:
    """Elements that are not a number: they spread through every result they touch."""
    for tensor, sketch in subject.measured():
        if sketch.nans:
            yield Finding(
                f"{sketch.nans:,} of {sketch.count:,} elements are NaN",
                tensor,
                evidence={"nans": sketch.nans, "count": sketch.count},
            )


def infinite(subject: Subject) -> Iterator[Finding]:
    """Infinite elements: a sum or product with them is infinite or NaN. In masks they are usual."""
    for tensor, sketch in subject.measured():
        if sketch.infs:
            yield Finding(
                f"{sketch.infs:,} of {sketch.count:,} elements are infinite",
                tensor,
                "info" if "mask" in tensor.name.lower() else None,
                {"positive": sketch.pos_infs, "negative": sketch.neg_infs, "count": sketch.count},
            )


def half_overflow(subject: Subject) -> Iterator[Finding]:
    """Magnitudes near or above 65504 in a wider type: cast to float16 they become infinite."""
    for tensor, sketch in subject.measured():
        dtype = dtypes.get(tensor.dtype)
        wide = dtype.kind == "float" and dtype.bits >= 16 and dtype.name != "float16"
        if wide and sketch.finite and sketch.linf > HALF_MAX / 2:
            over = sketch.linf > HALF_MAX
            yield Finding(
                f"largest magnitude {sketch.linf:.4g} "
                + ("overflows in float16" if over else "is near float16's limit"),
                tensor,
                None if over else "info",
                {"linf": sketch.linf, "limit": HALF_MAX},
            )


def subnormal(subject: Subject) -> Iterator[Finding]:
    """More than 1 % of the elements that are not zero are subnormal: they have lost precision, many
    engines take them for zero, and on some processors they are a hundred times slower."""
    for tensor, sketch in subject.measured():
        if dtypes.get(tensor.dtype).bits < 16:
            continue  # narrow floats use their subnormals like any other value
        others = sketch.finite - sketch.zeros
        if others and sketch.subnormals > max(SUBNORMAL_SHARE * others, 1):
            yield Finding(
                f"{sketch.subnormals / others:.1%} of the elements not zero are subnormal",
                tensor,
                evidence={"subnormals": sketch.subnormals, "not_zero": others},
            )


def all_zero(subject: Subject) -> Iterator[Finding]:
    """Every element is zero: a weight like this was never trained, lost, or pruned away. Vectors
    (a new bias) and the second factor of a LoRA begin as zeros, so there it is information."""
    for tensor, sketch in subject.measured():
        if sketch.count > 1 and sketch.zeros == sketch.count and _weight(tensor):
            expected = tensor.ndim < 2 or subject.meanings[tensor.name].within == "lora"
            yield Finding("every element is zero", tensor, "info" if expected else None)


def constant(subject: Subject) -> Iterator[Finding]:
    """Every element is one and the same number other than zero: a matrix like this cannot tell its
    inputs apart. Vectors (the gamma of a norm) begin as ones, so there it is information."""
    for tensor, sketch in subject.measured():
        same = sketch.count > 1 and sketch.finite == sketch.count and sketch.min == sketch.max
        if same and sketch.min != 0 and _weight(tensor):
            yield Finding(
                f"every element is {sketch.min:.6g}",
                tensor,
                "info" if tensor.ndim < 2 else None,
                {"value": sketch.min},
            )


def _weight(tensor: Tensor) -> bool:
    """Real numbers, or integers that stand for such: not counters, masks and indexes."""
    kind = dtypes.get(tensor.dtype).kind
    return kind in ("float", "complex") or tensor.quantization is not None


def negative_variance(subject: Subject) -> Iterator[Finding]:
    """A batch norm's variance below zero: its square root is NaN, and so is every output."""
    for tensor, sketch in subject.measured():
        if subject.meanings[tensor.name].role == "moving_variance" and sketch.min < 0:
            yield Finding(f"smallest variance {sketch.min:.4g}", tensor, None, {"min": sketch.min})


def outlier_channels(subject: Subject) -> Iterator[Finding]:
    """Output channels whose largest magnitude is more than 20 times the median channel's: a scale
    for the whole tensor leaves the others no precision when it is quantized."""
    seen = subject.seen("outlier-channels")
    for tensor, _ in subject.measured():
        if tie_key(tensor) not in seen:
            continue
        axis, largest = seen[tie_key(tensor)]
        median = float(np.median(largest[largest > 0])) if largest.any() else 0.0
        found = np.flatnonzero(largest > OUTLIER * median)
        if found.size and median:
            worst = int(largest.argmax())
            yield Finding(
                f"{found.size:,} of {largest.size:,} channels: up to "
                f"{largest[worst] / median:.3g} times the median",
                tensor,
                evidence={
                    "axis": axis,
                    "channels": found[:100].tolist(),
                    "worst": worst,
                    "largest": float(largest[worst]),
                    "median": median,
                },
            )


def _channels(
    subject: Subject, tensor: Tensor, sketch: Sketch
) -> tuple[int, NDArray[np.float64]] | None:
    """(axis of the channels, largest magnitude of each), where any could stand out."""
    axis = _axis(subject, tensor)
    if axis is None or not sketch.finite:
        return None
    # Half of the channels have no magnitude above the median channel's largest. Where fewer
    # than half of the elements are that small, no channel can stand out: no need to look.
    if sketch.below_bounds(sketch.linf / OUTLIER)[1] < 0.5:
        return None
    try:
        return axis, once(tensor, "outlier-channels", partial(channel_max, axis=axis))
    except WtoolsError:
        return None  # told by another rule


def _expect_channels(subject: Subject, tensor: Tensor) -> None:
    if (axis := _axis(subject, tensor)) is not None:
        expect(tensor, "outlier-channels", partial(channel_max, axis=axis))


def _axis(subject: Subject, tensor: Tensor) -> int | None:
    """The axis of channels, where there are enough of them to have outliers."""
    axis = channel_axis(tensor, subject.meanings[tensor.name], subject.tree.separator)
    return axis if axis is not None and tensor.shape[axis] >= _FEW_CHANNELS else None


def bad_scale(subject: Subject) -> Iterator[Finding]:
    """A quantization scale that is zero, negative, infinite or NaN: what it scales is lost."""
    seen = set()
    for tensor in subject.tree.values():
        if tensor.quantization is None or tie_key(tensor.quantization.scale) in seen:
            continue
        scale = tensor.quantization.scale
        seen.add(tie_key(scale))
        try:
            found = subject.sketches.get(tie_key(scale)) or sketch_of(scale)
        except WtoolsError:
            continue  # told by another rule
        if found.nans or found.infs or found.min <= 0:
            yield Finding(
                f"scales from {found.min:.4g} to {found.max:.4g}"
                + (f", {found.nans + found.infs:,} not finite" if found.nans + found.infs else ""),
                tensor,
                evidence={"min": found.min, "nans": found.nans, "infs": found.infs},
            )


RULES = (
    Rule("nan", "error", nan, reads=True),
    Rule("inf", "error", infinite, reads=True),
    Rule("negative-variance", "error", negative_variance, reads=True),
    Rule("bad-scale", "error", bad_scale),
    Rule("fp16-overflow", "warning", half_overflow, reads=True),
    Rule("subnormals", "warning", subnormal, reads=True),
    Rule("all-zero", "warning", all_zero, reads=True),
    Rule("constant", "warning", constant, reads=True),
    Rule("outlier-channels", "warning", outlier_channels, True, _channels, _expect_channels),
)
