"""Options of Keras 1 under the names that Keras 2 gave them.

From keras/legacy/interfaces.py of Keras 2, which took both. Sizes need no name of their own: they
are those of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedError

_OPTIONS = {
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "length": "size",
}
_KINDS = {
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "concat": "Concatenate",
    "ave": "Average",
    "max": "Maximum",
    "dot": "Dot",
}
_ONLY_THERE = {*_OPTIONS, "dim_ordering", "nb_filter", "concat_axis"} - {"bias", "length", "stride"}


def renamed(kind: str, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(class, options) of a layer as Keras 2 has them; those of later versions as they are.

    Raises UnsupportedError for Theano's order of axes, in which kernels are flipped.
    """
    if kind not in ("Merge", *_KINDS) and not (_ONLY_THERE & config.keys() or "bias" in config):
        return kind, config
    if config.get("dim_ordering") == "th":
        raise UnsupportedError(f"{kind} {config.get('name')!r} has dim_ordering='th', of Theano")
    options = {_OPTIONS.get(key, key): value for key, value in config.items()}
    if kind == "Merge":
        mode = config.get("mode")
        if mode not in _MERGES or config.get("layers"):
            raise UnsupportedError(f"Merge {config.get('name')!r} with mode={mode!r}")
        axes = {"axis": config.get("concat_axis", -1), "axes": config.get("dot_axes", -1)}
        return _MERGES[mode], {**options, **axes}
    return _KINDS.get(kind, kind), options
