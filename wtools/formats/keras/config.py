"""The layers a Keras config tells of: names, classes, what is frozen, what is wrapped in what.

Nothing is instantiated: the config is JSON and stays JSON. Keras 1, 2 and 3 agree on
{"class_name": ..., "config": {"name": ..., "layers": [...]}}; before 2.2.3 the config of a
Sequential was the list of its layers itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...errors import CorruptError, UnsafeError

MAX_JSON = 3 << 20  # parsed JSON takes some twenty times its size in memory
MAX_DEPTH = 60
CELLS = {
    "LSTM": "lstm_cell",
    "GRU": "gru_cell",
    "SimpleRNN": "simple_rnn_cell",
    "CuDNNLSTM": "",
    "CuDNNGRU": "",
    "ConvLSTM1D": "conv_lstm_cell",
    "ConvLSTM2D": "conv_lstm_cell",
    "ConvLSTM3D": "conv_lstm_cell",
}


# Classes that are exported, and so written into configs, under another name than their own.
_ALIASES = {"GroupQueryAttention": "GroupedQueryAttention"}


@dataclass(frozen=True)
class Layer:
    """One layer of a config. `trainable`: neither it nor a model or wrapper around it is frozen.

    layers: those of a model, in order. parts: sub-layers by the attribute that holds them, as
    `.keras` files name them ("layer" of a TimeDistributed, "cell" of an RNN).
    """

    name: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    trainable: bool
    layers: tuple[Layer, ...] = ()
    parts: Mapping[str, Layer] = field(default_factory=dict)
    model: bool = False

    def numbered(self) -> dict[str, tuple[int, Layer]]:
        """Layers by the names saving_lib gives them: snake-cased class, counted from its second."""
        return self._numbered

    @cached_property
    def _numbered(self) -> dict[str, tuple[int, Layer]]:
        found: dict[str, tuple[int, Layer]] = {}
        counts: dict[str, int] = {}
        for i, layer in enumerate(self.layers):
            base = snake(layer.kind)
            number = counts.get(base, 0)
            counts[base] = number + 1
            found[f"{base}_{number}" if number else base] = (i, layer)
        return found

    def leaves(self, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Layer]]:
        """(names from below this model to the layer, layer) of all layers that are no models."""
        for layer in self.layers:
            path = (*above, layer.name)
            if layer.model:
                yield from layer.leaves(path)
            else:
                yield path, layer

    @property
    def policy(self) -> str:
        """The name of its dtype policy ("float32", "mixed_bfloat16"), or ""."""
        dtype = self.config.get("dtype")
        for _ in range(3):  # {"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}
            if isinstance(dtype, Mapping):
                below = dtype.get("config")
                dtype = dtype.get("name", below)
        return dtype if isinstance(dtype, str) else ""


def parse_json(text: str | bytes, what: str, path: str, size: int) -> Any:
    """JSON from a file of `size` bytes. Raises CorruptError or, too long or deep, UnsafeError."""
    if len(text) > max(MAX_JSON, size // 12):
        raise UnsafeError(f"{len(text)} bytes of JSON", path=path, place=what)
    try:
        return json.loads(text)
    except RecursionError:
        raise UnsafeError("JSON nested too deeply", path=path, place=what) from None
    except ValueError as error:
        raise CorruptError(f"is not JSON: {error}", path=path, place=what) from None


def layer_tree(config: Any) -> Layer | None:
    """The model of a config, or None where it has not the shape of one."""
    layer = _layer(config, True, 0)
    return layer if layer is not None and layer.model else None


def _layer(entry: Any, trainable: bool, depth: int, name: str | None = None) -> Layer | None:
    if not isinstance(entry, Mapping) or depth > MAX_DEPTH:
        return None
    config = entry.get("config")
    kind = entry.get("class_name")
    if isinstance(config, list):
        config = {"layers": config, "name": entry.get("name")}
    if not isinstance(config, Mapping) or not isinstance(kind, str):
        return None
    own = config.get("name", entry.get("name"))
    name = name if name is not None else own if isinstance(own, str) else ""
    trainable = trainable and config.get("trainable") is not False
    kind = kind.rpartition(">")[2]  # "Package>Class" of registered classes
    kind = _ALIASES.get(kind, kind)
    listed = config.get("layers")
    below = listed if isinstance(listed, list) else []
    found = (_layer(item, trainable, depth + 1) for item in below)
    layers = tuple(layer for layer in found if layer is not None)
    parts = _parts(kind, config, trainable, depth)
    return Layer(name, kind, config, trainable, layers, parts, isinstance(listed, list))


def _parts(kind: str, config: Mapping[str, Any], trainable: bool, depth: int) -> dict[str, Layer]:
    """Sub-layers: what wraps, and the cells of recurrent layers."""
    parts: dict[str, Layer] = {}
    if kind == "Bidirectional":
        wrapped = config.get("layer")
        inner = _layer(wrapped, trainable, depth + 1)
        if inner is not None:
            for way, held in (("forward", wrapped), ("backward", config.get("backward_layer"))):
                name = f"{way}_{inner.name}"
                layer = _layer(held or wrapped, trainable, depth + 1, name)
                if layer is not None:
                    parts[f"{way}_layer"] = layer
        return parts
    for attribute in ("layer", "cell"):
        part = _layer(config.get(attribute), trainable, depth + 1)
        if part is not None:
            parts[attribute] = part
    if CELLS.get(kind):
        cell = Layer(CELLS[kind], f"{kind}Cell", config, trainable)
        parts.setdefault("cell", cell)
    cells = config.get("cells")
    if isinstance(cells, list):
        made = (_layer(item, trainable, depth + 1) for item in cells)
        inner_cells = tuple(cell for cell in made if cell is not None)
        parts["cells"] = Layer("", "", {}, trainable, inner_cells)
    return parts


def snake(kind: str) -> str:
    """Keras' snake case of a class name: "PReLU" -> "p_re_lu", "Conv2D" -> "conv2d"."""
    name = re.sub(r"\W+", "", kind)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
