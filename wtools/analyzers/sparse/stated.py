"""The penalty that weights were trained under, where their file says it.

scikit-learn's estimators are their penalty (Lasso) or have it as a setting (`penalty`, `l1_ratio`);
skl2onnx names a graph after the class it was made from; Keras' layers keep their regularizers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...layers import layer_path
from ...tree import Tensor, WeightTree

NOTHING, ONE, TWO, BOTH = "least squares", "L1", "L2", "ElasticNet"

_CLASSES = {
    **dict.fromkeys(("LinearRegression", "Perceptron", "Lars"), NOTHING),
    **dict.fromkeys(("Ridge", "RidgeCV", "RidgeClassifier", "RidgeClassifierCV"), TWO),
    **dict.fromkeys(("BayesianRidge", "LinearSVR", "MLPClassifier", "MLPRegressor"), TWO),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), TWO),
    **dict.fromkeys(("HuberRegressor", "LinearSVC"), TWO),
    **dict.fromkeys(("Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"), ONE),
    **dict.fromkeys(("MultiTaskLasso", "MultiTaskLassoCV", "QuantileRegressor"), ONE),
    **dict.fromkeys(("ElasticNet", "ElasticNetCV"), BOTH),
    **dict.fromkeys(("MultiTaskElasticNet", "MultiTaskElasticNetCV"), BOTH),
    **dict.fromkeys(("LogisticRegression", "LogisticRegressionCV"), TWO),
    **dict.fromkeys(("SGDClassifier", "SGDRegressor"), TWO),
}
_NAMED = {"l1": ONE, "l2": TWO, "elasticnet": BOTH, "none": NOTHING, "None": NOTHING}
_MIXED = ("ElasticNet", "MultiTaskElasticNet", "Logistic", "SGD")  # where l1_ratio says how
_BY_SETTING = ("Logistic", "SGD", "LinearSVC", "Perceptron")
_STRENGTHS = ("penalty", "alpha", "C", "l1_ratio")
_GRAPH = re.compile(r"ONNX\((\w+)\)")
_DEEPEST = 16


@dataclass(frozen=True)
class Penalty:
    """kind: NOTHING, ONE (L1), TWO (L2) or BOTH; told: how the file says it."""

    kind: str
    told: str


def penalties(tree: WeightTree) -> dict[str, Penalty]:
    """Name of a weight -> the penalty it was trained under, where the file says so."""
    graph = _GRAPH.fullmatch(str(tree.metadata.get("graph", "")))
    if graph:
        penalty = _of_class(graph[1], None)
        return dict.fromkeys(tree, penalty) if penalty else {}
    if not isinstance(tree.architecture, Mapping):
        return {}
    found: dict[str, Penalty] = {}
    estimators = dict(_estimators(tree.architecture.get("sklearn"), ""))
    layers = dict(_layers(tree.architecture.get("keras"), "", 0))
    for name, tensor in tree.items():
        penalty = _estimated(tensor, estimators) or _regularized(tensor, tree, layers)
        if penalty is not None:
            found[name] = penalty
    return found


def _estimators(told: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(told, Mapping):
        yield path, told
        for name, part in told.get("parts", {}).items():
            yield from _estimators(part, f"{path}.{name}" if path else name)


def _estimated(tensor: Tensor, estimators: Mapping[str, Mapping[str, Any]]) -> Penalty | None:
    """Of the coefficients of an estimator."""
    told = estimators.get(tensor.layer)
    if told is None or not tensor.name[len(tensor.layer) :].lstrip(".").startswith("coef"):
        return None
    return _of_class(str(told.get("class")), told.get("settings", {}))


def _of_class(name: str, settings: Mapping[str, Any] | None) -> Penalty | None:
    """settings: None where the file does not have them, so that only the class may tell."""
    kind = _CLASSES.get(name)
    if kind is None or (settings is None and name.startswith(_BY_SETTING)):
        return None
    settings = settings or {}
    shown = {k: settings[k] for k in _STRENGTHS if settings.get(k) not in (None, "deprecated")}
    named, ratio = settings.get("penalty", "deprecated"), settings.get("l1_ratio")
    if named != "deprecated":
        kind = _NAMED.get(str(named), kind)
    if name.startswith("Logistic") and named != "elasticnet" and named != "deprecated":
        shown.pop("l1_ratio", None)
    elif name.startswith(_MIXED) and isinstance(ratio, int | float):
        if name.startswith("SGD") and named != "elasticnet":
            shown.pop("l1_ratio", None)
        else:
            kind = ONE if ratio == 1 else TWO if ratio == 0 else BOTH
    elif not name.startswith(_MIXED):
        shown.pop("l1_ratio", None)
    if settings.get("alpha") == 0 or settings.get("C") == math.inf:
        kind = NOTHING
    return Penalty(kind, _call(name, shown))


def _call(name: str, values: Mapping[str, Any]) -> str:
    """As one would write it: `Lasso(alpha=0.01)`."""
    told = (f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
    return f"{name}({', '.join(told)})" if values else name


def _layers(config: Any, path: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, settings) of a Keras model's layers; those within wrappers under the wrapper's."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    layers = inner.get("layers") if isinstance(inner, Mapping) else inner
    if depth > _DEEPEST or not isinstance(layers, list):
        return
    for one in layers:
        own = one.get("config") if isinstance(one, Mapping) else None
        if not isinstance(own, Mapping):
            continue
        name = f"{path}/{own.get('name', '')}" if path else str(own.get("name", ""))
        wrapped = own.get("layer")
        within = wrapped.get("config") if isinstance(wrapped, Mapping) else None
        yield name, within if isinstance(within, Mapping) else own
        yield from _layers(one, name, depth + 1)


def _regularized(
    tensor: Tensor, tree: WeightTree, layers: Mapping[str, Mapping[str, Any]]
) -> Penalty | None:
    """Of a weight whose layer has a regularizer for it: `kernel_regularizer` for `kernel`."""
    path, _, role = tensor.name.rpartition(tree.separator)
    own = layers.get(path) or layers.get(layer_path(tensor, tree.separator))
    told = own.get(f"{role}_regularizer") if own else None
    settings = told.get("config") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or not isinstance(settings, Mapping):
        return None
    one, two = (_number(settings.get(key)) for key in ("l1", "l2"))
    if not one and not two:
        return None
    kind = BOTH if one and two else ONE if one else TWO
    values = {k: v for k, v in (("l1", one), ("l2", two)) if v}
    return Penalty(kind, _call(str(told.get("class_name", "regularizer")), values))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
