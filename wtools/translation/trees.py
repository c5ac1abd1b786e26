"""A whole tree in another framework's conventions: lazily, with what was done to each tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import UnsupportedError, UsageError
from ..layers import LayerMap
from ..tree import Tensor, WeightTree
from . import addends
from .behaviour import behaviour
from .canonical import canonical
from .doubts import unsure
from .model import SEPARATORS, Canonical, CanonicalLayer, layout_of
from .onnx_paths import numbered, restored
from .records import KEY, layer_record, original_slots, record
from .spelling import Spelled, refuse, renamed, spelled

CONVENTIONS = ("keras", "torch", "onnx")
_SURE = 0.9  # from here on an inferred class is written down as the layer's class


@dataclass(frozen=True)
class Entry:
    """One tensor of a translated tree: what it is made of, and how.

    sources: names in the source. steps: in order, in words; ("renamed",) for a mere copy and
    nothing where not even the name changed. losses: what cannot be undone.
    """

    name: str
    sources: tuple[str, ...]
    steps: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Translation:
    """A tree in the convention `to`, not yet read.

    entries: name in the tree -> what it is made of. notes: what was assumed and what differs in
    behaviour. left_out: names of the source that the target has no use for.
    problems: why layers cannot be translated; their tensors are not in the tree.
    """

    tree: WeightTree
    source: str
    to: str
    entries: Mapping[str, Entry]
    notes: Sequence[str] = ()
    left_out: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def losses(self) -> list[str]:
        """What cannot be undone, one line each."""
        return [loss for entry in self.entries.values() for loss in entry.losses]

    def check(self) -> None:
        """Raise UnsupportedError if there is any problem."""
        if self.problems:
            more = f" (and {len(self.problems) - 5} more)" if len(self.problems) > 5 else ""
            raise UnsupportedError("; ".join(self.problems[:5]) + more, path=self.tree.path or None)


def translate(
    tree: WeightTree,
    to: str,
    *,
    heads: Mapping[str, int] | None = None,
    flatten: Mapping[str, Sequence[int]] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> WeightTree:
    """`tree` as the framework `to` ("keras", "torch", "onnx") names and lays out its weights.

    Nothing is read; each tensor is rearranged when it is. heads, flatten, kinds: see `translated`.
    Raises UnsupportedError, the layers named, for what cannot be translated.
    """
    found = translated(tree, to, heads=heads, flatten=flatten, kinds=kinds)
    found.check()
    notes = (*found.tree.notes, *found.losses, *found.notes)
    return found.tree.replace(found.tree.values(), notes=notes)


def translated(
    tree: WeightTree,
    to: str,
    *,
    heads: Mapping[str, int] | None = None,
    flatten: Mapping[str, Sequence[int]] | None = None,
    kinds: Mapping[str, str] | None = None,
    layers: LayerMap | None = None,
    keeps: bool = True,
) -> Translation:
    """How `tree` becomes one of the convention `to`. Reads no data, but for sums whose record
    tells what was added.

    heads: attention layer -> its number of heads, which nn.MultiheadAttention's weights do not
    tell. flatten: dense layer -> (height, width, channels) of the image that is flattened before
    it, whose order differs between channels last and channels first; Keras models say it
    themselves. kinds: layer -> its kind, where names and shapes tell another. keeps: will what
    the tensors remember stay with them, and their bits be the same?
    Raises UsageError for a convention or a layer that there is not.
    """
    if to not in CONVENTIONS:
        raise UsageError(f"{to!r} is none of the conventions {', '.join(CONVENTIONS)}")
    known = _images(tree, to)
    flatten = {**{path: image for path, image in known.items() if image}, **(flatten or {})}
    found = canonical(tree, layers, heads=heads, flatten=flatten, kinds=kinds)
    made = _Making(tree, found, to, keeps)
    made.run()
    result = tree.replace(
        made.tensors.values(), separator=SEPARATORS[to], convention=to, architecture=None
    )
    return Translation(
        result,
        found.convention,
        to,
        made.entries,
        [*found.notes, *unsure(found, to, known), *made.notes, *behaviour(tree, found, to)],
        made.left_out,
        made.problems,
    )


def _images(tree: WeightTree, to: str) -> dict[str, tuple[int, ...]]:
    """The images before dense layers that the config of a Keras model tells."""
    known = tree.architecture if isinstance(tree.architecture, Mapping) else {}
    if to == "keras" or "keras" not in known:
        return {}
    from ..graphs.flattened import flattened

    paths = {tensor.layer for tensor in tree.values()}
    return {path: image for path, image in flattened(tree).items() if path in paths}


@dataclass
class _Making:
    """A translation on its way."""

    tree: WeightTree
    found: Canonical
    to: str
    keeps: bool = True
    tensors: dict[str, Tensor] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    summed: list[str] = field(default_factory=list)
    room: int = field(default_factory=lambda: addends.MOST)

    def run(self) -> None:
        """All layers, then the rest, in the source's order."""
        order = {name: at for at, name in enumerate(self.tree)}
        steps: list[tuple[int, CanonicalLayer | Tensor]] = []
        for layer in self.found.layers:
            steps.append((min(order[name] for name in layer.tensors), layer))
        steps += [(order[tensor.name], tensor) for tensor in self.found.rest]
        for _, one in sorted(steps, key=lambda step: step[0]):
            if isinstance(one, Tensor):
                self.rest(one)
            else:
                self.layer(one)
        if self.folded:
            more = f" and {len(self.folded) - 1} more" if len(self.folded) > 1 else ""
            self.notes.append(
                f"{self.folded[0]}{more}: the exporter made these weights anew, as it does where "
                "it folds a BatchNorm into the convolution before it"
            )
        if self.summed:
            more = f" and {len(self.summed) - 1} more" if len(self.summed) > 1 else ""
            self.notes.append(
                f"{self.summed[0]}{more}: two biases added up; both are kept for the way back"
            )

    def layer(self, layer: CanonicalLayer) -> None:
        told = layer.facts.get("record")
        try:
            if told is not None and told.get("from") == self.to:
                made = self.home(layer, told)
            elif self.exported and layer.convention == "onnx":
                made = restored(layer)
                kernel = layer.parts.get("kernel")
                if "conv" in layer.kind and kernel is not None and numbered(kernel.piece.tensor):
                    self.folded.append(layer.path)
            else:
                made = spelled(layer, self.to)
        except (UnsupportedError, UsageError) as error:
            named = "" if repr(layer.path) in str(error) else f"layer {layer.path!r}: "
            self.problems.append(named + str(error))
            return
        source = self.found.convention
        known = layer_record(layer) if source != self.to else None
        for one in made:
            tensor = self._described(one, layer, told)
            if known is not None and one.slot is not None:
                remembered = record(source, self.to, known, one.slot)
                if not one.sources:
                    remembered["made"] = True
                if self.keeps and one.addends and addends.nbytes(one.addends) <= self.room:
                    self.room -= addends.nbytes(one.addends)
                    remembered[addends.KEY] = one.addends
                    self.summed.append(one.name)
                    one = one._replace(losses=())
                tensor = replace(tensor, facts={**tensor.facts, KEY: remembered})
            self.add(one, tensor)

    def home(self, layer: CanonicalLayer, told: Mapping[str, Any]) -> list[Spelled]:
        """A layer as it was before it was translated."""
        refuse(layer, self.to)
        try:
            return spelled(layer, self.to, original=original_slots(told))
        except (LookupError, TypeError):  # a record that is none
            return spelled(layer, self.to)

    def _described(
        self, one: Spelled, layer: CanonicalLayer, told: Mapping[str, Any] | None
    ) -> Tensor:
        """The tensor with its layer and class, as far as they are known."""
        if told is not None and told.get("from") == self.to:
            for stored in told["layer"]["stored"]:
                if stored.get("name") == one.name:
                    path, kind = str(stored.get("layer", "")), str(stored.get("class", ""))
                    return replace(one.tensor, layer=path, kind=kind)
        if layer.facts.get("confidence", 1.0) < _SURE or self.to == "onnx":
            return one.tensor
        path = layer.path if self.to == "keras" else layer.path.replace("/", ".")
        separator = SEPARATORS[self.to]
        if not path or not one.name.startswith(path + separator):
            return one.tensor
        classes = layout_of(self.to, layer.kind).classes
        named = classes and (layer.kind != "batch_norm" or self.to == "keras")
        kind = classes[0] if named else ""
        if self.to == "keras" and layer.facts.get("bidirectional"):
            kind = "Bidirectional"
        return replace(one.tensor, layer=path, kind=kind)

    @property
    def exported(self) -> bool:
        """Is it torch's own export, on its way back?"""
        producer = getattr(self.tree.architecture, "producer_name", "")
        return self.to == "torch" and producer == "pytorch"

    def rest(self, tensor: Tensor) -> None:
        constant = tensor.name in self.found.constants and numbered(tensor)
        if self.found.convention == "onnx" and self.to != "onnx" and constant:
            self.left_out.append(tensor.name)
            return
        told = tensor.facts.get(KEY)
        home = isinstance(told, Mapping) and told.get("from") == self.to and told.get("name")
        name = str(home) if home else renamed(tensor.name, self.found.convention, self.to)
        facts = {k: v for k, v in tensor.facts.items() if k not in ("feeds", "via", "node", KEY)}
        if self.found.convention != self.to and not home:
            own = {"from": self.found.convention, "to": self.to, "name": tensor.name}
            facts[KEY] = own
        new = replace(tensor, name=name, stored=name, layer="", kind="", facts=facts)
        steps = ("renamed",) if name != tensor.name else ()
        self.add(Spelled(name, new, steps, (), (tensor.name,)), new)
        if tensor.ndim > 1 and self.found.convention != self.to:
            self.notes.append(f"{tensor.name}: what it is is not known: its axes stay as they are")

    def add(self, one: Spelled, tensor: Tensor) -> None:
        if one.name in self.tensors:
            if self.exported and all(numbered(self.tree[name]) for name in one.sources):
                self.left_out += one.sources  # a turned copy of what kept its name
                return
            first = self.entries[one.name].sources
            both = " and ".join(map(repr, (*first[:1], *one.sources[:1])))
            self.problems.append(f"{both} would both be named {one.name!r}")
            return
        self.tensors[one.name] = tensor
        self.entries[one.name] = Entry(one.name, one.sources, one.steps, one.losses)
