"""Estimators of scikit-learn (.skops), by scikit-learn; skops loads what it trusts and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UnsafeError
from ..extras import need

# Beside what skops trusts by itself (estimators, arrays): the losses that linear models keep. Not
# sklearn as a whole, whose functions an estimator could be made to call.
_TRUSTED = "sklearn._loss.loss."


def load(path: str, module: str) -> Model:
    """The estimator. Raises UnsafeError where it has types that are none of scikit-learn's."""
    sklearn = need("sklearn", "running an estimator of scikit-learn")
    skops = need("skops.io", "running an estimator of scikit-learn")
    unknown = skops.get_untrusted_types(file=path)
    strangers = [name for name in unknown if not name.startswith(_TRUSTED)]
    if strangers:
        raise UnsafeError(
            f"has types that wtools does not let skops load: {', '.join(strangers[:5])}", path=path
        )
    return Model(sklearn.__version__, skops.load(path, trusted=unknown))


class Model:
    def __init__(self, version: str, estimator: Any) -> None:
        self.version, self.estimator = version, estimator
        self.ways = _ways(estimator)

    def describe(self) -> dict[str, Any]:
        features = getattr(self.estimator, "n_features_in_", None)
        return {
            "version": f"scikit-learn {self.version}",
            "inputs": [{"name": "X", "shape": [None, features], "dtype": "float32"}],
            "outputs": list(self.ways),
            "layers": [],
        }

    def run(self, arrays: Sequence[Any], layers: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        made = [np.asarray(way(arrays[0])) for way in self.ways.values()]
        return [array.astype(str) if array.dtype == object else array for array in made], {}


def _ways(estimator: Any) -> dict[str, Any]:
    """Output -> what computes it, under the names that an exported graph has."""
    if not hasattr(estimator, "predict"):
        return {"variable": estimator.transform}
    if not hasattr(estimator, "classes_"):
        return {"variable": estimator.predict}
    if hasattr(estimator, "predict_proba"):
        return {"label": estimator.predict, "probabilities": estimator.predict_proba}
    return {"label": estimator.predict, "scores": estimator.decision_function}
