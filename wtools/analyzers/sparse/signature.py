"""What made weights look like this: pruning, L1, L2, dying units, or nothing of the kind.

Each explanation leaves its own trace in the magnitudes:

- magnitude pruning: zeros, and a hole around zero where the pruned ones were;
- N:M pruning: the same, and no group of M inputs has more than N that are not zero;
- a proximal L1 step (soft threshold; Lasso, ElasticNet): zeros, and no hole, because what survives
  was moved towards zero too;
- L1 by subgradient: no zeros, and a spike around zero as wide as one step, in which magnitudes are
  spread evenly, in units that are alive too;
- L2: no zeros; what the loss does not hold decays without end, unit by unit, over many powers of
  ten, and the bulk is below what any usual initialization gives;
- whole units of zeros: structured pruning, or ReLUs that died and then decayed;
- network slimming: scales of batch norms pushed to zero.

L1 and ElasticNet leave the same trace in one weight; what a network's weights keep in balance
tells them apart (`balance`), and so does a file that names its class, or a twin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .balance import balanced
from .curve import Curve
from .measured import SPIKE, Measured
from .names import DECAY, LINEAR, NONE, PROXIMAL, SUBGRADIENT
from .stated import BOTH, ONE, Penalty
from .structure import SMALL, ZEROS

LEAST = 256  # weights in a tensor below which its magnitudes say little
_FEW = 16  # coefficients of a linear model, or weights that are not zero
HOLE = 3.5  # times the low quantile that a density without a hole has
SLIM = 0.05  # of the layer's largest gamma
_SLIMMED = 0.1  # of all channels
_SPIKE = 0.045  # of the weights below 0.03 of their rms (normal 0.024, Laplace 0.042)
_LIVE_SPIKE = 0.2  # the same without units that hold nothing larger
_EDGE = 0.015  # of the rms: twice the median of the spike, so its end where it is spread evenly
_EVEN = 0.03  # the 10 % quantile over the median: 0.2 where spread evenly, 0 over powers of ten
_SHRUNK = 0.5  # of 1/sqrt(fan in): the median magnitude of the narrowest usual initialization


@dataclass(frozen=True)
class Signature:
    """explanation: what fits, "" where there are too few weights. evidence: the figures."""

    explanation: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)


def signature(members: Sequence[Measured]) -> Signature:
    """What fits one weight, or most of the weights of a layer or a model."""
    norms = [m for m in members if m.meaning.kind == "batch_norm" and m.meaning.role == "gamma"]
    weights = [m for m in members if m.view is not None or m.is_linear]
    each = [(m.tensor.size, weight_signature(m)) for m in weights]
    each = [(size, fit) for size, fit in each if fit.explanation]
    slim = slimming(norms)
    if not each:
        return slim
    votes: dict[str, int] = {}
    for size, fit in each:
        votes[fit.explanation] = votes.get(fit.explanation, 0) + size
    best = max(votes, key=lambda explanation: votes[explanation])
    share = votes[best] / sum(votes.values())
    chosen = max((pair for pair in each if pair[1].explanation == best), key=lambda pair: pair[0])
    evidence = dict(chosen[1].evidence) if len(each) == 1 else {"share_of_weights": share}
    last = next((m for m in members if m.last and not m.is_linear), None)
    if last is not None:
        best, figures = balanced(best, last)
        evidence |= figures
    if slim.explanation.startswith("network slimming"):
        if best == NONE:
            return slim
        return Signature(f"{best}; {slim.explanation}", evidence | dict(slim.evidence))
    return Signature(best, evidence)


def slimming(norms: Sequence[Measured]) -> Signature:
    """Of the scales of batch norms: how many channels are as good as switched off?"""
    channels = sum(m.curve.count for m in norms)
    if not channels:
        return Signature()
    slim = round(sum(m.curve.below(SLIM * m.sketch.linf) * m.curve.count for m in norms))
    evidence = {"channels": float(channels), "slim_channels": float(slim)}
    if slim >= _SLIMMED * channels:
        return Signature(f"network slimming: {slim:,} of {channels:,} channels could go", evidence)
    return Signature("", evidence)


def weight_signature(one: Measured) -> Signature:
    """What fits the magnitudes of one weight."""
    live = one.curve.without_zeros()
    linear = one.is_linear
    if one.curve.count < (_FEW if linear else LEAST) or live.count < _FEW:
        if linear and one.penalty and one.curve.count:
            return Signature(_stated(one.penalty), {"zero_fraction": one.zeros / one.curve.count})
        return Signature()
    zeros = one.zeros / one.curve.count
    evidence = _evidence(one, live, zeros)
    return Signature(_named(one, _explained(one, live, zeros, evidence, linear)), evidence)


def _named(one: Measured, explanation: str) -> str:
    """With the penalty that the file names, where the magnitudes leave that open."""
    penalty = one.penalty
    if penalty is None:
        return explanation
    sparse = explanation in (PROXIMAL, SUBGRADIENT) and penalty.kind in (ONE, BOTH)
    if sparse:
        return _stated(penalty)
    # any penalty may leave all weights of a linear model
    return explanation.replace(LINEAR, _stated(penalty))


def _stated(penalty: Penalty) -> str:
    named = penalty.told.startswith(penalty.kind)
    return penalty.told if named else f"{penalty.kind}: {penalty.told}"


def _evidence(one: Measured, live: Curve, zeros: float) -> dict[str, float]:
    median = live.magnitude(0.5)
    low = max(0.01, 3 / live.count)
    units = one.structure
    dead = one.in_units(units.outputs == 0, units.inputs == 0) if units else 0
    return {
        "zero_fraction": zeros,
        "zeros_in_dead_units": dead / one.zeros if one.zeros else 0.0,
        "zeros_in_live_units": (one.zeros - dead) / max(1, one.curve.count - dead),
        # the low quantile over the median, against that of an exponential (and a normal) core
        "hole": live.magnitude(low) / median / (-math.log1p(-low) / math.log(2)),
        "spike": one.spike,
        "live_spike": one.live_spike,
        "spike_edge": 2 * live.magnitude(one.spike / 2) / live.rms,
        "evenness": live.magnitude(0.1) / median,
        "shrinkage": median * math.sqrt(fan_in(one)),
        # log-likelihoods a weight of the best Laplace and the best normal density, both about 0
        "laplace_gain": math.log(live.rms / live.mean) + 0.5 * math.log(math.pi / 2) - 0.5,
    }


def _explained(
    one: Measured, live: Curve, zeros: float, evidence: Mapping[str, float], linear: bool
) -> str:
    if zeros >= ZEROS:
        pattern = one.structure.pattern if one.structure else None
        if pattern and not linear:
            return f"{pattern[0]}:{pattern[1]} pruning"
        if evidence["zeros_in_dead_units"] > 0.9 and linear and one.outputs > 1:
            return f"{LINEAR}; inputs that are zero never varied"
        dead = evidence["zeros_in_dead_units"] > 0.9 and evidence["zeros_in_live_units"] < ZEROS
        if dead and not linear:
            return "whole units are zero: structured pruning, or ReLUs that died"
        return "magnitude pruning" if evidence["hole"] > HOLE else PROXIMAL
    if linear:
        return LINEAR
    summed = one.view is not None and one.view.reduced  # embeddings begin as small as they like
    shrunk = summed and evidence["shrinkage"] < _SHRUNK
    narrow = one.spike >= SPIKE and evidence["spike_edge"] < _EDGE
    if narrow and one.live_spike >= _LIVE_SPIKE and evidence["evenness"] >= _EVEN:
        return SUBGRADIENT
    return DECAY if one.spike >= _SPIKE and shrunk else NONE


def has_spike(live: Curve) -> bool:
    """Is a quarter of the magnitudes in a spike around zero in which they are spread evenly?"""
    if live.count < LEAST:
        return False
    spike = live.below(SMALL * live.rms)
    if spike < SPIKE:
        return False
    narrow = 2 * live.magnitude(spike / 2) < _EDGE * live.rms
    return narrow and live.magnitude(0.1) >= _EVEN * live.magnitude(0.5)


def fan_in(one: Measured) -> int:
    """How many weights add up to one output."""
    return max(1, one.tensor.size // one.outputs) if one.outputs else 1
