"""Whole Keras models (.h5, .keras), by Keras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..extras import need


def load(path: str, module: str) -> Model:
    """The model, without its optimizer. Code in the file is refused (`safe_mode`)."""
    need("tensorflow", "running a Keras model")
    keras = need("keras", "running a Keras model")
    return Model(keras, keras.saving.load_model(path, compile=False, safe_mode=True))


class Model:
    def __init__(self, keras: Any, model: Any) -> None:
        self.keras, self.model = keras, model
        self.layers = dict(_walk(model, ""))

    def describe(self) -> dict[str, Any]:
        return {
            "version": f"keras {self.keras.__version__} ({self.keras.backend.backend()})",
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "dtype": str(tensor.dtype),
                    "high": self._vocabulary(tensor),
                }
                for tensor in self.model.inputs
            ],
            "outputs": getattr(self.model, "output_names", None) or [self.model.layers[-1].name],
            "layers": [
                {"name": name, "kind": type(layer).__name__, "activation": _activation(layer)}
                for name, layer in self.layers.items()
            ],
        }

    def _vocabulary(self, tensor: Any) -> int | None:
        """What the numbers of an input must stay below: the rows of the smallest table that it
        is looked up in; of integers that go elsewhere first, those of the smallest of all."""
        tables = [layer for layer in self.layers.values() if hasattr(layer, "input_dim")]
        direct = [one for one in tables if getattr(one, "input", None) is tensor]
        if not direct and "int" not in str(tensor.dtype):
            return None
        return min((int(table.input_dim) for table in direct or tables), default=None)

    def run(self, arrays: Sequence[Any], layers: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        seen: dict[str, Any] = {}
        watched = {name: self.layers[name] for name in layers}
        for name, layer in watched.items():
            layer.call = self._watching(layer.call, name, seen)
        try:
            structure = getattr(self.model, "_inputs_struct", None)  # of a functional model
            given = list(arrays) if len(arrays) > 1 else arrays[0]
            if structure is not None:
                given = self.keras.tree.pack_sequence_as(structure, list(arrays))
            made = self.model(given, training=False)
        finally:
            for layer in watched.values():
                del layer.call
        return [_array(value) for value in self.keras.tree.flatten(made)], seen

    def _watching(self, call: Any, name: str, seen: dict[str, Any]) -> Any:
        """`call`, noting what it takes and gives the first time."""
        flatten = self.keras.tree.flatten

        def watched(*args: Any, **kwargs: Any) -> Any:
            made = call(*args, **kwargs)
            if name not in seen:
                given = [value for value in flatten(list(args)) if hasattr(value, "shape")]
                seen[name] = {
                    "output": [_array(value) for value in flatten(made)],
                    "input": [_array(value) for value in given],
                }
            return made

        return watched


def _walk(model: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, layer) of all layers, those of models in the model too, in order."""
    for layer in model.layers:
        name = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _walk(layer, f"{name}/")
        elif type(layer).__name__ != "InputLayer":
            yield name, layer


def _activation(layer: Any) -> str:
    """The name of the activation that a layer applies to its own output."""
    kind = type(layer).__name__
    found = getattr(layer, "activation", None)
    if found is None or kind in ("Activation", "LSTM", "GRU", "SimpleRNN"):
        return ""
    return str(getattr(found, "__name__", type(found).__name__))


def _array(value: Any) -> Any:
    return np.asarray(value)
