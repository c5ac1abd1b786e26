"""The class inside a wrapper (Bidirectional, TimeDistributed), from a stored Keras config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 64


def inner_classes(architecture: Any) -> dict[str, str]:
    """Path of a wrapping layer -> class of the layer or cell in it; empty without a config."""
    config = architecture.get("keras") if isinstance(architecture, Mapping) else None
    if not isinstance(config, Mapping):
        return {}
    return dict(_below(config, (), 0))


def _below(
    layer: Mapping[str, Any], path: tuple[str, ...], depth: int
) -> Iterator[tuple[str, str]]:
    """The wrappers among the layers of a model's config."""
    config = layer.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else config
    if depth > _DEEPEST or not isinstance(layers, list):
        return
    for one in layers:
        own = one.get("config") if isinstance(one, Mapping) else None
        if not isinstance(own, Mapping):
            continue
        name = one.get("name") or own.get("name")
        where = (*path, str(name))
        inner = own.get("layer") or own.get("cell")
        if isinstance(inner, Mapping) and isinstance(inner.get("class_name"), str):
            yield "/".join(where), inner["class_name"]
        yield from _below(one, where, depth + 1)
