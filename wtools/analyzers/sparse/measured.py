"""Each tensor with its sketch, and the structure of its zeros where it has any."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...errors import WtoolsError
from ...layers import Meaning
from ...sketch import Sketch
from ...sketch.runner import Scan
from ...threads import in_order
from ...tree import Tensor, WeightTree, tie_key
from ..elements import STEP, reals
from ..held import is_held
from ..passing import expect, once
from .curve import Curve, curve
from .stated import Penalty, penalties
from .structure import SMALL, Structure, structure
from .views import View, is_coefficient, view_of

Array = NDArray[Any]

FAINT = 1e-4  # of the tensor's rms: a unit with nothing above it does nothing
LAST_SPIKE = 0.1  # the same of the last matrix, which tells of the others
SPIKE = 0.25  # of the weights that small: where so many are, do they make up whole units?


@dataclass(frozen=True, eq=False)
class Measured:
    """One tensor with all that was found of it.

    view: None for what is no matrix. structure: None where there is nothing to structure: too few
    zeros and small magnitudes to make up a unit. nonzero: of the coefficients of a linear model in
    one dimension, the places of those that are not zero. penalty: what the file says of one.
    last: is it the model's last matrix?
    """

    tensor: Tensor
    meaning: Meaning
    sketch: Sketch
    zeros: int
    view: View | None = None
    structure: Structure | None = None
    too_wide: bool = False
    nonzero: Sequence[int] | None = None
    penalty: Penalty | None = None
    last: bool = False

    @cached_property
    def curve(self) -> Curve:
        return curve([self.sketch])

    @property
    def outputs(self) -> int:
        return self.view.outputs if self.view else 0

    @property
    def inputs(self) -> int:
        return self.view.inputs if self.view else 0

    @property
    def dead_outputs(self) -> int:
        return self.structure.dead_outputs if self.structure else 0

    @property
    def dead_inputs(self) -> int:
        return self.structure.dead_inputs if self.structure else 0

    @property
    def faint_outputs(self) -> int:
        return self._faint(self.structure.output_max) if self.structure else 0

    @property
    def faint_inputs(self) -> int:
        return self._faint(self.structure.input_max) if self.structure else 0

    @property
    def dead_heads(self) -> int | None:
        """Heads of attention of zeros only; None where heads are not an axis of their own."""
        if self.view is None or not self.view.heads:
            return None
        if self.structure is None:
            return 0
        units = self.structure.inputs if self.view.heads_in else self.structure.outputs
        return int(np.count_nonzero(units.reshape(self.view.heads, -1).sum(axis=1) == 0))

    def _faint(self, largest: Array) -> int:
        return int(np.count_nonzero((largest > 0) & (largest < FAINT * self.sketch.rms)))

    @cached_property
    def live(self) -> Curve:
        """What is not zero."""
        return self.curve.without_zeros()

    @cached_property
    def spike(self) -> float:
        """The fraction of what is not zero that is below SMALL times its rms (normal: 0.024)."""
        return self.live.below(SMALL * self.live.rms) if self.live.count else 0.0

    @property
    def live_spike(self) -> float:
        """The same without units that hold nothing larger."""
        if self.structure is None or not self.live.count:
            return self.spike
        limit = SMALL * self.live.rms
        small = self.in_units(self.structure.output_max < limit, self.structure.input_max < limit)
        dead = self.in_units(self.structure.outputs == 0, self.structure.inputs == 0)
        rest = self.live.count - (small - dead)
        return max(0.0, self.spike * self.live.count - (small - dead)) / rest if rest > 0 else 0.0

    def in_units(self, outputs: NDArray[np.bool_], inputs: NDArray[np.bool_]) -> int:
        """How many elements lie in any of these units."""
        assert self.view is not None
        before, _, between, _, after = self.view.shape
        out, into = int(np.count_nonzero(outputs)), int(np.count_nonzero(inputs))
        units = out * self.inputs + into * self.outputs - out * into
        return before * between * after * units

    @property
    def is_linear(self) -> bool:
        """The coefficients of a linear model, which has no initialization to compare with?"""
        return self.meaning.kind == "linear_model" or is_coefficient(self.tensor)

    def survivors(self) -> list[int] | None:
        """The inputs of a linear model with any weight that is not zero."""
        if not self.is_linear:
            return None
        if self.structure is not None:
            return np.flatnonzero(self.structure.inputs).tolist()
        if self.nonzero is not None:
            return list(self.nonzero)
        return list(range(self.inputs or self.tensor.size))

    def gates(self) -> dict[str, float]:
        """The fraction of zeros of each gate, by its canonical letter."""
        if self.view is None or not self.view.gates or self.outputs % len(self.view.gates):
            return {}
        letters = self.view.gates
        if self.structure is None:
            return dict.fromkeys(letters, 0.0)
        kept = self.structure.outputs.reshape(len(letters), -1).sum(axis=1)
        each = self.tensor.size / len(letters)
        return {g: float(1 - k / each) for g, k in zip(letters, kept, strict=True)}

    def bytes_as(self, form: str) -> int:
        """Bytes of the elements: as they are (""), "bitmask", "csr", or packed "n:m"."""
        count, bits = self.tensor.size, dtypes.get(self.tensor.dtype).bits
        values = ((count - self.zeros) * bits + 7) // 8
        if form == "bitmask":  # a bit for each element, then what is not zero
            return values + (count + 7) // 8
        if form == "csr":  # the column of what is not zero, where each row begins
            rows = self.outputs or 1
            index = 2 if count // rows <= 1 << 16 else 4
            return values + (count - self.zeros) * index + 4 * (rows + 1)
        pattern = self.structure.pattern if self.structure else None
        if form == "n:m" and pattern:  # n values of m, each with its place among them
            n, m = pattern
            kept = count * n // m
            return (kept * (bits + math.ceil(math.log2(m))) + 7) // 8
        return self.tensor.nbytes


def measured(
    tensors: Sequence[Tensor],
    tree: WeightTree,
    meanings: Mapping[str, Meaning],
    threshold: float,
    threads: int | None,
    progress: Callable[[int], None] | None,
    scan: Scan,
) -> tuple[dict[object, Measured], list[WtoolsError]]:
    """tie key -> all that is known of each tensor that can be read; and what went wrong.

    A tensor is looked at beyond its sketch where zeros, or enough small magnitudes, call for it:
    in a second reading after the pass, on several threads, or in the pass if that is of several
    analyses.
    """
    stated = penalties(tree)
    distinct = list({tie_key(tensor): tensor for tensor in reversed(tensors)}.values())[::-1]
    last = next((t for t in reversed(distinct) if t.ndim == 2), None)
    found: dict[object, Measured] = {}
    failures: list[WtoolsError] = []
    later: list[Measured] = []
    views = [view_of(tensor, meanings[tensor.name], tree) for tensor in distinct]
    seen_as = dict(zip(map(tie_key, distinct), views, strict=True))
    for tensor, view in zip(distinct, views, strict=True):
        if view is not None:
            expect(tensor, "structure", _structure(view, threshold, tensor is last))
        elif is_coefficient(tensor) or meanings[tensor.name].kind == "linear_model":
            expect(tensor, "nonzero", _nonzero)
    for tensor, sketch in scan(distinct, threads=threads, progress=progress):
        if isinstance(sketch, WtoolsError):
            failures.append(sketch)
            continue
        meaning = meanings[tensor.name]
        one = Measured(
            tensor,
            meaning,
            sketch,
            sketch.zeros,
            seen_as[tie_key(tensor)],
            penalty=stated.get(tensor.name),
            last=tensor is last,
        )
        if is_held(tensor):
            one = _looked_at(one, threshold)
        else:
            later.append(one)
        found[tie_key(tensor)] = one

    def look(one: Measured) -> tuple[object, Measured | WtoolsError]:
        try:
            return tie_key(one.tensor), _looked_at(one, threshold)
        except WtoolsError as error:
            return tie_key(one.tensor), error

    for key, result in in_order(look, later, threads):
        if isinstance(result, WtoolsError):
            failures.append(result)
        else:
            found[key] = result
    return found, failures


def _looked_at(one: Measured, threshold: float) -> Measured:
    """With its structure and its zeros up to the threshold, if it has to be read for them."""
    above = math.nextafter(threshold, math.inf)
    small = bool(threshold) and one.sketch.below_bounds(above)[1] > 0
    if one.view is None:
        if one.is_linear and one.zeros:
            one = replace(one, nonzero=once(one.tensor, "nonzero", _nonzero))
        return replace(one, zeros=_zeros(one.tensor, threshold)) if small else one
    spike = LAST_SPIKE if one.last else SPIKE
    if not (small or _may_be_dead(one) or _may_be_faint(one) or one.spike >= spike):
        return one
    seen = once(one.tensor, "structure", _structure(one.view, threshold, one.last))
    if seen is None:
        return replace(one, too_wide=True)
    return replace(one, structure=seen, zeros=seen.zeros)


def _structure(view: View, threshold: float, last: bool) -> Callable[[Tensor], Structure | None]:
    return lambda tensor: structure(tensor, view, threshold, signs=last)


def _nonzero(tensor: Tensor) -> list[int]:
    """The places of the elements that are not zero."""
    found: list[int] = []
    start = 0
    for block in tensor.blocks():
        found += (start + np.flatnonzero(block)).tolist()
        start += block.size
    return found


def _may_be_dead(one: Measured) -> bool:
    """Are the zeros as many as a unit has weights, or one in a hundred? Fewer have no structure."""
    assert one.view is not None
    unit = one.tensor.size // max(one.view.outputs, one.view.inputs)
    return one.zeros >= max(1, min(unit, one.tensor.size // 100))


def _may_be_faint(one: Measured) -> bool:
    """Could all elements of a unit be negligible? Only where as many are as a unit has, beyond the
    tenth of those within ten times that magnitude that a density without a spike has there."""
    assert one.view is not None
    unit = one.tensor.size / max(one.view.outputs, one.view.inputs)
    count, limit = one.sketch.finite, FAINT * one.sketch.rms
    tiny = one.sketch.below_bounds(limit)[1] * count
    usual = one.sketch.below_bounds(10 * limit)[0] * count / 10
    if tiny < unit:
        return False
    flat = tiny >= 0.7 * usual  # where fewer are that small, what is usual is not known
    return not flat or tiny - usual + 5 * math.sqrt(tiny) >= 0.9 * unit


def _zeros(tensor: Tensor, threshold: float) -> int:
    count = 0
    for block in tensor.blocks():
        for start in range(0, block.size, STEP):
            x = reals(block[start : start + STEP], tensor.dtype)
            count += int(np.count_nonzero(np.abs(x) <= threshold))
    return count
