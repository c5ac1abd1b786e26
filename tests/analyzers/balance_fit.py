"""Fits the regressions of wtools/analyzers/sparse/balance.py.

python tests/analyzers/balance_fit.py        trains networks, and prints the numbers (minutes)

Networks of several sizes, trained for 30 to 80 epochs, on seeds from 1000 on, which no test uses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import wtools
from wtools.analyzers.sparse import balance
from wtools.tree import Tensor, WeightTree

SEEDS = range(1000, 1200)
HIDDEN = ((96, 48), (64,), (128, 64, 32), (48, 48))
FIGURES = ("score_sums", "score_signs", "signs_beyond_zeros", "sums_with_signs", "score_zeros")


def figures(way: str, seed: int) -> dict[str, float]:
    from analyzers import sparsified

    rng = np.random.default_rng(seed)
    hidden, epochs = HIDDEN[rng.integers(len(HIDDEN))], int(rng.choice([30, 40, 60, 80]))
    arrays = sparsified.trained(way, seed, epochs, hidden)
    tree = WeightTree([Tensor.of(n, a) for n, a in arrays.items()], separator=".")
    evidence = wtools.sparsity(tree, threads=1).summary["evidence"]
    return dict(evidence)


def main() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    rows = [(way, figures(way, seed)) for seed in SEEDS for way in ("L1", "ElasticNet")]
    known = [(way, row) for way, row in rows if set(FIGURES) <= row.keys()]
    x = np.array([[row[c] for c in FIGURES] for _, row in known])
    y = np.array([way == "ElasticNet" for way, _ in known])
    right = cross_val_score(LogisticRegression(C=10, max_iter=5000), x, y, cv=10).mean()
    model = LogisticRegression(C=10, max_iter=5000).fit(x, y)
    weights = dict(zip(FIGURES, model.coef_[0].round(2).tolist(), strict=True))
    print(f"ELASTIC = {balance.Regression(round(float(model.intercept_[0]), 2), weights)}")
    print(f"# {len(known)} of {len(rows)} networks, {right:.1%} right in cross-validation")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
