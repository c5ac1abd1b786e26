"""How often `wtools sparsity` says rightly how weights were trained, on held-back seeds.

python tests/sparsity_accuracy.py        measures, and writes the tables of docs/sparsity.md
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import wtools
from wtools.tree import Tensor, WeightTree

RESULTS = Path(__file__).parent / "sparsity_accuracy.json"
SEEDS = range(300, 320)
CLASSES = ("none", "L1", "L2", "ElasticNet", "magnitude", "2:4", "slimming")
TRUTH = {
    "none": "none",
    "L2": "L2",
    "L1": "L1",
    "L1 subgradient": "L1",
    "ElasticNet": "ElasticNet",
    "ElasticNet subgradient": "ElasticNet",
    "magnitude": "magnitude",
    "magnitude, tuned": "magnitude",
    "2:4": "2:4",
    "slimming": "slimming",
    "least squares": "none",
    "Ridge": "L2",
    "Lasso": "L1",
    "logistic L1": "L1",
    "logistic L2": "L2",
}
TOLD = {  # how ways are told of in the documentation, where the name does not do
    "none": "nothing",
    "L1": "L1 by proximal steps",
    "L1 subgradient": "L1 in the loss",
    "ElasticNet": "ElasticNet by proximal steps",
    "ElasticNet subgradient": "L1 in the loss, and weight decay",
    "magnitude": "magnitude pruning (50 to 90 %)",
    "magnitude, tuned": "the same, trained on",
    "2:4": "2:4 pruning",
    "slimming": "L1 on the gammas",
}
TWINS = {"least squares": "Ridge", "Ridge": "least squares", "Lasso": "ElasticNet"}
TWINS |= {"ElasticNet": "Lasso"}


def class_of(explanation: str) -> str:
    """One of CLASSES; "several" where the explanation leaves it open, "other"."""
    begins = {
        "no sign": "none",
        "least squares or": "several",
        "least squares:": "none",
        "L1 (or": "several",
        "L1": "L1",
        "L2": "L2",
        "ElasticNet": "ElasticNet",
        "magnitude": "magnitude",
        "2:4": "2:4",
        "network slimming": "slimming",
    }
    return next((kind for text, kind in begins.items() if explanation.startswith(text)), "other")


def tree(arrays: dict[str, np.ndarray]) -> WeightTree:
    return WeightTree([Tensor.of(n, a) for n, a in arrays.items()], separator=".")


def networks(seeds: Iterable[int]) -> dict[str, Counter[str]]:
    """Way -> classes found."""
    from analyzers import sparsified

    found = {way: Counter[str]() for way in sparsified.WAYS}
    for seed in seeds:
        for way, counts in found.items():
            summary = wtools.sparsity(tree(sparsified.trained(way, seed)), threads=1).summary
            counts[class_of(summary["explanation"])] += 1
    return found


def linear(seeds: Iterable[int]) -> dict[str, dict[str, Counter[str]]]:
    """From coefficients alone, from .skops files, and with a twin: way -> classes found."""
    import skops.io
    from analyzers import sparsified

    ways = tuple(sparsified.LINEAR_EXPECTED)
    alone, stated = ({way: Counter[str]() for way in ways} for _ in range(2))
    twins = {way: Counter[str]() for way in TWINS}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.skops"
        for seed in seeds:
            models = {way: sparsified.fitted(way, seed) for way in ways}
            trees = {way: tree({"coef_": model.coef_}) for way, model in models.items()}
            for way, model in models.items():
                summary = wtools.sparsity(trees[way]).summary
                alone[way][class_of(summary["explanation"])] += 1
                skops.io.dump(model, path)
                with wtools.open(path) as file:
                    stated[way][class_of(wtools.sparsity(file).summary["explanation"])] += 1
            for way, twin in TWINS.items():
                report = wtools.sparsity(trees[way], compare=trees[twin])
                twins[way][beside(report.summary["compared"]["beside_the_twin"])] += 1
    return {"alone": alone, "stated": stated, "twins": twins}


def beside(told: str) -> str:
    """The words on a twin without what is the same."""
    return told.partition(" than")[0] or "nothing"


def measure() -> None:
    """Write what is measured where the tables find it."""
    warnings.simplefilter("ignore")  # of solvers that stop early
    found = {"networks": networks(SEEDS), **linear(SEEDS)}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def confusion() -> str:
    """Networks: the classes found as Markdown, with the share that is right."""
    found = json.loads(RESULTS.read_text())["networks"]
    others = [c for c in ("several", "other") if any(c in counts for counts in found.values())]
    columns = [*CLASSES, *others]
    lines = [f"| trained with | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    right = total = 0
    for way, counts in found.items():
        cells = [str(counts[c]) if c in counts else "" for c in columns]
        lines.append(f"| {TOLD.get(way, way)} | {' | '.join(cells)} |")
        right += counts.get(TRUTH[way], 0)
        total += sum(counts.values())
    return "\n".join([*lines, "", f"{right} of {total} networks ({right / total:.1%}) are right."])


def coefficients() -> str:
    """Linear models: from coefficients alone, from a file that names the class, with a twin."""
    found = json.loads(RESULTS.read_text())
    lines = ["| linear model | coefficients alone | class in the file | next to a twin |"]
    lines.append("| --- " * 4 + "|")
    from analyzers.sparsified import LINEAR_EXPECTED

    for way, counts in found["stated"].items():
        alone = f"{LINEAR_EXPECTED[way]}: {found['alone'][way].get('several', 0)}"
        stated = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
        twins = found["twins"].get(way, {})
        told = ", ".join(f"{words}: {count}" for words, count in twins.items())
        beside_it = f" (beside {TWINS[way]})" if twins else ""
        lines.append(f"| {way} | {alone} | {stated} | {told}{beside_it} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    measure()
    print(confusion(), coefficients(), sep="\n\n")
