"""What is known of an estimator, and the weight tree that it is.

Names are paths of attributes, the steps of a pipeline by their own names: `coef_`,
`scaler.mean_`, `best_estimator_.coef_`, `estimators_.3.tree_.values`. The rest is told as plain
values: `tree.metadata` has it flat, `tree.architecture["sklearn"]` nested as here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..tree import Tensor, WeightTree

# Attributes that fitting leaves behind and predicting does not look at.
FITTING = frozenset({
    "classes_", "n_iter_", "n_iters_", "n_samples_seen_", "n_features_in_", "dual_gap_", "t_",
    "loss_", "best_loss_", "loss_curve_", "validation_scores_", "alpha_", "alphas_", "C_", "Cs_",
    "l1_ratio_", "l1_ratios_", "mse_path_", "coefs_paths_", "scores_", "best_score_", "cv_values_",
    "cv_results_", "criterion_", "coef_path_", "active_", "rank_", "singular_", "random_state",
    "_random_state", "random_state_", "_expanded_class_weight", "eps_", "X_offset_", "X_scale_",
    "outliers_", "n_subpopulation_", "breakdown_",
    "best_index_", "_best_coefs", "_best_intercepts", "_optimizer",
})  # fmt: skip
# Attributes that only give other names to the estimators of another.
ALIASES = frozenset({"named_estimators_"})
# Steps of a pipeline that give as many features as they take, in the same order.
ONE_TO_ONE = frozenset({
    "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer",
    "PowerTransformer", "QuantileTransformer",
})  # fmt: skip
MOST_VALUES = 100_000  # of one list that is kept as plain values
MOST_TOLD = 10_000  # of one list or dict that is told among the metadata
APART = "fitting"


@dataclass(frozen=True, eq=False)
class Estimator:
    """One estimator, or another object with arrays in it.

    kind, module: its class and where that is defined. settings: the options it was made with.
    values: what it learned that is no array of numbers, and lists of names and of classes.
    tensors: attribute -> its array, named so. parts: path of attributes -> the estimators in it,
    in order; of a pipeline the steps by name. left_out: path -> why it is not here.
    """

    kind: str
    module: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    parts: Mapping[str, Estimator] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_pipeline(self) -> bool:
        return self.kind == "Pipeline" and self.module.startswith("sklearn.pipeline")

    @property
    def holds_arrays(self) -> bool:
        """Has it, or anything in it, an array of numbers?"""
        return any(part.tensors for _, part in self.walk())

    def walk(self, path: str = "") -> Iterator[tuple[str, Estimator]]:
        """(path, estimator) of this one and all in it, outermost first."""
        yield path, self
        for name, part in self.parts.items():
            yield from part.walk(f"{path}.{name}" if path else name)


def weight_tree(
    estimator: Estimator,
    *,
    format: str,
    path: str = "",
    metadata: Mapping[str, Any] | None = None,
    close: Callable[[], None] | None = None,
) -> WeightTree:
    """The estimator's arrays under their paths; what only fitting needs is `apart`."""
    names: dict[str, list[str]] = {}
    _features(estimator, None, "", names)
    main: dict[str, Tensor] = {}
    fitting: dict[str, Tensor] = {}
    left_out: dict[str, list[str]] = {}
    for layer, part in estimator.walk():
        for attribute, tensor in part.tensors.items():
            name = f"{layer}.{attribute}" if layer else attribute
            aside = not FITTING.isdisjoint(name.split("."))
            found = fitting if aside else main
            while name in found:
                name += "'"  # an attribute with a dot in its name
            found[name] = _placed(tensor, name, layer, part, names.get(layer))
        for attribute, reason in part.left_out.items():
            left_out.setdefault(reason, []).append(f"{layer}.{attribute}" if layer else attribute)
    apart = {}
    if fitting:
        apart[APART] = WeightTree(
            fitting.values(), format=format, variant=estimator.kind, path=path, separator="."
        )
    return WeightTree(
        main.values(),
        format=format,
        variant=variant(estimator),
        path=path,
        separator=".",
        metadata={**_metadata(estimator), **(metadata or {})},
        architecture={"sklearn": structure(estimator)},
        apart=apart,
        notes=[_note(names, reason) for reason, names in left_out.items()],
        close=close,
    )


def _placed(
    tensor: Tensor, name: str, layer: str, part: Estimator, features: list[str] | None
) -> Tensor:
    """With what the facts say of coefficients: that there is one output, the features' names."""
    facts = dict(tensor.facts)
    if tensor.name == "coef_" and tensor.ndim == 1:
        facts["outputs"] = 1
    if tensor.name == "coef_" and features and tensor.shape[-1:] == (len(features),):
        facts["features"] = features
    return replace(tensor, name=name, layer=layer, kind=part.kind, facts=facts)


def _features(
    estimator: Estimator, given: list[str] | None, path: str, found: dict[str, list[str]]
) -> list[str] | None:
    """The names of the features that go out; `found` gets those that come in, by path.

    They are what it was fitted on, or what the scalers before it in a pipeline pass on.
    """
    own = estimator.values.get("feature_names_in_")
    names = own if isinstance(own, list) and all(isinstance(n, str) for n in own) else given
    if names is not None:
        found[path] = names
    for name, part in estimator.parts.items():
        out = _features(part, names, f"{path}.{name}" if path else name, found)
        names = out if estimator.is_pipeline else None
    return names if estimator.is_pipeline or estimator.kind in ONE_TO_ONE else None


def variant(estimator: Estimator) -> str:
    """ "Lasso", "Pipeline of StandardScaler and Lasso"."""
    if not estimator.is_pipeline or not estimator.parts:
        return estimator.kind
    *steps, last = [variant(part) for part in estimator.parts.values()]
    return f"Pipeline of {', '.join(steps)} and {last}" if steps else f"Pipeline of {last}"


def _metadata(estimator: Estimator) -> dict[str, Any]:
    """Settings and learned values by path, of the estimator and of the steps of a pipeline."""
    found: dict[str, Any] = {"estimator": variant(estimator)}
    for path, part in _steps(estimator, ""):
        for name, value in {**part.settings, **part.values}.items():
            if isinstance(value, (list, dict)) and len(value) > MOST_TOLD:
                continue
            found[f"{path}.{name}" if path else name] = value
    return found


def _steps(estimator: Estimator, path: str) -> Iterator[tuple[str, Estimator]]:
    yield path, estimator
    if estimator.is_pipeline:
        for name, part in estimator.parts.items():
            yield from _steps(part, f"{path}.{name}" if path else name)


def structure(estimator: Estimator) -> dict[str, Any]:
    """The description as plain JSON values."""
    return {
        "class": estimator.kind,
        "module": estimator.module,
        "settings": dict(estimator.settings),
        "values": dict(estimator.values),
        "parts": {name: structure(part) for name, part in estimator.parts.items()},
    }


def of_estimator(tree: WeightTree) -> bool:
    """Was the tree made of an estimator?"""
    return isinstance(tree.architecture, Mapping) and "sklearn" in tree.architecture


def of_tree(tree: WeightTree) -> Estimator | None:
    """The estimator that a tree was made of, its tensors in place; None where it was none."""
    known = tree.architecture["sklearn"] if of_estimator(tree) else None
    if not isinstance(known, Mapping):
        return None
    by_layer: dict[str, dict[str, Tensor]] = {}
    for tensor in tree.values():
        own = tensor.name[len(tensor.layer) + 1 :] if tensor.layer else tensor.name
        by_layer.setdefault(tensor.layer, {})[own] = tensor
    return _of(known, by_layer, "")


def _of(known: Mapping[str, Any], by_layer: Mapping[str, Any], path: str) -> Estimator:
    return Estimator(
        known["class"],
        known["module"],
        known["settings"],
        known["values"],
        by_layer.get(path, {}),
        {
            name: _of(part, by_layer, f"{path}.{name}" if path else name)
            for name, part in known["parts"].items()
        },
    )


def is_learned(attribute: str) -> bool:
    """Is it what fitting found, not an option? scikit-learn ends the names of these with "_"."""
    return attribute.endswith("_") or attribute.startswith("_")


def plain(value: Any, depth: int = 0) -> bool:
    """Is it a number, a text, a truth value, None, or a short list or dict of such?"""
    if value is None or type(value) in (bool, int, float, str):
        return True
    if depth > 3:
        return False
    if type(value) in (list, tuple):
        return len(value) <= MOST_VALUES and all(plain(one, depth + 1) for one in value)
    return type(value) is dict and all(
        plain(key) and plain(one, depth + 1) for key, one in value.items()
    )


def _note(names: Sequence[str], reason: str) -> str:
    if len(names) == 1:
        return f"{names[0]} left out: {reason}"
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} left out: {reason}"
