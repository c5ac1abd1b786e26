"""The conventions of scikit-learn's linear models and scalers, by the names of their attributes.

coef_ is (targets or classes, features); with one target most have one axis, (features,), and an
intercept_ without any. Checked by running scikit-learn.
"""

from __future__ import annotations

from . import Layout, Stored

LINKED = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")  # generalized linear models
REGRESSORS = (
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV"),
    *("Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"),
    *("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "BayesianRidge"),
    *("ARDRegression", "HuberRegressor", "TheilSenRegressor", "QuantileRegressor"),
    *("SGDRegressor", "PassiveAggressiveRegressor", "LinearSVR"),
    *("MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV"),
    *LINKED,
)
CLASSIFIERS = (
    *("LogisticRegression", "LogisticRegressionCV", "RidgeClassifier", "RidgeClassifierCV"),
    *("SGDClassifier", "Perceptron", "PassiveAggressiveClassifier", "LinearSVC"),
    "LinearDiscriminantAnalysis",
)
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")

LAYOUTS: dict[str, Layout] = {
    "linear_model": Layout(
        (*REGRESSORS, *CLASSIFIERS),
        {
            "kernel": Stored(("coef_",), "o i"),
            "bias": Stored(("intercept_",), "o", optional=True),
        },
    ),
    "normalization": Layout(
        SCALERS,
        {
            "mean": Stored(("mean_", "center_"), "i", optional=True),
            "variance": Stored(("var_",), "i", optional=True),
            "scale": Stored(("scale_",), "i", optional=True),
            "offset": Stored(("min_",), "i", optional=True),
        },
    ),
}
