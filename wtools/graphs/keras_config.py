"""From a Keras config and its weights to a Graph: Sequential, Functional, and models in models.

The config is JSON and stays JSON: no class is looked up, nothing in it is executed. The names of
weights were resolved by the reader (wtools.formats.keras): `<path of the layer>/<role>`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CorruptError, UnsafeError, UnsupportedError, WtoolsError
from ..tree import Tensor, WeightTree
from . import keras1
from . import keras_calls as written
from .ir import Graph, Layer, Node, Ref, refs
from .keras_calls import Arguments
from .keras_functional import Wiring, bound, ends_of, flat

MAX_NODES = 50_000
MAX_DEPTH = 60


def graph(tree: WeightTree) -> Graph:
    """The model that the file of `tree` describes.

    Raises UnsupportedError where it has no config, or one of a class of its own; CorruptError
    where the config contradicts itself; UnsafeError where models in models multiply.
    """
    known = tree.architecture
    config = known.get("keras") if isinstance(known, Mapping) else None
    if config is None:
        raise UnsupportedError(
            "the file has weights but no config, so nobody can tell how they are used",
            path=tree.path or None,
            advice="Save the whole model (.keras or .h5); --weights-only writes the tensors alone.",
        )
    try:
        return _Reading(tree, config).graph()
    except WtoolsError as error:
        error.path = error.path or tree.path or None
        raise
    except RecursionError:
        raise UnsafeError("models nested too deeply", path=tree.path or None) from None


class _Weights:
    """The tensors by the path of their layer."""

    def __init__(self, tree: WeightTree) -> None:
        self.by_layer: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for tensor in tree.values():
            role = tensor.name.removeprefix(f"{tensor.layer}/")
            self.by_layer[tensor.layer][role] = tensor
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.by_layer:
            self.by_name[path.rpartition("/")[2]].append(path)

    def of(self, path: str) -> Mapping[str, Tensor]:
        """Those of the layer. Where its path has none: what a layer around it has under its name,
        else what the only layer of that name has (two models share it, one of them is saved).
        """
        if path in self.by_layer:
            return self.by_layer[path]
        parts = path.split("/")
        for i in range(len(parts) - 1, 0, -1):
            around = self.by_layer.get("/".join(parts[:i]), {})
            for j in range(i, len(parts)):
                prefix = "/".join(parts[j:]) + "/"
                found = {r[len(prefix) :]: t for r, t in around.items() if r.startswith(prefix)}
                if found:
                    return found
        others = self.by_name.get(parts[-1], [])
        return self.by_layer[others[0]] if len(others) == 1 else {}


class _Reading:
    """One config on its way to a Graph."""

    def __init__(self, tree: WeightTree, config: Any) -> None:
        self.config = config
        self.weights = _Weights(tree)
        self.nodes: list[Node] = []
        self.layers: dict[str, Layer] = {}
        known = tree.architecture
        version = str((known.get("version") if isinstance(known, Mapping) else None) or "")
        self.version = int(version[0]) if version[:1].isdigit() else self._guessed(config)

    def _guessed(self, config: Any) -> int:
        return 3 if isinstance(config, Mapping) and "module" in config else 2

    def graph(self) -> Graph:
        kind, config, name = _entry(self.config, "the model")
        if not is_model(config):
            raise UnsupportedError(
                f"the model is of a class of its own, {kind}: its config does not say what it does",
                advice="--weights-only writes the tensors alone.",
            )
        given, inputs = self._inputs(kind, config)
        result = self.model(config, "", given, kind)
        outputs = list(self._outputs(result))
        return Graph(name or "model", tuple(self.nodes), inputs, tuple(outputs), self.version)

    def _outputs(self, result: Any) -> Iterator[tuple[str, Ref]]:
        taken: dict[str, int] = {}
        for ref in flat(result):
            name = self.nodes[ref.node].layer.path
            count = taken[name] = taken.get(name, 0) + 1
            yield (f"{name}_{count - 1}" if count > 1 else name), ref

    def _inputs(self, kind: str, config: Any) -> tuple[Any, tuple[int, ...]]:
        """Nodes for the inputs of the outermost model."""
        layers = _listed(config)
        if kind == "Sequential":
            made = [self._input(*first_input(config, self.version))]
            return made[0], tuple(ref.node for ref in made)
        by_name = {name: (kind, inner) for kind, inner, name in layers}
        ends = ends_of(config, "input_layers")
        refs = {}
        for name in dict.fromkeys(written.names(ends)):
            if name.layer not in by_name:
                raise CorruptError(f"the input {name.layer!r} is none of the layers")
            refs[name] = self._input(name.layer, *_input_spec(by_name[name.layer][1]))
        return written.replaced(ends, refs), tuple(ref.node for ref in refs.values())

    def _input(self, name: str, shape: Any, dtype: str) -> Ref:
        config = {"batch_shape": shape, "dtype": dtype}
        return self.call(Layer(name, "InputLayer", config), Arguments((), {}))

    # --- models ---------------------------------------------------------------------------------

    def model(self, config: Any, path: str, given: Any, kind: str) -> Any:
        """The calls of a model's layers on `given`; what it returns, Refs in its structure."""
        if path.count("/") > MAX_DEPTH:
            raise UnsafeError("models nested too deeply")
        if kind == "Sequential" or not isinstance(config, Mapping) or "output_layers" not in config:
            return self.sequential(config, path, given)
        return self.functional(config, path, given)

    def sequential(self, config: Any, path: str, given: Any) -> Any:
        for kind, inner, name in _listed(config):
            if kind != "InputLayer":
                given = self.layer(kind, inner, _join(path, name), Arguments((given,), {}))
        return given

    def functional(self, config: Mapping[str, Any], path: str, given: Any) -> Any:
        layers = {name: (kind, inner) for kind, inner, name in _listed(config)}
        entries = {_entry(entry, "a layer")[2]: entry for entry in config["layers"]}
        models = {n for n, (kind, c) in layers.items() if is_model(c) and kind != "Sequential"}
        wiring = Wiring.of(config, entries, models)
        found = bound(wiring.inputs, given)
        for key in wiring.order():
            kind, inner = layers[key.layer]
            arguments = wiring.arguments(key, found)
            result = self.layer(kind, inner, _join(path, key.layer), arguments, entries[key.layer])
            found |= wiring.made(key, result)
        return wiring.result(found)

    def layer(
        self, kind: str, config: Any, path: str, arguments: Arguments, entry: Any = None
    ) -> Any:
        """One call of a layer or of a model."""
        if is_model(config):
            if len(arguments.args) != 1 or next(refs(arguments.kwargs), None):
                raise UnsupportedError(f"{kind} {path!r} is called with several arguments")
            return self.model(config, path, arguments.args[0], kind)
        if kind == "TimeDistributed":
            return self.time_distributed(config, path, arguments)
        if path not in self.layers:
            module = entry.get("module") if isinstance(entry, Mapping) else ""
            self.layers[path] = Layer(
                path, kind, config, self.weights.of(path), module if isinstance(module, str) else ""
            )
        return self.call(self.layers[path], arguments)

    def time_distributed(self, config: Any, path: str, arguments: Arguments) -> Ref:
        """The wrapped layer, or model, between two nodes that fold time into the batch."""
        wrapped = config.get("layer") if isinstance(config, Mapping) else None
        kind, inner, name = _entry(wrapped, f"what {path!r} wraps")
        series = arguments.args[0]
        fold = Layer(path, "TimeDistributed.fold", config)
        each: Any = self.call(fold, Arguments((series,), {}))
        weights = self.weights.of(path)
        if is_model(inner):
            each = self.model(inner, _join(path, name), each, kind)
        else:
            roles = {role.removeprefix(f"{name}/"): tensor for role, tensor in weights.items()}
            if path not in self.layers:
                self.layers[path] = Layer(path, kind, inner, roles)
            each = self.call(self.layers[path], Arguments((each,), {}))
        if not isinstance(each, Ref):
            raise UnsupportedError(f"TimeDistributed {path!r} of a model with several outputs")
        return self.call(
            Layer(path, "TimeDistributed.unfold", config), Arguments((each, series), {})
        )

    def call(self, layer: Layer, arguments: Arguments) -> Ref:
        if len(self.nodes) >= MAX_NODES:
            raise UnsafeError(f"more than {MAX_NODES} calls of layers")
        self.nodes.append(Node(layer, arguments.args, arguments.kwargs))
        return Ref(len(self.nodes) - 1)


def is_model(config: Any) -> bool:
    """Is it the config of a model? Before Keras 2.2.3 that of a Sequential was a list."""
    return isinstance(config, list) or (
        isinstance(config, Mapping) and isinstance(config.get("layers"), list)
    )


def _entry(entry: Any, what: str) -> tuple[str, Any, str]:
    """(class, config, name) of a serialized layer. Raises CorruptError."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        raise CorruptError(f"the config of {what} has no class_name")
    config = entry.get("config")
    if not isinstance(config, (Mapping, list)):
        raise CorruptError(f"the config of {what} has no config")
    own = config.get("name") if isinstance(config, Mapping) else None
    name = entry.get("name")
    name = name if isinstance(name, str) else own if isinstance(own, str) else ""
    kind = entry["class_name"].rpartition(">")[2]
    if isinstance(config, Mapping):
        kind, config = keras1.renamed(kind, config)
    return kind, config, name


def _listed(config: Any) -> list[tuple[str, Any, str]]:
    layers = config if isinstance(config, list) else config["layers"]
    return [_entry(entry, f"layer {i}") for i, entry in enumerate(layers)]


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def first_input(config: Any, version: int) -> tuple[str, Any, str]:
    """(name, shape with the batch, dtype) of the input of a Sequential."""
    listed = _listed(config)
    for kind, inner, name in listed[:1]:
        if kind == "InputLayer" or _has_shape(inner):
            shape, dtype = _input_spec(inner)
            return name if kind == "InputLayer" else f"{name}_input", shape, dtype
        if is_model(inner):
            return first_input(inner, version)
    shape = config.get("build_input_shape") if isinstance(config, Mapping) else None
    if not isinstance(shape, (list, tuple)):
        raise UnsupportedError(
            "the config does not say the shape of the model's input",
            advice="Build the model (or call it once) before it is saved.",
        )
    dtype = "int32" if listed and listed[0][0] == "Embedding" else "float32"
    return "input", list(shape), dtype


def _has_shape(config: Any) -> bool:
    return isinstance(config, Mapping) and bool(
        config.get("batch_input_shape") or config.get("batch_shape")
    )


def _input_spec(config: Any) -> tuple[Any, str]:
    config = config if isinstance(config, Mapping) else {}
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    dtype = config.get("dtype")
    if isinstance(dtype, Mapping):
        inner = dtype.get("config")
        dtype = inner.get("name") if isinstance(inner, Mapping) else None
    return shape, dtype if isinstance(dtype, str) else "float32"
