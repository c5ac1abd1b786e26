"""What a tree knows beyond names and arrays, as one JSON text that travels in a file's metadata.

Formats with room for free text (safetensors, ONNX, PyTorch, HDF5) carry it under the key
"wtools", so that layers, their classes, `trainable` flags, the order of tied tensors and the
types of metadata come home from a format that has no place of its own for them:

    {"version": 1, "separator": "/", "order": [names, if tied ones were dropped],
     "layers": {"dense": "Dense"}, "of": {"dense/kernel": "dense"},
     "trainable": [names], "frozen": [names], "json": [metadata keys whose text is JSON],
     "aliases": {name: name of the tied tensor that is written for it},
     "names": {name in the file: name, where the reader would find another},
     "convention": whose names and axes the tensors follow, where the format does not tell it,
     "translated": {"layers": [...], "tensors": {name: {"at": 3, ...}}}: of tensors that another
         framework's were translated to, what these were (see `wtools.translation.records`)}

It is advice, never trusted: what does not fit the tensors that are really there is ignored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..tree import Tensor, WeightTree

KEY = "wtools"
TRANSLATED = "translated"  # among a tensor's facts
CONVENTIONS = {  # of the formats
    "keras": "keras",
    "pytorch": "torch",
    "onnx": "onnx",
    "skops": "sklearn",
    "sklearn": "sklearn",
}
_MOST = 64 << 20  # bytes of JSON that are looked at


def metadata(
    tree: WeightTree,
    *,
    separator: str,
    aliases: Mapping[str, str] | None = None,
    write: bool = False,
    names: Mapping[str, str] | None = None,
    order: bool = False,
    convention: str = "",
) -> dict[str, str]:
    """The tree's metadata as strings, with the text described above where there is need for it.

    separator: what a reader of the file would assume, "" for nothing in particular.
    aliases: tensors that are not written, to be noted here if `write`. names: as above.
    order: a reader may find the tensors in another order. convention: that of the format.
    """
    texts = {key: _text(value) for key, value in tree.metadata.items() if key != KEY}
    known: dict[str, Any] = {}
    if tree.separator != separator:
        known["separator"] = tree.separator
    if aliases or order:
        known["order"] = list(tree)
    known["aliases"] = dict(aliases or {}) if write else {}
    known["names"] = dict(names or {})
    own = tree.convention or CONVENTIONS.get(tree.format, "")
    known["convention"] = own if own != convention else ""
    known["translated"] = _translated(tree)
    known["layers"] = {t.layer: t.kind for t in tree.values() if t.layer and t.kind}
    known["of"] = {t.name: t.layer for t in tree.values() if t.layer}
    known["trainable"] = [t.name for t in tree.values() if t.trainable is True]
    known["frozen"] = [t.name for t in tree.values() if t.trainable is False]
    known["json"] = [key for key, value in tree.metadata.items() if not isinstance(value, str)]
    known = {key: value for key, value in known.items() if value}
    if known:
        texts[KEY] = json.dumps({"version": 1} | known, ensure_ascii=False, separators=(",", ":"))
    return texts


def texts(text: str) -> dict[str, str]:
    """The strings of a JSON object of strings, as which some formats keep what `metadata` gives."""
    pairs = _value(text) if len(text) <= _MOST else None
    return _strings(pairs)


def restore(tree: WeightTree) -> WeightTree:
    """`tree` with what the text under "wtools" in its metadata says of it; the text goes."""
    text = tree.metadata.get(KEY)
    if not isinstance(text, str):
        return tree
    rest = {key: value for key, value in tree.metadata.items() if key != KEY}
    known = _parse(text)
    if known is None:
        return tree
    for key in _names(known.get("json")):
        if isinstance(rest.get(key), str):
            rest[key] = _value(rest[key])
    separator, convention = known.get("separator"), known.get("convention")
    return tree.replace(
        _told(_in_order(_renamed(tree, known), known), known),
        metadata=rest,
        separator=separator if isinstance(separator, str) and separator else tree.separator,
        convention=convention if convention in CONVENTIONS.values() else tree.convention,
    )


def _renamed(tree: WeightTree, known: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors under the names they had, with those that were not written for their ties."""
    names = _strings(known.get("names"))
    renamed = [t.rename(names.get(t.stored, t.name)) for t in tree.values()]
    tensors = {tensor.name: tensor for tensor in renamed}
    if len(tensors) < len(renamed):  # then the text is of another file
        tensors = dict(tree)
    for alias, kept in _strings(known.get("aliases")).items():
        if kept in tensors and alias not in tensors:
            tensors[alias] = replace(tensors[kept], name=alias)
    return tensors


def _in_order(tensors: dict[str, Tensor], known: Mapping[str, Any]) -> list[Tensor]:
    ordered = (name for name in _names(known.get("order")) if name in tensors)
    return [tensors[name] for name in dict.fromkeys((*ordered, *tensors))]


def _told(tensors: list[Tensor], known: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors with layers, classes and flags, where the file itself does not say them."""
    of, layers = _strings(known.get("of")), _strings(known.get("layers"))
    trainable = dict.fromkeys(_names(known.get("trainable")), True)
    trainable |= dict.fromkeys(_names(known.get("frozen")), False)
    origins = _origins(known.get(TRANSLATED))
    for tensor in tensors:
        layer = of.get(tensor.name, "")
        if tensor.name in origins:
            facts = {**tensor.facts, TRANSLATED: origins[tensor.name]}
            tensor = replace(tensor, facts=facts)
        yield replace(
            tensor,
            layer=tensor.layer or layer,
            kind=tensor.kind or layers.get(layer, ""),
            trainable=trainable.get(tensor.name) if tensor.trainable is None else tensor.trainable,
        )


def _translated(tree: WeightTree) -> dict[str, Any]:
    """What translated tensors remember; the layer that several of them share stands there once."""
    layers: list[Any] = []
    at: dict[int, int] = {}
    tensors = {}
    for tensor in tree.values():
        told = tensor.facts.get(TRANSLATED)
        if not isinstance(told, Mapping):
            continue
        own = {key: _text_of(value) for key, value in told.items() if key != "layer"}
        layer = told.get("layer")
        if layer is not None:
            if id(layer) not in at:
                at[id(layer)] = len(layers)
                layers.append(layer)
            own["at"] = at[id(layer)]
        tensors[tensor.name] = own
    return {"layers": layers, "tensors": tensors} if tensors else {}


def _text_of(value: Any) -> Any:
    """As JSON: tensors, which are small, as their bytes in base64. Reads these."""
    if isinstance(value, Tensor):
        return base64.b64encode(value.read().tobytes()).decode()
    if isinstance(value, Mapping):
        return {key: _text_of(one) for key, one in value.items()}
    return value


def _origins(value: Any) -> dict[str, dict[str, Any]]:
    """The counterpart of `_translated`."""
    known = value if isinstance(value, dict) else {}
    layers, tensors = known.get("layers"), known.get("tensors")
    if not (isinstance(layers, list) and isinstance(tensors, dict)):
        return {}
    found = {}
    for name, told in tensors.items():
        if not isinstance(told, dict):
            continue
        own = {key: one for key, one in told.items() if key != "at"}
        at = told.get("at")
        if type(at) is int and 0 <= at < len(layers):
            own["layer"] = layers[at]
        found[name] = own
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _parse(text: str) -> dict[str, Any] | None:
    value = _value(text) if len(text) <= _MOST else None
    return value if isinstance(value, dict) and value.get("version") == 1 else None


def _names(value: Any) -> Iterator[str]:
    return (
        (name for name in value if isinstance(name, str)) if isinstance(value, list) else iter(())
    )


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}
