"""Fitted estimators of scikit-learn by name, on its own data sets: diabetes, iris, digits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from sklearn import linear_model as lm
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

Data = tuple[Any, Any]


@cache
def diabetes() -> Data:
    return load_diabetes(return_X_y=True, as_frame=True, scaled=False)


@cache
def many_targets() -> Data:
    x, y = diabetes()
    return x, np.stack([y, 2 * y + x["bmi"], x["s5"] - y], axis=1)


@cache
def positive() -> Data:
    x, y = diabetes()
    return (x - x.mean()) / x.std(), y / y.mean()


@cache
def iris() -> Data:
    return load_iris(return_X_y=True, as_frame=True)


@cache
def iris_names() -> Data:
    x, y = iris()
    return x, np.array(["setosa", "versicolor", "virginica"])[y]


@cache
def iris_odd() -> Data:
    """Classes that do not count from 0."""
    x, y = iris()
    return x, np.array([-3, 7, 40])[y]


@cache
def two() -> Data:
    x, y = iris()
    return x[y > 0], y[y > 0]


@cache
def two_names() -> Data:
    x, y = two()
    return x, np.array(["", "versicolor", "größer"])[y]


@cache
def two_truths() -> Data:
    x, y = two()
    return x, y == 2


@cache
def two_floats() -> Data:
    x, y = two()
    return x, y.to_numpy().astype(float)


@cache
def digits() -> Data:
    x, y = load_digits(return_X_y=True)
    return x / 16, y


REGRESSORS: dict[str, tuple[Any, Callable[[], Data]]] = {
    "LinearRegression": (lm.LinearRegression(), diabetes),
    "LinearRegression without intercept": (lm.LinearRegression(fit_intercept=False), diabetes),
    "LinearRegression, 3 targets": (lm.LinearRegression(), many_targets),
    "LinearRegression, 3 targets without intercept": (
        lm.LinearRegression(fit_intercept=False),
        many_targets,
    ),
    "Ridge": (lm.Ridge(0.5), diabetes),
    "Ridge, 3 targets": (lm.Ridge(), many_targets),
    "RidgeCV": (lm.RidgeCV(), diabetes),
    "Lasso": (lm.Lasso(1.0), diabetes),
    "LassoCV": (lm.LassoCV(n_jobs=1), diabetes),
    "LassoLars": (lm.LassoLars(0.1), diabetes),
    "LassoLarsCV": (lm.LassoLarsCV(), diabetes),
    "LassoLarsIC": (lm.LassoLarsIC(), diabetes),
    "Lars": (lm.Lars(), diabetes),
    "LarsCV": (lm.LarsCV(), diabetes),
    "ElasticNet": (lm.ElasticNet(0.5, l1_ratio=0.3), diabetes),
    "ElasticNetCV": (lm.ElasticNetCV(), diabetes),
    "OrthogonalMatchingPursuit": (lm.OrthogonalMatchingPursuit(n_nonzero_coefs=4), diabetes),
    "OrthogonalMatchingPursuitCV": (lm.OrthogonalMatchingPursuitCV(), diabetes),
    "BayesianRidge": (lm.BayesianRidge(), diabetes),
    "ARDRegression": (lm.ARDRegression(), diabetes),
    "HuberRegressor": (lm.HuberRegressor(max_iter=500), positive),
    "TheilSenRegressor": (lm.TheilSenRegressor(random_state=0, max_subpopulation=100), positive),
    "QuantileRegressor": (lm.QuantileRegressor(alpha=0.01, solver="highs"), positive),
    "SGDRegressor": (lm.SGDRegressor(random_state=0), positive),
    "PassiveAggressiveRegressor": (lm.PassiveAggressiveRegressor(random_state=0), positive),
    "LinearSVR": (LinearSVR(random_state=0), positive),
    "MultiTaskLasso": (lm.MultiTaskLasso(0.5), many_targets),
    "MultiTaskLassoCV": (lm.MultiTaskLassoCV(), many_targets),
    "MultiTaskElasticNet": (lm.MultiTaskElasticNet(0.5), many_targets),
    "MultiTaskElasticNetCV": (lm.MultiTaskElasticNetCV(), many_targets),
    "PoissonRegressor": (lm.PoissonRegressor(), positive),
    "GammaRegressor": (lm.GammaRegressor(), positive),
    "TweedieRegressor, normal": (lm.TweedieRegressor(power=0), positive),
    "TweedieRegressor, compound": (lm.TweedieRegressor(power=1.5), positive),
    "TweedieRegressor, log link": (lm.TweedieRegressor(power=0, link="log"), positive),
    "TweedieRegressor, identity": (
        lm.TweedieRegressor(power=1.5, link="identity", alpha=0.1),
        positive,
    ),
    "StandardScaler, Lasso": (
        Pipeline([("scaler", StandardScaler()), ("lasso", lm.Lasso(1.0))]),
        diabetes,
    ),
    "StandardScaler without mean, Ridge": (
        make_pipeline(StandardScaler(with_mean=False), lm.Ridge()),
        diabetes,
    ),
    "StandardScaler without std, Ridge": (
        make_pipeline(StandardScaler(with_std=False), lm.Ridge()),
        diabetes,
    ),
    "MinMaxScaler, ElasticNet": (
        make_pipeline(MinMaxScaler((-1, 2)), lm.ElasticNet(0.01)),
        diabetes,
    ),
    "MinMaxScaler with clip, Ridge": (make_pipeline(MinMaxScaler(clip=True), lm.Ridge()), diabetes),
    "MaxAbsScaler, Ridge": (make_pipeline(MaxAbsScaler(), lm.Ridge()), diabetes),
    "RobustScaler, Ridge": (make_pipeline(RobustScaler(), lm.Ridge()), diabetes),
    "pipeline in a pipeline": (
        make_pipeline(
            make_pipeline(MaxAbsScaler(), StandardScaler()), "passthrough", lm.PoissonRegressor()
        ),
        positive,
    ),
}
_LOGISTIC = lm.LogisticRegression(max_iter=2000)
CLASSIFIERS: dict[str, tuple[Any, Callable[[], Data]]] = {
    "LogisticRegression": (_LOGISTIC, iris),
    "LogisticRegression, 2 classes": (_LOGISTIC, two),
    "LogisticRegression, names": (_LOGISTIC, iris_names),
    "LogisticRegression, odd numbers": (_LOGISTIC, iris_odd),
    "LogisticRegression, 2 names": (_LOGISTIC, two_names),
    "LogisticRegression, truths": (_LOGISTIC, two_truths),
    "LogisticRegression, floats": (_LOGISTIC, two_floats),
    "LogisticRegression, digits": (_LOGISTIC, digits),
    "LogisticRegression, L1": (
        lm.LogisticRegression(l1_ratio=1.0, solver="saga", C=0.1, max_iter=500),
        digits,
    ),
    "LogisticRegression, liblinear": (lm.LogisticRegression(solver="liblinear"), two),
    "LogisticRegression without intercept": (
        lm.LogisticRegression(fit_intercept=False, max_iter=2000),
        iris,
    ),
    "LogisticRegressionCV": (lm.LogisticRegressionCV(max_iter=2000, Cs=3), iris),
    "RidgeClassifier": (lm.RidgeClassifier(), iris),
    "RidgeClassifier, 2 names": (lm.RidgeClassifier(), two_names),
    "RidgeClassifierCV": (lm.RidgeClassifierCV(), digits),
    "LinearSVC": (LinearSVC(random_state=0), iris),
    "LinearSVC, 2 classes": (LinearSVC(random_state=0), two),
    "SGDClassifier": (lm.SGDClassifier(random_state=0), iris),
    "SGDClassifier, log_loss": (lm.SGDClassifier(loss="log_loss", random_state=0), digits),
    "SGDClassifier, log_loss, 2 classes": (
        lm.SGDClassifier(loss="log_loss", random_state=0),
        two,
    ),
    "SGDClassifier, modified_huber": (
        lm.SGDClassifier(loss="modified_huber", random_state=0, alpha=0.1),
        digits,
    ),
    "SGDClassifier, modified_huber, 2 classes": (
        lm.SGDClassifier(loss="modified_huber", random_state=0, alpha=0.1),
        two,
    ),
    "Perceptron": (lm.Perceptron(random_state=0), iris_names),
    "PassiveAggressiveClassifier": (lm.PassiveAggressiveClassifier(random_state=0), digits),
    "LinearDiscriminantAnalysis": (LinearDiscriminantAnalysis(), iris),
    "LinearDiscriminantAnalysis, 2 classes": (LinearDiscriminantAnalysis(), two),
    "StandardScaler, LogisticRegression": (make_pipeline(StandardScaler(), _LOGISTIC), iris_names),
    "MinMaxScaler, LinearSVC": (make_pipeline(MinMaxScaler(), LinearSVC(random_state=0)), digits),
}
ALL = REGRESSORS | CLASSIFIERS


@cache
def fitted(name: str) -> Any:
    """The estimator of that name, fitted."""
    from sklearn.base import clone

    estimator, data = ALL[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return clone(estimator).fit(*data())


def inputs(name: str) -> Any:
    """What it was fitted on, as float32 as a graph takes it."""
    return np.ascontiguousarray(ALL[name][1]()[0], np.float32)
