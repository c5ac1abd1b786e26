"""From a parsed model to a WeightTree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import CorruptError, NameNotFoundError, WtoolsError
from ...files import Source
from ...tree import Array, LazyData, Quantization, Tensor, WeightTree
from .. import carried
from . import names, parse, quantized
from .collect import Collector, Weight
from .graph import Model
from .quantized import Scheme
from .scopes import Feed, Scope, Scopes, scopes
from .tensors import Tensors
from .wire import Wire

_PER_TENSOR = 2500  # bytes to spend on a Tensor with its facts


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The weights of an ONNX file: one walk over it that skips the data.

    root: "constants" (small literals of Constant nodes) or "training" (initializers of
    training graphs), where the file has them, instead of the model's weights.
    The tree's `architecture` is a `graph.Model`. Closing the tree closes external files too.

    Raises CorruptError, FormatError, UnsafeError, MissingError, NameNotFoundError.
    """
    if not source.size:
        raise CorruptError("an empty file", path=source.path)
    _not_text(source)
    wire = Wire(source)
    tensors = Tensors(source)
    try:
        return _Reader(wire, tensors, parse.model(wire)).tree(root)
    except WtoolsError as error:
        tensors.close()
        error.path = error.path or source.path
        raise


class _Reader:
    """The steps of one reading; each uses what the ones before found."""

    def __init__(self, wire: Wire, tensors: Tensors, model: Model) -> None:
        self.wire = wire
        self.tensors = tensors
        self.model = model
        self.scopes: Scopes = scopes(model)
        self.collector = Collector(tensors)

    def tree(self, root: str | None) -> WeightTree:
        weights = self._collect(self.scopes.model())
        training = self._collect(s for t in self.scopes.training for s in t.all())
        schemes = self._schemes(weights)
        main = [w for w in weights if not w.literal or w in schemes or w.part is not None]
        kept = set(map(id, main))
        apart = {
            "constants": [w for w in weights if id(w) not in kept],
            "training": training,
        }
        made = self._tensors(weights + training, schemes)
        below = {
            name: self._tree([made[id(w)] for w in members])
            for name, members in apart.items()
            if members
        }
        if root is not None:
            if root not in below:
                source = self.tensors.source
                raise NameNotFoundError(root, below, path=source.path, what="set of tensors")
            return below[root]
        tree = self._tree([made[id(w)] for w in main], below, self.collector.notes())
        texts = _carried(self.model)
        # wtools' own file of weights: what it noted is the metadata of what it was made from
        return carried.restore(tree.replace(tree.values(), metadata=texts)) if texts else tree

    def _collect(self, graphs: Iterable[Scope]) -> list[Weight]:
        weights = []
        allowed = 0
        for scope in graphs:
            for weight in self.collector.weights(scope):
                outside = self.tensors.files.nbytes
                self.wire.allow(outside - allowed)
                allowed = outside
                self.wire.spend(_PER_TENSOR)
                weights.append(weight)
        return weights

    def _schemes(self, weights: list[Weight]) -> dict[Weight, Scheme]:
        """The quantized weights; their scales and zero points learn whose part they are."""
        schemes = {}
        for weight in weights:
            scheme = quantized.scheme(weight)
            if scheme is None:
                continue
            schemes[weight] = scheme
            scale = scheme.scales[-1]  # of a bias it is its weight's own, which has come before
            scale.part = scale.part or (weight, "scale")
            if scheme.zero is not None:
                scheme.zero.part = scheme.zero.part or (weight, "zero_point")
        return schemes

    def _tensors(self, weights: list[Weight], schemes: dict[Weight, Scheme]) -> dict[int, Tensor]:
        """id of a weight -> its Tensor, under a unique name."""
        feeds = {id(w): self._feeds(w) for w in weights}
        called = self._names(weights, feeds)
        separator = _separator(called.values())
        layers = {id(w): names.layer_of(w, feeds[id(w)], separator) for w in weights}
        for weight in weights:
            if weight.part is not None:  # a scale belongs to its weight's layer
                layers[id(weight)] = layers[id(weight.part[0])]
        plain = {
            i: _tensor(w, called[i], feeds[i], layers[i]) for i, w in ((id(w), w) for w in weights)
        }
        made = dict(plain)
        for weight, scheme in schemes.items():
            quantization = _quantization(scheme, plain)
            made[id(weight)] = replace(plain[id(weight)], quantization=quantization)
        return made

    def _feeds(self, weight: Weight) -> list[Feed]:
        return self.scopes.feeds(weight.scope, weight.value) if weight.value else []

    def _names(self, weights: list[Weight], feeds: dict[int, list[Feed]]) -> dict[int, str]:
        """Readable stored names keep theirs; numbered ones get what is still free."""
        taken: set[str] = set()
        called: dict[int, str] = {}
        wanted = {id(w): names.name_of(w, feeds[id(w)]) for w in weights}
        own = [w for w in weights if wanted[id(w)] == w.stored]
        rest = [w for w in weights if wanted[id(w)] not in ("", w.stored)]
        for weight in (*own, *rest):
            called[id(weight)] = names.unique(wanted[id(weight)], taken)
        for weight in weights:
            if weight.part is not None and id(weight) not in called:
                whole, what = weight.part
                base = called.get(id(whole), weight.label)
                called[id(weight)] = names.unique(f"{base}_{what}", taken)
        return called

    def _tree(
        self,
        members: Sequence[Tensor],
        apart: dict[str, WeightTree] | None = None,
        notes: Sequence[str] = (),
    ) -> WeightTree:
        source, files = self.tensors.source, self.tensors.files

        def close() -> None:
            files.close()
            source.close()

        opset = self.model.opsets.get("")
        variant = f"IR {self.model.ir_version}" + (f", opset {opset}" if opset else "")
        return WeightTree(
            members,
            format="onnx",
            variant=variant + (", external data" if len(files) else ""),
            path=source.path,
            separator=_separator(tensor.name for tensor in members),
            metadata=_metadata(self.model),
            architecture=self.model,
            apart=apart,
            notes=notes,
            close=close,
        )


def _separator(called: Iterable[str]) -> str:
    """What joins the parts of most names: torch exporters write dots, most others slashes."""
    dots = sum(("." in name) - ("/" in name) for name in called)
    return "." if dots > 0 else "/"


def _tensor(weight: Weight, name: str, feeds: list[Feed], layer: str) -> Tensor:
    elements = weight.elements
    facts: dict[str, Any] = {**weight.facts, **names.facts_of(feeds)}
    kind = feeds[0].use.node.op_type if feeds else ""
    if weight.node is not None:
        kind, layer = weight.node.op_type, weight.scope.prefix + weight.label.rpartition(".")[0]
        facts["feeds"] = [(weight.label.rpartition(".")[0], kind, weight.attribute)]
    if weight.origin != "initializer":
        facts["held_in"] = f"{weight.origin} node" if weight.origin == "constant" else "attribute"
    return Tensor(
        name,
        elements.shape,
        elements.dtype,
        elements.data,
        stored=weight.stored,
        storage=elements.storage,
        layer=layer,
        kind=kind,
        facts=facts,
    )


def _quantization(scheme: Scheme, made: dict[int, Tensor]) -> Quantization:
    zero = None if scheme.zero is None else made[id(scheme.zero)]
    scales = [made[id(scale)] for scale in scheme.scales]
    scale = scales[0] if len(scales) == 1 else _product(scales)
    return Quantization(scale, zero, scheme.axis, scheme.block_size)


def _product(scales: list[Tensor]) -> Tensor:
    """The scale of a quantized bias: input scale times weight scale, computed when asked for."""
    size = max(scale.size for scale in scales)
    shape = () if size == 1 else (size,)

    def compute() -> Array:
        product = np.ones(shape, np.float32)
        for scale in scales:
            product = product * scale.read().reshape(-1 if scale.size > 1 else ())
        return product

    return Tensor("*".join(scale.name for scale in scales), shape, "float32", LazyData(compute))


def _metadata(model: Model) -> dict[str, Any]:
    """The model's own notes, without those it leaves empty."""
    notes: dict[str, Any] = {
        "producer_name": model.producer_name,
        "producer_version": model.producer_version,
        "ir_version": model.ir_version,
        "opset_import": {domain or "ai.onnx": v for domain, v in model.opsets.items()},
        "domain": model.domain,
        "model_version": model.model_version,
        "doc_string": model.doc_string,
        "graph": model.graph.name,
        "metadata_props": dict(model.properties),
    }
    return {key: value for key, value in notes.items() if value}


def _carried(model: Model) -> dict[str, str]:
    """What wtools noted in a file of weights, in the pieces that it cuts it into."""
    properties = dict(model.properties)
    names = [f"{carried.KEY}{i or ''}" for i in range(len(properties))]
    return carried.texts("".join(properties.get(name, "") for name in names))


def _not_text(source: Source) -> None:
    head = source.pread(0, min(source.size, 64)).lstrip()
    if head.startswith((b"ir_version", b"<")) or head[:1] == b"{":
        raise CorruptError(
            "is text, not the binary form of an ONNX model",
            path=source.path,
            advice="Convert it: onnx.save(onnx.load(path, format='textproto'), 'model.onnx').",
        )
