"""The first layer where two models part: layers of the same name, or of the same order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..engines import Engine, Layer
from ..tree import Array
from .compare import arrangements, gap_of
from .inputs import Case
from .reference import ACTIVATIONS

Seen = Mapping[str, Mapping[str, list[Array]]]
SLACK = 10  # times the tolerance that a layer inside may be off: differences come and go

_FAMILIES = (
    ("conv transposed", r"conv\w*transpose|deconv"),
    ("conv", r"conv"),
    ("batch norm", r"batchnorm"),
    ("norm", r"norm(alization)?($|\d)|instancenorm|layernorm|groupnorm"),
    ("recurrent", r"lstm|gru|rnn|bidirectional"),
    ("attention", r"attention"),
    ("global pooling", r"global|adaptive"),
    ("average pooling", r"(average|avg)pool"),
    ("max pooling", r"maxpool"),
    ("embedding", r"embedding|gather"),
    ("dense", r"^dense$|einsumdense|linear|gemm|matmul"),
    ("flatten", r"flatten"),
    ("activation", r"activation|relu|elu|softmax|sigmoid|tanh|gelu|silu|hardswish"),
)
_WEIGHTED = {"conv transposed", "conv", "batch norm", "norm", "recurrent", "embedding", "dense"}


def family(kind: str) -> str:
    """What a layer is, whatever its framework calls it; "" for what is none of these."""
    name = kind.lower().replace("_", "")
    return next((family for family, pattern in _FAMILIES if re.search(pattern, name)), "")


def matched(a: Sequence[Layer], b: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    """Layers that belong together, in A's order: of the same name, or of the same last part of
    it; where there are few such, the layers with weights, if both sides have the same kinds."""
    whole = {_spelled(layer.name): layer for layer in b}
    ends: dict[str, list[Layer]] = {}
    for layer in b:
        ends.setdefault(_end(layer.name), []).append(layer)
    found = []
    for layer in a:
        other = whole.get(_spelled(layer.name))
        same = ends.get(_end(layer.name), [])
        if other is None and len(same) == 1:
            other = same[0]
        if other is not None:
            found.append((layer, other))
    heavy = [[one for one in side if family(one.kind) in _WEIGHTED] for side in (a, b)]
    kinds = [[family(one.kind) for one in side] for side in heavy]
    if len(found) < len(heavy[0]) / 2 and kinds[0] == kinds[1]:
        return list(zip(*heavy, strict=True))
    return found


def _spelled(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def _end(name: str) -> str:
    return _spelled(re.split(r"[/.]", name)[-1])


@dataclass(frozen=True)
class Parting:
    """The first pair of layers whose outputs differ though their inputs need not.

    last: the layer before it that agrees. gap, scale: the largest difference and value there.
    earlier: its input, where it could be seen on both sides, differs already.
    a, b: what was seen of the two layers. reached: all that was seen of A, in order.
    """

    pair: tuple[Layer, Layer]
    last: tuple[Layer, Layer] | None
    gap: float
    scale: float
    a: Mapping[str, list[Array]]
    b: Mapping[str, list[Array]]
    before: tuple[Seen, Seen]
    earlier: bool


def first_parting(
    a: Engine, b: Engine, case: Case, *, atol: float, rtol: float
) -> tuple[Parting | None, int]:
    """(where A and B part on that case, how many layers could be compared)."""
    pairs = matched(a.layers, b.layers)
    if not pairs:
        return None, 0
    _, mine = a.run(case.a, [one.name for one, _ in pairs])
    _, theirs = b.run(case.b, [other.name for _, other in pairs])
    last, compared = None, 0
    for one, other in pairs:
        if one.name not in mine or other.name not in theirs:
            continue
        here, there = mine[one.name], theirs[other.name]
        gap, scale = _gap(one, here["output"], other, there["output"])
        if gap is None:
            continue
        compared += 1
        if gap > SLACK * (atol + rtol * scale):
            before = (mine, theirs)
            earlier = _inputs_differ(here, there, atol, rtol)
            return Parting((one, other), last, gap, scale, here, there, before, earlier), compared
        last = (one, other)
    return None, compared


def _inputs_differ(a: Mapping[str, list[Array]], b: Mapping[str, list[Array]], *tol: float) -> bool:
    if not a.get("input") or not b.get("input"):
        return False
    gap, scale = _gap(Layer(""), a["input"][:1], Layer(""), b["input"][:1])
    return gap is not None and gap > SLACK * (tol[0] + tol[1] * scale)


def _gap(
    one: Layer, a: Sequence[Array], other: Layer, b: Sequence[Array]
) -> tuple[float | None, float]:
    """(the smallest difference of any two candidates, how large the values are); (None, 0) where
    nothing has the same shape. An activation that one side has not yet applied is applied."""
    best, scale = None, 0.0
    for mine in a:
        for theirs in b:
            for arranged in arrangements(theirs, mine.shape):
                for x, y in _activated(mine, one.activation, arranged, other.activation):
                    gap = gap_of(x, y)
                    if best is None or gap < best:
                        best, scale = gap, float(abs(x).max(initial=0.0))
    return best, scale


def _activated(a: Array, own: str, b: Array, its: str) -> list[tuple[Array, Array]]:
    found = [(a, b)]
    if own and not its and own in ACTIVATIONS:
        found.append((a, ACTIVATIONS[own](b.astype("float64"))))
    if its and not own and its in ACTIVATIONS:
        found.append((ACTIVATIONS[its](a.astype("float64")), b))
    return found
