"""An estimator in memory, by its attributes: scikit-learn itself is not imported here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import UsageError
from ..tree import LazyData, Tensor, WeightTree
from .described import ALIASES, Estimator, is_learned, plain, weight_tree

DEEPEST = 16  # objects in objects


def from_estimator(estimator: Any) -> WeightTree:
    """The weight tree of a fitted estimator or pipeline of scikit-learn, as of a `.skops` file.

    Names are paths of attributes (`coef_`, `scaler.mean_`); arrays are not copied. `format` is
    "sklearn"; `metadata` has the class, its settings, `classes_`, `feature_names_in_`.

    Raises UsageError for what is no estimator, and for one that has not been fitted.
    """
    if isinstance(estimator, type) or not (
        hasattr(estimator, "get_params") and hasattr(estimator, "__dict__")
    ):
        raise UsageError(
            f"{_class(estimator)} is no estimator of scikit-learn",
            advice="It takes a fitted estimator: wtools.from_estimator(Lasso().fit(x, y)).",
        )
    found = _described(estimator, ())
    last = found
    while last.is_pipeline and last.parts:
        *_, last = last.parts.values()
    if not last.holds_arrays:
        learned = any(is_learned(name) for name in last.values)
        raise UsageError(
            f"{last.kind} " + ("holds no arrays" if learned else "is not fitted: it has no arrays"),
            advice=None if learned else "Call its fit first.",
        )
    state: Any = getattr(estimator, "__getstate__", dict)()
    version = state.get("_sklearn_version") if isinstance(state, Mapping) else None
    metadata = {"sklearn_version": version} if isinstance(version, str) else {}
    return weight_tree(found, format="sklearn", metadata=metadata)


def _class(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def _state(value: Any) -> dict[str, Any] | None:
    """The attributes of an object; of compiled ones (`Tree`) what they pickle."""
    found = getattr(value, "__dict__", None)
    if not isinstance(found, dict) and type(value).__module__.startswith("sklearn."):
        found = value.__getstate__() if hasattr(value, "__getstate__") else None
    return dict(found) if isinstance(found, dict) else None


class _Filling:
    """An estimator in the making; `above`: the ids of the objects around it.

    pipeline: its steps are kept though they may hold no arrays.
    """

    def __init__(self, above: tuple[int, ...], pipeline: bool) -> None:
        self.above, self.pipeline = above, pipeline
        self.settings: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        self.parts: dict[str, Estimator] = {}
        self.left_out: dict[str, str] = {}

    def put(self, path: str, value: Any) -> None:
        """`value` where it belongs, as the reader of .skops files does."""
        value = value.item() if isinstance(value, (np.str_, np.bytes_)) else value
        if path in ALIASES:
            return
        if isinstance(value, (np.ndarray, np.generic)):
            self._array(path, np.asarray(value))
        elif hasattr(value, "tocoo") and hasattr(value, "nnz"):
            self._sparse(path, value)
        elif plain(value):
            (self.values if is_learned(path) else self.settings)[path] = _listed(value)
        elif isinstance(value, (dict, list, tuple)):
            for name, inner in _named(value):
                self.put(f"{path}.{name}", inner)
        else:
            self._object(path, value)

    def _array(self, path: str, array: Any) -> None:
        if array.dtype.kind in "OUS":
            values = array.tolist()
            if plain(values):
                self.values[path] = values
            elif isinstance(values, list):
                self.put(path, values)
        elif array.dtype.name not in dtypes.DTYPES:
            what = "records of several fields" if array.dtype.names else array.dtype.name
            self.left_out[path] = f"it holds {what}"
        else:
            self.tensors[path] = Tensor.of(path, array)
            if path == "classes_" and plain(array.tolist()):
                self.values[path] = array.tolist()

    def _sparse(self, path: str, matrix: Any) -> None:
        if matrix.dtype.name not in dtypes.DTYPES:
            self.left_out[path] = f"it is a sparse matrix of {matrix.dtype.name}"
            return
        shape = tuple(int(n) for n in matrix.shape)
        facts = {"sparse": {"shape": list(shape), "nnz": int(matrix.nnz), "format": matrix.format}}
        data = LazyData(lambda: np.asarray(matrix.toarray()))
        self.tensors[path] = Tensor(path, shape, matrix.dtype.name, data, facts=facts)

    def _object(self, path: str, value: Any) -> None:
        passed = callable(value) and not hasattr(value, "get_params")
        state = None if isinstance(value, type) or passed else _state(value)
        if state is not None and id(value) not in self.above and len(self.above) < DEEPEST:
            part = _described(value, self.above)
            if part.holds_arrays or self.pipeline:
                self.parts[path] = part


def _described(value: Any, above: tuple[int, ...]) -> Estimator:
    state = _state(value) or {}
    kind, module = type(value).__name__, type(value).__module__
    pipeline = kind == "Pipeline" and module.startswith("sklearn.pipeline")
    filling = _Filling((*above, id(value)), pipeline)
    steps = state.pop("steps", []) if pipeline else []
    for name, inner in (*state.items(), *steps):
        filling.put(name, inner)
    return Estimator(
        kind,
        module,
        filling.settings,
        filling.values,
        filling.tensors,
        filling.parts,
        filling.left_out,
    )


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """A dict's items; a list's by number, or by the text that stands first in a tuple of it."""
    if isinstance(value, dict):
        yield from ((str(key), inner) for key, inner in value.items())
        return
    for number, inner in enumerate(value):
        if isinstance(inner, tuple) and len(inner) > 1 and isinstance(inner[0], str):
            yield inner[0], inner[1]
        else:
            yield str(number), inner


def _listed(value: Any) -> Any:
    """Tuples as lists, keys as text: what JSON makes of them."""
    if isinstance(value, (list, tuple)):
        return [_listed(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _listed(one) for key, one in value.items()}
    return value
