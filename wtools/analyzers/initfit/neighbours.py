"""What a tensor's neighbours say of it, where its own elements leave the matter open.

Few elements fit many initializers, and small steps hide in a normal distribution, which has no
bound that they would cross. But what one optimizer moves, it moves together: a layer whose bias
is no longer what it was drawn as has been trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ...layers import LayerMap
from .judge import FEW, LIGHTLY, UNTOUCHED, Judgement

_NOT_LEARNED = frozenset({"moving_mean", "moving_variance"})  # a frozen layer's move too


def with_neighbours(found: LayerMap, judged: Mapping[str, Judgement]) -> dict[str, Judgement]:
    """The judgements, those of open cases as their layer's and the model's other tensors say."""
    current = {name: _shared(name, j, found, judged) for name, j in judged.items()}
    for _ in range(2):  # a kernel that has been settled settles its bias
        model = _Model(found, current)
        current = {name: _open_case(name, j, model) or j for name, j in current.items()}
    return current


def _shared(name: str, j: Judgement, found: LayerMap, judged: Mapping[str, Judgement]) -> Judgement:
    """A scale that no initializer has: is it at least that of another layer too?"""
    if j.alone is None:
        return j
    layer = found.tensors[name].layer
    others = (k for other, k in judged.items() if found.tensors[other].layer != layer)
    return replace(j, alone=None) if any(_same_scale(j, k) for k in others) else j.alone


def _same_scale(a: Judgement, b: Judgement) -> bool:
    """Has b a scale without a name, and does a's agree with it within three standard errors?"""
    if b.evidence.get("scale") != "estimated" or a.evidence["family"] != b.evidence["family"]:
        return False
    normal = a.evidence["family"] == "normal"
    counts = (a.evidence["elements"], b.evidence["elements"])
    errors = [1 / (2 * n) if normal else (4 / n) ** 2 for n in counts]
    measured = "std" if normal else "max"
    return abs(math.log(a.evidence[measured] / b.evidence[measured])) < 3 * math.sqrt(sum(errors))


class _Model:
    """What is known of all tensors without their neighbours."""

    def __init__(self, found: LayerMap, judged: Mapping[str, Judgement]) -> None:
        self.layer_of = {name: found.tensors[name].layer for name in judged}
        self.biases = {name for name in judged if "bias" in found.tensors[name].meaning.role}
        self.moved: dict[str, set[str]] = {}
        for name, j in judged.items():
            if j.verdict != UNTOUCHED and found.tensors[name].meaning.role not in _NOT_LEARNED:
                self.moved.setdefault(self.layer_of[name], set()).add(name)
        large = {
            name: j
            for name, j in judged.items()
            if found.tensors[name].tensor.size >= FEW and not j.exact
        }
        self.sure = {name: j for name, j in large.items() if not _weak(j)} or large
        fresh = [j for j in self.sure.values() if j.verdict == UNTOUCHED]
        if not self.sure:  # a model of small tensors only
            fresh = [j for j in judged.values() if j.verdict == UNTOUCHED and not j.exact]
        often = Counter(n for j in large.values() if _weak(j) for n in _schemes(j))
        self.drawn = {name for j in fresh for name in _schemes(j)}
        self.unnamed = [j for j in fresh if j.evidence.get("scale") == "estimated"]
        self.drawn |= {name for name, times in often.items() if times > 1}


def _open_case(name: str, j: Judgement, model: _Model) -> Judgement | None:
    """The judgement that neighbours turn it into, None where they do not."""
    layer = model.layer_of[name]
    hidden = j.verdict == UNTOUCHED and not j.exact and j.evidence.get("family") == "normal"
    if (hidden or _weak(j)) and model.moved.get(layer, set()) - {name}:
        return _lightly(j, "fits, but other tensors of its layer have moved")
    if not _weak(j):
        return None
    beside = [other for other in model.sure if model.layer_of[other] == layer and other != name]
    if beside:  # none of them has moved
        return None
    if not model.drawn:
        return _lightly(j, "fits, but many would, and all of the model has moved")
    if any(_same_scale(j, other) for other in model.unnamed):
        return None
    if name not in model.biases and not model.drawn & _schemes(j):
        return _lightly(j, "fits, but many would, and nothing else in the model was drawn so")
    return None


def _weak(found: Judgement) -> bool:
    return found.verdict == UNTOUCHED and found.weak


def _schemes(found: Judgement) -> set[str]:
    return {name.partition(" (")[0] for name in (found.fit, *found.ties)}


def _lightly(found: Judgement, why: str) -> Judgement:
    return replace(found, verdict=LIGHTLY, evidence={**found.evidence, "neighbours": why})
