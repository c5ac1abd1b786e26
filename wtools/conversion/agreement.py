"""What one model says of another's layers of the same name, where that cannot know it itself.

A depthwise convolution, an embedding or a PReLU looks like another layer in a bare state dict; a
Keras config or an ONNX graph says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import WtoolsError
from ..layers import layer_map
from ..translation import Canonical, canonical
from ..translation.likeness import units
from ..translation.model import LAYOUTS
from ..tree import WeightTree

_MOST = 64  # layers that are tried one by one


def agreed(tree: WeightTree, own: Canonical, other: Canonical, **told: Any) -> Canonical:
    """`own`, the layers of `tree`, with the kinds that layers of the same path have for certain
    in `other`. told: what else `canonical` was given."""
    known = dict(told.pop("kinds", {}))
    wanted = {p: kind for p, kind in _certain(tree, own, other) if p not in known}
    if not wanted:
        return own
    try:
        return canonical(tree, kinds={**known, **wanted}, **told)
    except WtoolsError:
        fitting = dict(known)
    for path, kind in list(wanted.items())[:_MOST]:
        try:
            own = canonical(tree, kinds={**fitting, path: kind}, **told)
        except WtoolsError:
            continue
        fitting[path] = kind
    return own


def _certain(tree: WeightTree, own: Canonical, other: Canonical) -> Iterator[tuple[str, str]]:
    """Path and kind of layers that are inferred in the tree and known in the other."""
    here: Mapping[str, Any] = {layer.path: layer for layer in own.layers}
    there = {unit.path: unit for unit in units(other.layers)}
    separator = tree.separator or "/"
    paths = dict.fromkeys(path.replace(separator, "/") for path in layer_map(tree).layers())
    for path in {**paths, **here}:
        layer, known = here.get(path), there.get(path)
        if known is None or known.layer.facts.get("evidence") not in ("config", "graph"):
            continue
        if known.kind not in LAYOUTS[own.convention]:
            continue
        open_question = layer is None or layer.facts.get("evidence") == "name+shape"
        # the class is nn.Conv2d for both
        grouped = layer is not None and known.kind == f"depthwise_{layer.kind}"
        if (layer is None or layer.kind != known.kind) and (open_question or grouped):
            yield path, known.kind
