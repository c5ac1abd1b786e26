"""A weight as inputs against outputs, whatever its framework's order of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ...layers import Meaning
from ...tree import Tensor, WeightTree
from ..channels import axes_of

_GATED = {"lstm", "gru"}


@dataclass(frozen=True)
class View:
    """A tensor's axes joined to five: (before, X, between, Y, after).

    Of X and Y one runs over outputs, one over inputs; the others (taps of a convolution,
    directions) are places that have a matrix each. reduced: is the input axis summed over? (In an
    embedding it is not; a depthwise kernel has none, and its size here is 1.) gates: the letters
    of the gates along the outputs, in the stored order.
    """

    shape: tuple[int, int, int, int, int]
    outputs_first: bool
    reduced: bool = True
    gates: str = ""
    heads: int = 0
    heads_in: bool = False

    @property
    def outputs(self) -> int:
        return self.shape[1 if self.outputs_first else 3]

    @property
    def inputs(self) -> int:
        return self.shape[3 if self.outputs_first else 1]


def is_coefficient(tensor: Tensor) -> bool:
    """By its name: `coef_`, as scikit-learn's linear models have it."""
    name = tensor.name.lower()
    return name.rpartition("/")[2].rpartition(".")[2].startswith("coef")


def view_of(tensor: Tensor, meaning: Meaning, tree: WeightTree) -> View | None:
    """How `tensor` lies; None for what is no matrix (biases, norms, tables of buffers).

    Where the layer is not known it is taken for a dense one: outputs first in torch, where names
    are dotted, else last.
    """
    if tensor.ndim < 2 or not tensor.size or meaning.kind in ("buffer", "quantization"):
        return None
    axes = axes_of(tensor, meaning)
    if axes is None:
        return None if meaning.axes else _unknown(tensor.shape, tree.separator == ".")
    names = {name for axis in axes for name in axis}
    outputs, inputs = _sides(names, meaning)
    out = [k for k, axis in enumerate(axes) if outputs & set(axis)]
    into = [k for k, axis in enumerate(axes) if inputs & set(axis)]
    gates = _gates(axes, meaning, tree) if meaning.kind in _GATED else ""
    heads = next((tensor.shape[k] for k, axis in enumerate(axes) if tuple(axis) == ("H",)), 0)
    reduced = meaning.kind not in ("embedding", "positional")
    view = _view(tensor.shape, out, into, reduced, gates)
    return replace(view, heads=heads, heads_in="H" in inputs) if view and heads else view


def _sides(names: set[str], meaning: Meaning) -> tuple[set[str], set[str]]:
    """The letters of the outputs and of the inputs."""
    if "V" in names:
        return {"V"}, {"D"}
    if "D" in names:
        heads = {"p", "H", "e"}
        return ({"D"}, heads) if meaning.role.startswith("output") else (heads, {"D"})
    if "r" in names:
        return ({"o"}, {"r"}) if "o" in names else ({"r"}, {"i"})
    if "m" in names:
        return {"i", "m", "o"}, {"i", "m"} if "o" in names else set()
    if "o" in names:
        return {"o"}, {"i"}
    if {"v", "u"} <= names and meaning.role.startswith("projection"):
        return {"v"}, {"u"}
    return {"g", "u"}, {"i", "v"}


def _gates(axes: Sequence[Sequence[str]], meaning: Meaning, tree: WeightTree) -> str:
    """In Keras the fused axis comes last, in torch first; ONNX has its own order."""
    onnx = tree.format == "onnx" and "n" in axes[0]
    orders = {"lstm": ("ifco", "ifco", "iofc"), "gru": ("zrh", "rzh", "zrh")}
    return orders[meaning.kind][2 if onnx else 1 if "g" in axes[0] else 0]


def _unknown(shape: tuple[int, ...], torch: bool) -> View | None:
    last = len(shape) - 1
    return _view(shape, [0], [1]) if torch else _view(shape, [last], [last - 1])


def _view(
    shape: tuple[int, ...],
    out: Sequence[int],
    into: Sequence[int],
    reduced: bool = True,
    gates: str = "",
) -> View | None:
    if not out or any(b - a != 1 for side in (out, into) for a, b in pairwise(side)):
        return None
    if not into or set(into) & set(out):  # depthwise: every output has its own input
        before, after = math.prod(shape[: out[0]]), math.prod(shape[out[-1] + 1 :])
        joined = (before, math.prod(shape[k] for k in out), 1, 1, after)
        return View(joined, True, False)
    first, second = (out, into) if out[0] < into[0] else (into, out)
    sizes = (
        math.prod(shape[: first[0]]),
        math.prod(shape[k] for k in first),
        math.prod(shape[first[-1] + 1 : second[0]]),
        math.prod(shape[k] for k in second),
        math.prod(shape[second[-1] + 1 :]),
    )
    return View(sizes, first is out, reduced, gates)
