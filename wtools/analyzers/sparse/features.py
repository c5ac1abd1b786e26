"""Of a linear model that knows the names of its features: which survive, which a twin keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import WtoolsError
from ...tree import Tensor, WeightTree
from ..elements import reals
from ..matching import pairs

MOST = 50  # features that are listed, the largest weights first


def features(tree: WeightTree, twin: WeightTree | None = None) -> dict[str, Any]:
    """Figures for `summary`, empty where no tensor has `facts["features"]`.

    features_kept: how many have a weight that is not zero. features: those by name, with their
    weight (of several outputs the L2 norm over them), the largest first, at most MOST. With a twin
    features_dropped: those that are zero here and not there, with their weight there.
    """
    others = {x.name: y for x, y in pairs(tree, twin).matched} if twin is not None else {}
    named = [tensor for tensor in tree.distinct() if _names(tensor)]
    kept: dict[str, float] = {}
    dropped: dict[str, float] = {}
    for tensor in named:
        prefix = f"{tensor.layer}." if len(named) > 1 and tensor.layer else ""
        here = _weights(tensor)
        if here is None:
            continue
        kept |= {prefix + name: float(w) for name, w in zip(_names(tensor), here, strict=True) if w}
        other = others.get(tensor.name)
        there = _weights(other) if other is not None and other.shape == tensor.shape else None
        if there is not None:
            dropped |= {prefix + name: weight for name, weight in _dropped(tensor, here, there)}
    if not named:
        return {}
    figures: dict[str, Any] = {"features_kept": len(kept), "features": _largest(kept)}
    return figures | ({"features_dropped": _largest(dropped)} if twin is not None else {})


def _names(tensor: Tensor) -> Sequence[str]:
    """The features along the last axis, as far as the file says them."""
    found = tensor.facts.get("features")
    fits = isinstance(found, list) and tensor.ndim in (1, 2) and len(found) == tensor.shape[-1]
    return found if fits and isinstance(found, list) else ()


def _weights(tensor: Tensor) -> NDArray[np.float64] | None:
    """One number for each feature; None where the tensor cannot be read."""
    try:
        array = reals(tensor.read(), tensor.dtype).astype(np.float64)
    except WtoolsError:
        return None
    if array.ndim == 1 or array.shape[0] == 1:
        return array.reshape(-1)
    return np.asarray(np.sqrt((array**2).sum(axis=0)))


def _dropped(
    tensor: Tensor, here: NDArray[np.float64], there: NDArray[np.float64]
) -> Iterator[tuple[str, float]]:
    for name, mine, its in zip(_names(tensor), here, there, strict=True):
        if not mine and its:
            yield name, float(its)


def _largest(weights: Mapping[str, float]) -> dict[str, float]:
    ranked = sorted(weights.items(), key=lambda item: -abs(item[1]))
    return dict(ranked[:MOST])
