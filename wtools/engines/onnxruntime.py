"""ONNX models, by onnxruntime on the CPU with its usual graph optimizations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..extras import need

_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(int16)": "int16",
    "tensor(int8)": "int8", "tensor(uint8)": "uint8", "tensor(bool)": "bool",
}  # fmt: skip
_PROVIDERS = ["CPUExecutionProvider"]
_ROOM = 2_000_000_000  # bytes of a model that can be handed over in memory


def load(path: str, module: str) -> Model:
    runtime = need("onnxruntime", "running an ONNX model")
    return Model(runtime, need("onnx", "running an ONNX model"), path)


class Model:
    def __init__(self, runtime: Any, onnx: Any, path: str) -> None:
        self.runtime, self.onnx, self.path = runtime, onnx, path
        self.session = runtime.InferenceSession(path, providers=_PROVIDERS)
        self.graph = onnx.load(path, load_external_data=False).graph
        self.layers = _layers(self.graph)

    def describe(self) -> dict[str, Any]:
        high = self._vocabulary()
        return {
            "version": f"onnxruntime {self.runtime.__version__}",
            "inputs": [
                {
                    "name": one.name,
                    "shape": [n if isinstance(n, int) else None for n in one.shape],
                    "dtype": _TYPES.get(one.type, one.type),
                    "high": high if "int" in one.type else None,
                }
                for one in self.session.get_inputs()
            ],
            "outputs": [one.name for one in self.session.get_outputs()],
            "layers": [{"name": name, "kind": kind} for name, (kind, _) in self.layers.items()],
        }

    def _vocabulary(self) -> int | None:
        """The rows of the smallest table that is gathered from."""
        sizes = {tensor.name: list(tensor.dims) for tensor in self.graph.initializer}
        tables = [
            sizes[node.input[0]]
            for node in self.graph.node
            if node.op_type == "Gather" and node.input[0] in sizes
        ]
        return min((table[0] for table in tables if len(table) == 2), default=None)

    def run(self, arrays: Sequence[Any], layers: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        session = self.session if not layers else self._opened(layers)
        feeds = {one.name: array for one, array in zip(session.get_inputs(), arrays, strict=True)}
        count = len(self.session.get_outputs())
        made = session.run(None, feeds)
        named = dict(zip([one.name for one in session.get_outputs()], made, strict=True))
        seen = {name: {"output": [named[self.layers[name][1]]]} for name in layers}
        return [_array(value) for value in made[:count]], seen

    def _opened(self, layers: Sequence[str]) -> Any:
        """A session of the model with the outputs of these layers among its own."""
        model = self.onnx.load(self.path)
        known = {one.name for one in model.graph.output}
        for name in layers:
            value = self.layers[name][1]
            if value not in known:
                known.add(value)
                model.graph.output.append(self.onnx.ValueInfoProto(name=value))
        if model.ByteSize() > _ROOM:
            raise ValueError("the model is too large to have its layers looked at")
        return self.runtime.InferenceSession(model.SerializeToString(), providers=_PROVIDERS)


def _layers(graph: Any) -> dict[str, tuple[str, str]]:
    """Scope of nodes' names -> (operator of the first of its nodes that has a weight, or of the
    last, the value that its last node makes). A name without a scope is a layer of its own."""
    weights = {tensor.name for tensor in graph.initializer}
    found: dict[str, tuple[str, str]] = {}
    for node in graph.node:
        if node.op_type in ("Constant", "Identity", "Shape") or not node.output[0]:
            continue
        scope = node.name.strip("/").rpartition("/")[0] or node.name.strip("/")
        if not scope:
            continue
        before = found.get(scope)
        own = any(name in weights for name in node.input)
        kind = node.op_type if own or before is None else before[0]
        found[scope] = (kind, node.output[0])
    return found


def _array(value: Any) -> Any:
    """Texts as texts; the maps of class to probability that a ZipMap makes, as an array."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([list(row.values()) for row in value], np.float32)
    array = np.asarray(value)
    return array.astype(str) if array.dtype == object else array
