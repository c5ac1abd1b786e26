"""One tensor's verdict: which initializer fits, what else would, and whether it was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...layers import Meaning
from ...sketch import Sketch
from ...tree import Tensor
from .candidates import Candidate, Setting, candidates
from .exact import constant_name, pattern
from .fit import Fit, fit
from .laws import Law, moment
from .sample import Sample
from .special import smallest
from .structure import independence, structure

UNTOUCHED, LIGHTLY, TRAINED, NOT_INIT = "untouched", "lightly trained", "trained", "not an init"
FEW = 1000  # elements below which a tensor's own distribution does not settle the matter
_TIE = 6.0  # log-likelihood within which two candidates are not told apart
_NEAR, _FAR = 0.03, 0.35  # distances up to which it was lightly trained, and trained
_OFTEN = 0.05  # chance of a coincidence from which a fit is called weak
_USUAL = 5  # rank up to which
_UNNAMED = 50_000  # elements that show a normal distribution of a scale no candidate has
_NEAREST = 6  # candidates whose distance is worked out where none fits
_STARTS: Mapping[str, float] = {  # role -> the constant that it begins as
    "gamma": 1.0,
    "moving_variance": 1.0,
    "scale": 1.0,
    "magnitude": 1.0,
    "beta": 0.0,
    "moving_mean": 0.0,
    "bias": 0.0,
    "recurrent_bias": 0.0,
    "biases": 0.0,
    "alpha": 0.25,
}
_NO_LAW = frozenset({"gamma", "beta", "moving_mean", "moving_variance", "alpha", "num_batches"})


@dataclass(frozen=True)
class Judgement:
    """See the columns of `InitRow`. exact: is it a pattern, not a distribution? weak: would
    tensors of any scale often fit some candidate so well? alone: the judgement if no other layer
    was drawn so."""

    fit: str
    verdict: str
    p_value: float | None = None
    ties: tuple[str, ...] = ()
    runner_up: str = ""
    gain: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False
    weak: bool = False
    twins: int = 0
    alone: Judgement | None = None


def judge(
    tensor: Tensor, meaning: Meaning, sketch: Sketch, setting: Setting, alpha: float
) -> Judgement:
    """alpha: the p-value below which a candidate is ruled out."""
    if not sketch.finite or sketch.finite < sketch.count:
        evidence: dict[str, Any] = {"nans": sketch.nans, "infs": sketch.infs}
        return Judgement("", NOT_INIT, evidence=evidence)
    shown = pattern(tensor, meaning, sketch)
    if shown is not None and not shown.exact:
        moved = {"residual": shown.residual, "elements": sketch.count}
        return Judgement(shown.name, LIGHTLY, 0.0, gain=shown.gain, evidence=moved)
    if shown is not None and (sketch.count > 1 or sketch.min in (0, 1)):
        evidence = {"exact": True, "elements": sketch.count, "residual": shown.residual}
        return Judgement(shown.name, UNTOUCHED, 1.0, gain=shown.gain, evidence=evidence, exact=True)
    if meaning.role in _NO_LAW or meaning.kind == "layer_scale" or sketch.count == 1:
        return _from_constant(sketch, _STARTS.get(meaning.role, 0.0))
    padding = _padding(tensor, sketch, setting)
    sample = Sample(sketch, padding)
    found = _accepted(sample, candidates(setting), alpha)
    if found:
        return _fitting(tensor, sample, found, setting, alpha)
    return _unfitting(tensor, meaning, sample, setting, alpha)


def _padding(tensor: Tensor, sketch: Sketch, setting: Setting) -> int:
    """The zeros of one row of a table (torch's padding_idx), if that is how many there are."""
    row = math.prod(tensor.shape[1:])
    return row if setting.table and tensor.ndim == 2 and sketch.zeros == row > 1 else 0


Fitted = tuple[Candidate, Fit]


def _accepted(sample: Sample, known: Sequence[Candidate], alpha: float) -> list[Fitted]:
    """The candidates that are not ruled out, the likeliest first."""
    kept = [one for one in known if _plausible(sample, one.law)]
    fitted: dict[Law, Fit] = {}
    for one in kept:
        if one.law not in fitted:
            fitted[one.law] = fit(sample, one.law)
    found = [(one, fitted[one.law]) for one in kept if fitted[one.law].p_value >= alpha]
    return sorted(found, key=lambda pair: -pair[1].log_likelihood)


def _plausible(sample: Sample, law: Law) -> bool:
    """Are its scale and bound near enough to be worth a test?"""
    if sample.around(sample.sketch.linf)[0] >= law.bound or not sample.rms:
        return False
    error = math.sqrt((moment(law.family, 4) - 1) / (4 * sample.count))
    return abs(math.log(sample.rms / law.std)) < 8 * error + 0.01


def _fitting(
    tensor: Tensor, sample: Sample, found: Sequence[Fitted], setting: Setting, alpha: float
) -> Judgement:
    """Some candidate fits the distribution; do the places of the elements agree?"""
    most = found[0][1].log_likelihood
    tied = [pair for pair in found if pair[1].log_likelihood >= most - _TIE]
    tied.sort(key=lambda pair: pair[0].rank)
    others = [pair for pair in found if pair not in tied]
    (best, fitted), law = tied[0], tied[0][0].law
    places = structure(tensor, bool(sample.dropped))
    parts = fitted.parts | independence(places, law)
    p = smallest(parts.values())
    evidence = _evidence(sample, best, fitted, parts) | {
        "same_distribution": [c.name for c, _ in tied[1:] if _same(c.law, law)],
        "alpha": alpha,
    }
    return Judgement(
        fit=best.name,
        verdict=UNTOUCHED if p >= alpha else LIGHTLY,
        p_value=p,
        ties=tuple(dict.fromkeys(c.name for c, _ in tied if c.name != best.name)),
        runner_up=others[0][0].name if others else "",
        gain=sample.rms / law.std,
        evidence=evidence,
        weak=_coincidence(sample, best, setting) > _OFTEN,
        twins=places.twins,
    )


def _coincidence(sample: Sample, best: Candidate, setting: Setting) -> float:
    """How often a scale drawn at random, evenly over three powers of ten, would fit as well.

    The usual initializers have that chance once, all others share theirs.
    """
    if sample.count < FEW:
        return 1.0
    error = math.sqrt((moment(best.law.family, 4) - 1) / (4 * sample.count))
    if best.law.bound < math.inf:
        error = max(2 / sample.count, 2.0**-9 if sample.exact else 0.0)
    many = 1 if best.rank <= _USUAL else len({c.law for c in candidates(setting)}) / 3
    return min(1.0, many * 6 * error / math.log(1000))


def _same(a: Law, b: Law) -> bool:
    return a.family == b.family and math.isclose(a.scale, b.scale, rel_tol=1e-9)


def _unfitting(
    tensor: Tensor, meaning: Meaning, sample: Sample, setting: Setting, alpha: float
) -> Judgement:
    """None fits: perhaps a scale without a name, else the nearest and how far it is.

    Of fewer elements a scale without a name counts only where another layer shares it.
    """
    unnamed = _unnamed(tensor, sample, alpha) if sample.count >= FEW else None
    if unnamed is not None and sample.count >= _UNNAMED:
        return unnamed
    nearest = _nearest(meaning, sample, setting, alpha)
    return replace(unnamed, alone=nearest) if unnamed is not None else nearest


def _nearest(meaning: Meaning, sample: Sample, setting: Setting, alpha: float) -> Judgement:
    """The candidate that is least far away."""
    known = candidates(setting)
    known.sort(key=lambda one: abs(math.log(sample.rms / one.law.std)) if sample.rms else 0)
    near = [(one, fit(sample, one.law)) for one in known[:_NEAREST]]
    near.sort(key=lambda pair: (round(pair[1].distance, 3), pair[0].rank))
    start = _STARTS.get(meaning.role)
    if start is not None and (not near or near[0][1].distance > _FAR or setting.keras):
        return _from_constant(sample.sketch, start)
    if not near:
        return Judgement("", NOT_INIT, evidence={"elements": sample.count})
    best, fitted = near[0]
    distance = fitted.distance
    near_usual = distance <= _NEAR and best.rank <= _USUAL  # near some other one anything may be
    verdict = LIGHTLY if near_usual else TRAINED if distance <= _FAR else NOT_INIT
    return Judgement(
        fit=best.name,
        verdict=verdict,
        p_value=fitted.p_value,
        runner_up=near[1][0].name if len(near) > 1 else "",
        gain=sample.rms / best.law.std,
        evidence=_evidence(sample, best, fitted, fitted.parts) | {"alpha": alpha},
    )


def _unnamed(tensor: Tensor, sample: Sample, alpha: float) -> Judgement | None:
    """A distribution of a known family but a scale of its own, in every place alike."""
    laws = (
        Law("normal", sample.rms),
        Law("uniform", sample.sketch.linf * (1 + 1 / sample.count)),
        Law("truncated_normal", sample.sketch.linf / 2 * (1 + 1 / sample.count)),
    )
    for law in laws:
        if abs(math.log(sample.rms / law.std)) > 0.05:
            continue
        fitted = fit(sample, law, free=True)
        parts = fitted.parts
        if fitted.p_value < alpha:
            continue
        places = structure(tensor, bool(sample.dropped))
        parts = parts | independence(places, law)
        if smallest(parts.values()) >= alpha:
            name = f"{law.family}, scale {law.scale:.4g}"
            best = Candidate(name, law, 99)
            evidence = _evidence(sample, best, fitted, parts) | {"scale": "estimated"}
            return Judgement(name, UNTOUCHED, smallest(parts.values()), gain=1.0, evidence=evidence)
    return None


def _from_constant(sketch: Sketch, start: float) -> Judgement:
    """How far the elements have moved from the constant that they began as."""
    moved = math.sqrt(max(0.0, sketch.var + (sketch.mean - start) ** 2))
    return Judgement(
        constant_name(start),
        LIGHTLY if moved <= 0.02 else TRAINED,
        p_value=0.0,
        evidence={"moved_rms": moved, "elements": sketch.count},
    )


def _evidence(
    sample: Sample, best: Candidate, fitted: Fit, parts: Mapping[str, float]
) -> dict[str, Any]:
    law = best.law
    found: dict[str, Any] = {
        "family": law.family,
        "nominal_std": law.std,
        "std": sample.rms,
        "max": sample.sketch.linf,
        "distance": fitted.distance,
        "p_values": dict(parts),
        "elements": sample.count,
    }
    if law.bound < math.inf:
        found["bound"] = law.bound
    if best.fans is not None:
        found["fan_in"], found["fan_out"] = best.fans.ins, best.fans.outs
    if sample.dropped:
        found["padding"] = f"{sample.dropped} zeros of one row left out"
    return found
