"""What a fitted linear estimator or pipeline computes, from its settings and its arrays' shapes.

From sklearn/linear_model/_base.py, _logistic.py, _stochastic_gradient.py, _ridge.py,
_glm/glm.py, preprocessing/_data.py and discriminant_analysis.py of scikit-learn 1.9.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import CorruptError, UnsupportedError
from ...estimators.described import Estimator
from ...layouts.sklearn import CLASSIFIERS, REGRESSORS, SCALERS
from ...tree import Tensor

_WEIGHTS = "--weights-only writes the arrays without a graph."
_LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")


@dataclass(frozen=True)
class Scaler:
    """An affine step, feature by feature: (x - shift) / divisor, or x * factor + offset.

    clip: the bounds that the result is cut to.
    """

    path: str
    kind: str
    shift: Tensor | None = None
    divisor: Tensor | None = None
    factor: Tensor | None = None
    offset: Tensor | None = None
    clip: tuple[float, float] | None = None


@dataclass(frozen=True)
class Linear:
    """Scalers, then scores = x @ kernel.T + bias, then what `link` makes of them.

    kernel: coef_, of shape (outputs, features), or (features,) where outputs is 1. bias:
    intercept_, or a number where it was not fitted. classes: None of a regressor.
    link: "identity", "exp"; of a classifier "decision" (no probabilities), "sigmoid", "sigmoid2"
    (of twice the score), "softmax", "one-vs-rest" (sigmoids over their sum), "modified_huber".
    """

    scalers: tuple[Scaler, ...]
    path: str
    kind: str
    kernel: Tensor
    bias: Tensor | float
    outputs: int
    features: int
    link: str
    classes: tuple[Any, ...] | None = None


def linear(estimator: Estimator) -> Linear:
    """What the estimator computes.

    Raises UnsupportedError for a step that is no scaler and for an estimator that is no linear
    model, each named; CorruptError where arrays do not fit each other.
    """
    *before, (path, model) = _steps(estimator, "")
    if model.kind not in (*REGRESSORS, *CLASSIFIERS):
        raise _unsupported(path, model, "is no linear model that wtools makes a graph of")
    kernel = model.tensors.get("coef_")
    if kernel is None or kernel.ndim not in (1, 2) or not kernel.size:
        raise _unsupported(path, model, "has no coef_: is it fitted?")
    outputs, features = (1, *kernel.shape) if kernel.ndim == 1 else kernel.shape
    bias = _bias(path, model, outputs)
    classes = _classes(path, model, outputs) if model.kind in CLASSIFIERS else None
    scalers = tuple(_scaler(at, step, features) for at, step in before)
    link = _link(path, model) if classes is None else _probability(path, model, len(classes))
    return Linear(scalers, path, model.kind, kernel, bias, outputs, features, link, classes)


def _steps(estimator: Estimator, path: str) -> Iterator[tuple[str, Estimator]]:
    """(path, step) of a pipeline and those in it, in order; of another estimator itself."""
    if not estimator.is_pipeline or not estimator.parts:
        yield path, estimator
        return
    for name, part in estimator.parts.items():
        yield from _steps(part, f"{path}.{name}" if path else name)


def _bias(path: str, model: Estimator, outputs: int) -> Tensor | float:
    bias = model.tensors.get("intercept_")
    if bias is None:
        value = model.values.get("intercept_", 0.0)
        return float(value) if _is_number(value) else 0.0
    if bias.shape not in ((), (1,), (outputs,)) or (bias.size == 1) != (outputs == 1):
        if bias.size == 1:  # SGD with one intercept for all is not made by scikit-learn
            raise _contradicts(path, model, f"{outputs} outputs and one intercept")
        raise _contradicts(path, model, f"{outputs} outputs, intercepts {list(bias.shape)}")
    return bias


def _classes(path: str, model: Estimator, outputs: int) -> tuple[Any, ...]:
    binarizer = model.parts.get("_label_binarizer", model)
    if str(binarizer.values.get("y_type_", "")).startswith("multilabel"):
        raise _unsupported(path, model, "gives several labels to a sample")
    found = model.values.get("classes_", binarizer.values.get("classes_"))
    if not isinstance(found, list) or len(found) < 2:
        raise _unsupported(path, model, "has classes that are not known")
    if outputs != (1 if len(found) == 2 else len(found)):
        raise _contradicts(path, model, f"{len(found)} classes, {outputs} rows of coefficients")
    if len({type(one) for one in found}) > 1 or not isinstance(found[0], (bool, int, float, str)):
        raise _unsupported(path, model, "has classes of several types")
    if type(found[0]) is float and not all(map(math.isfinite, found)):
        raise _unsupported(path, model, "has classes that are no numbers")
    if type(found[0]) is int and not all(-(2**63) <= one < 2**63 for one in found):
        raise _unsupported(path, model, "has classes of more than 64 bits")
    return tuple(found)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _link(path: str, model: Estimator) -> str:
    """Of a regressor: what makes a prediction of a score."""
    if model.kind in ("PoissonRegressor", "GammaRegressor"):
        return "exp"
    if model.kind == "TweedieRegressor":
        link, power = model.settings.get("link", "auto"), model.settings.get("power", 0.0)
        if link not in ("auto", "log", "identity") or not _is_number(power):
            raise _unsupported(path, model, f"has a link {link!r} of power {power!r}")
        return "exp" if link == "log" or (link == "auto" and power > 0) else "identity"
    return "identity"


def _probability(path: str, model: Estimator, classes: int) -> str:
    """Of a classifier: what makes probabilities of scores."""
    settings: Mapping[str, Any] = model.settings
    if model.kind == "LinearDiscriminantAnalysis":
        return "sigmoid" if classes == 2 else "softmax"
    if model.kind in _LOGISTIC:
        way, solver = settings.get("multi_class", "auto"), settings.get("solver")
        if way in ("ovr", "warn"):  # an option until scikit-learn 1.8
            return "sigmoid" if classes == 2 else "one-vs-rest"
        if way == "multinomial":
            return "sigmoid2" if classes == 2 else "softmax"
        if classes == 2:
            return "sigmoid"
        return "one-vs-rest" if solver == "liblinear" else "softmax"
    if model.kind == "SGDClassifier":
        loss = settings.get("loss")
        if loss in ("log_loss", "log"):
            return "sigmoid" if classes == 2 else "one-vs-rest"
        return "modified_huber" if loss == "modified_huber" else "decision"
    return "decision"


def _scaler(path: str, step: Estimator, features: int) -> Scaler:
    if step.kind not in SCALERS:
        raise _unsupported(path, step, "is no step that wtools makes a graph of")

    def array(name: str) -> Tensor | None:
        found = step.tensors.get(name)
        if found is not None and found.shape != (features,):
            raise _contradicts(path, step, f"{name} {list(found.shape)} for {features} features")
        return found

    if step.kind == "MinMaxScaler":
        factor, offset = array("scale_"), array("min_")
        if factor is None or offset is None:
            raise _unsupported(path, step, "has no scale_ and min_: is it fitted?")
        cut = _bounds(path, step) if step.settings.get("clip") else None
        return Scaler(path, step.kind, factor=factor, offset=offset, clip=cut)
    cut = (-1.0, 1.0) if step.kind == "MaxAbsScaler" and step.settings.get("clip") else None
    shift = {"StandardScaler": "mean_", "RobustScaler": "center_"}.get(step.kind, "")
    centered = step.settings.get("with_mean", step.settings.get("with_centering", True))
    scaled = step.settings.get("with_std", step.settings.get("with_scaling", True))
    divisor = array("scale_") if scaled else None
    mean = array(shift) if shift and centered else None
    if (scaled and divisor is None) or (shift and centered and mean is None):
        raise _unsupported(path, step, "lacks its arrays: is it fitted?")
    return Scaler(path, step.kind, shift=mean, divisor=divisor, clip=cut)


def _bounds(path: str, step: Estimator) -> tuple[float, float]:
    found = step.settings.get("feature_range")
    if not isinstance(found, list) or len(found) != 2 or not all(map(_is_number, found)):
        raise _unsupported(path, step, f"has no range but {found!r:.60}")
    return float(found[0]), float(found[1])


def _unsupported(path: str, step: Estimator, reason: str) -> UnsupportedError:
    return UnsupportedError(f"{step.kind} {reason}", place=path or None, advice=_WEIGHTS)


def _contradicts(path: str, step: Estimator, reason: str) -> CorruptError:
    return CorruptError(f"{step.kind} contradicts itself: {reason}", place=path or None)
