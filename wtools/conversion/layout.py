"""Which convention the output of a conversion follows, and the translation into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import UsageError
from ..layers import layer_map
from ..translation import Translation, convention_of, translated
from ..tree import Tensor, WeightTree
from .options import Options

OF_FORMAT = {"keras": "keras", "pytorch": "torch", "onnx": "onnx"}
LAYOUTS = ("keep", "keras", "torch", "onnx")


def stated(source: WeightTree) -> str:
    """The convention that a file is known to follow; "" where only its tensors could tell."""
    if source.convention:
        return source.convention
    if source.format in OF_FORMAT and source.variant != "plain HDF5":
        return OF_FORMAT[source.format]
    return {"pt": "torch", "tf": "keras"}.get(str(source.metadata.get("format", "")), "")


def target_convention(source: WeightTree, format: str, options: Options) -> str:
    """The convention to translate to; "" where the tensors stay as they are.

    Between frameworks' own formats it is the target's; safetensors and npz hold any convention,
    and only ONNX, whose names and layouts are an exporter's, becomes torch's there. ONNX itself
    holds, without a graph, whatever it is given.
    Raises UsageError for a layout that there is not.
    """
    if options.layout is not None and options.layout not in LAYOUTS:
        raise UsageError(f"--layout {options.layout}: one of {', '.join(LAYOUTS)}")
    if options.layout == "keep" or options.like is not None:
        return ""
    if options.layout is not None:
        wanted = options.layout
        return wanted if wanted != (stated(source) or convention_of(source)) else ""
    known = stated(source)
    wanted = OF_FORMAT.get(format, "torch" if known == "onnx" else "")
    if not known or format == "onnx" or wanted == known:
        return ""
    return wanted


def translation_of(
    source: WeightTree, kept: Iterable[Tensor], to: str, options: Options
) -> Translation:
    """The chosen tensors in the convention `to`, understood amid the whole tree. Reads no data."""
    tensors = [t.dequantized() if options.dequantize else t for t in kept]
    layers = layer_map(source)
    some = source.replace(tensors)
    return translated(
        some,
        to,
        heads=options.heads,
        flatten=options.flatten,
        layers=layers if len(some) == len(source) else layers.only(some),
    )


def pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    """'LAYER=VALUE' as a table. Raises UsageError."""
    found = {}
    for text in texts:
        layer, equals, value = text.rpartition("=")
        if not (layer and equals and value):
            raise UsageError(f"{text!r} is not of the form {what}")
        found[layer] = value
    return found


def heads_of(texts: Iterable[str]) -> dict[str, int]:
    """'mha=8' as a table of numbers. Raises UsageError."""
    found = {}
    for layer, value in pairs(texts, "LAYER=N").items():
        if not value.isdigit() or not int(value):
            raise UsageError(f"{value!r} is no number of heads")
        found[layer] = int(value)
    return found


def images_of(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """'fc1=7x7x512' as a table of shapes, channels last. Raises UsageError."""
    found = {}
    for layer, value in pairs(texts, "LAYER=HxWxC").items():
        sizes = value.lower().split("x")
        if not 2 <= len(sizes) <= 4 or not all(size.isdigit() and int(size) for size in sizes):
            raise UsageError(f"{value!r} is not a shape like 7x7x512, channels last")
        found[layer] = tuple(map(int, sizes))
    return found


def told(found: Translation) -> list[str]:
    """What a person must know of a translation, one line each."""
    lines = list(found.losses)
    if found.left_out:
        many = f" and {len(found.left_out) - 1} more" if len(found.left_out) > 1 else ""
        lines.append(f"constants of the graph that are no weights: {found.left_out[0]}{many}")
    return lines


def change_of(found: Translation, name: str) -> str:
    """What was done to one tensor, in words; "" for a copy under the same name."""
    return ", ".join(found.entries[name].steps)


def sources_of(found: Translation) -> Mapping[str, tuple[str, ...]]:
    """Name in the translated tree -> names in the source."""
    return {name: entry.sources for name, entry in found.entries.items()}
