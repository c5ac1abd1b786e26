"""What a translation had to take for granted, and how to say it better."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .model import Canonical, CanonicalLayer

_IMAGES = ("conv2d", "conv3d", "conv1d", "depthwise_conv2d", "separable_conv2d")
_BETWEEN = ("batch_norm", "prelu", "group_norm", "instance_norm")
_LEAST = 0.8  # confidence from which on a kind is not spoken of


def unsure(found: Canonical, to: str, known: Collection[str] = ()) -> Iterator[str]:
    """Notes on dense layers that an image may be flattened before, and on kinds by inference.

    known: the layers of which a config tells what is before them.
    """
    if "keras" in (found.convention, to) and found.convention != to:
        yield from _flattened(found.layers, known)
    if to == "torch":
        for one in found.layers:
            if "rows" in one.facts and "flatten" not in one.facts:
                yield (
                    f"{one.path}: the graph flattens its image channels last, and so its rows "
                    f"stay: for a module that flattens channels first --flatten {one.path}=HxWxC"
                )
    doubtful = [one for one in found.layers if one.facts.get("confidence", 1.0) < _LEAST]
    shown = [one for one in doubtful if one.kind in ("dense", "embedding", "rms_norm", "prelu")]
    shown += [one for one in doubtful if "conv" in one.kind]
    for one in shown[:5]:
        sure = one.facts["confidence"]
        yield f"{one.path}: taken for {one.kind} ({sure:.0%}); --kind {one.path}=KIND says it"
    if len(shown) > 5:
        yield f"{len(shown) - 5} more layers are of an uncertain kind: see `wtools layers`"


def _flattened(layers: list[CanonicalLayer], known: Collection[str]) -> Iterator[str]:
    channels = 0
    for one in layers:
        if one.kind in _IMAGES:
            channels = one.sizes.get("o") or one.sizes.get("i", 0) * one.sizes.get("m", 1)
        elif one.kind == "dense":
            inputs = one.sizes.get("i", 0)
            fits = channels > 1 and inputs > channels and inputs % channels == 0
            told = (
                "flatten" in one.facts
                or "rows" in one.facts
                or "record" in one.facts
                or one.path in known
            )
            if fits and not told:
                yield (
                    f"{one.path}: its {inputs} inputs are {inputs // channels} times the "
                    f"{channels} channels before it: if an image is flattened there, its rows "
                    f"are not yet in the other order: --flatten {one.path}=HxWx{channels}"
                )
            channels = 0
        elif one.kind not in _BETWEEN:
            channels = 0
