"""L1 alone, or with L2 beside it? What the last layer of a classifier keeps in balance tells.

The scores of a softmax may all be shifted by one number. So the gradients of the weights from one
input of the last layer add up to zero over its outputs, in every step, whatever the data. What
moves their sum is the penalty alone, l1 sign(w) + l2 w of each weight that is not zero, and it
rests where

    l1 (sum of signs) + l2 (sum of weights) = 0

but for what the weights at zero take up, each of them up to l1. Under L1 alone the signs come into
balance and the sum stays where it then is; L2 beside it pulls the sum itself to zero, or holds it
against the signs.

Training stops before this is exact. The figures are put together by a logistic regression, fitted
to networks that tests/analyzers/balance_fit.py trains on seeds that no test uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .measured import Measured
from .names import (
    DECAY,
    PROXIMAL,
    PROXIMAL_ELASTIC,
    PROXIMAL_L1,
    SUBGRADIENT,
    SUBGRADIENT_ELASTIC,
    SUBGRADIENT_L1,
)

_LEAST = 6  # inputs with enough weights, of fewer the figures say little
_CLASSES = 3  # weights of an input that have to be alive: two cannot but balance
_UNBALANCED = (0.9, 0.3)  # mean squares of signs, of sums: neither balances, so it is no softmax
_SURE = 0.6  # probability from which L1 or ElasticNet is named
_DECAYED = (0.005, 0.05)  # mean square of the sums under L2: at the end, and on the way
_HELD = 0.25  # of those that L2 holds against the signs
_AGAINST = -0.4  # the correlation of sums and signs then
_STRONGLY = -0.6  # more than chance does with sums that are zero


@dataclass(frozen=True)
class Regression:
    """The log odds of ElasticNet against L1: a constant and a weight for each figure."""

    constant: float
    weights: Mapping[str, float]

    def probability(self, figures: Mapping[str, float]) -> float:
        odds = self.constant + sum(w * figures[name] for name, w in self.weights.items())
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, odds))))


ELASTIC = Regression(
    -13.61,
    {
        "score_sums": -1.68,
        "score_signs": 1.4,
        "signs_beyond_zeros": 6.85,
        "sums_with_signs": -1.9,
        "score_zeros": 8.79,
    },
)


def balanced(explanation: str, last: Measured) -> tuple[str, dict[str, float]]:
    """The explanation of a network, made exact where its last kernel tells; and the figures.

    Without zeros a weight of L1 has a spike, in which signs do not count. L2 alone pulls the sums
    to zero as fast as the weights, the two together against the signs.
    """
    if explanation not in (PROXIMAL, SUBGRADIENT, DECAY):
        return explanation, {}
    figures = scores(last)
    if not figures:
        return explanation, {}
    if explanation == PROXIMAL:
        p = ELASTIC.probability(figures)
        figures = {"probability_elasticnet": p, **figures}
        named = PROXIMAL_ELASTIC if p >= _SURE else PROXIMAL_L1 if p <= 1 - _SURE else PROXIMAL
        return named, figures
    sums, together = math.exp(figures["score_sums"]), figures["sums_with_signs"]
    held = sums < _HELD and together < _AGAINST
    if (sums < _DECAYED[0] and together > _STRONGLY) or (sums < _DECAYED[1] and together > 0):
        return DECAY, figures
    if held:
        return SUBGRADIENT_ELASTIC, figures
    return (SUBGRADIENT_L1 if explanation == SUBGRADIENT else explanation), figures


def scores(last: Measured) -> dict[str, float]:
    """How the weights of a classifier's last kernel add up over its outputs, for each input.

    score_sums, score_signs: log mean squares of the sums of weights and of their signs, over what
    they would be without a balance; signs_beyond_zeros: the share of the sums of signs that weights
    at zero cannot take up; sums_with_signs: their correlation. Empty where the layer does not tell.
    """
    structure = last.structure
    if structure is None or structure.sums is None or last.outputs < _CLASSES:
        return {}
    chosen = structure.sums[3] >= _CLASSES
    if np.count_nonzero(chosen) < _LEAST:
        return {}
    total, signs, energy, alive = structure.sums[:, chosen]
    if not np.isfinite(energy).all():
        return {}
    sums, balance = (total**2).sum() / energy.sum(), (signs**2).sum() / alive.sum()
    if balance > _UNBALANCED[0] and sums > _UNBALANCED[1]:
        return {}
    beyond = np.maximum(np.abs(signs) - (last.outputs - alive), 0).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        together = float(np.nan_to_num(np.corrcoef(total, signs)[0, 1]))
    return {
        "score_sums": math.log(float(sums) + 1e-9),
        "score_signs": math.log(float(balance) + 0.01),
        "signs_beyond_zeros": float(beyond / max(1.0, np.abs(signs).sum())),
        "sums_with_signs": together,
        "score_zeros": 1 - float(structure.inputs.sum()) / last.tensor.size,
    }
