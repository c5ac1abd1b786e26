"""The table of docs/sklearn.md that the code it describes writes."""

from __future__ import annotations


def estimators() -> str:
    """The table of the estimators of scikit-learn that become graphs."""
    from wtools.layouts.sklearn import CLASSIFIERS, LINKED, REGRESSORS, SCALERS

    scored = {"SGDClassifier", "RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron"}
    scored |= {"PassiveAggressiveClassifier"}
    rows = {
        "regressors": [name for name in REGRESSORS if name not in LINKED],
        "with their link": LINKED,
        "classifiers with probabilities": [
            *(name for name in CLASSIFIERS if name not in scored),
            "SGDClassifier (log_loss, modified_huber)",
        ],
        "classifiers with scores": [name for name in CLASSIFIERS if name in scored],
        "steps before them": SCALERS,
    }
    lines = ["| what | which |", "| --- | --- |"]
    for what, names in rows.items():
        listed = ", ".join(
            f"`{name.partition(' ')[0]}`{name[len(name.partition(' ')[0]) :]}" for name in names
        )
        lines.append(f"| {what} | {listed} |")
    return "\n".join(lines)
