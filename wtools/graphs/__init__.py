"""Runnable models: from what a file says of its architecture to a graph in another framework.

`to_onnx` takes a Keras file, without Keras: ir.py is the graph in between, keras_config.py reads
it, onnx_export/ has a module for each family of layers, onnx_model.py writes the file.
"""

from __future__ import annotations

from typing import Any

from ..tree import WeightTree


def to_onnx(tree: WeightTree) -> Any:
    """See `onnx_model.to_onnx`."""
    from .onnx_model import to_onnx

    return to_onnx(tree)


__all__ = ["to_onnx"]
