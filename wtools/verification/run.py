"""Run two models in their engines on the same inputs and say where they part."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import formats
from ..engines import Engine, runnable
from ..errors import UsageError, WtoolsError
from ..graphs.ir import Layer
from ..graphs.keras_config import graph
from ..graphs.values import narrow_policy
from ..reports import Report, column
from ..tree import Array
from .causes import Cause, Suspect, cause_of
from .compare import Difference, arrangements, difference, gap_of
from .inputs import Case, cases, given, paired
from .inputs import channels_first as turned
from .layers import Parting, family, first_parting
from .reference import ACTIVATIONS

ATOL, RTOL = 1e-5, 1e-5
ROUNDING = 0.02  # of a layer's scale: what half precision or eight bits may be off by
LOOSE = 1e-3  # of an output's scale: a larger absolute tolerance hides what it should show

# What usually goes wrong where a hypothesis could not be computed.
USUAL = {
    "batch norm": "epsilon: 1e-3 in Keras, 1e-5 in torch and ONNX by default",
    "norm": "epsilon: 1e-3 in Keras, 1e-5 in torch and ONNX by default",
    "conv": "padding: Keras' `same` with a stride pads more at the end",
    "conv transposed": "padding: which end of the result is cut off",
    "max pooling": "padding: Keras' `same` with a stride pads more at the end",
    "average pooling": "pooling count: is the padding part of the mean?",
    "recurrent": "gate order: i f c o in Keras and torch, i o f c in ONNX; z r h and r z h",
    "dense": "flatten order: rows of the kernel for an image flattened channels first",
    "attention": "the projections: their order, their scale, their mask",
    "activation": "the activation's variant or its parameters",
}


@dataclass(frozen=True)
class Row:
    """One output of one run."""

    case: str = column("batch size and length")
    output: str = column("the output's name, A's where it has one")
    shape: tuple[int, ...] = column("sizes of its axes")
    max_abs: float = column("largest |a - b|")
    max_rel: float = column("largest |a - b| / |a|, of values above atol")
    scale: float = column("largest |a|")
    equal: bool = column("every |a - b| <= atol + rtol * |a|")


def verify(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    module: str | None = None,
    module_b: str | None = None,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    batches: Sequence[int] = (),
    lengths: Sequence[int] = (),
    inputs: Sequence[str] = (),
    channels_first: Sequence[str] = (),
    timeout: float = 600.0,
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run models A and B in their own frameworks, each in a process of its own, and compare.

    A Keras model (.h5, .keras), an ONNX model, a TorchScript file, an estimator of scikit-learn
    (.skops); or weights, with the `module` (and `module_b`, where B's is another) that takes them:
    "model.py" or "model.py:Class", a file that is executed. batches, lengths: sizes of free axes.
    inputs: "?x224x224x3" for each input where neither model says its shape. channels_first: "a",
    "b": sides that take images so where they do not say it themselves. timeout: seconds for one
    load or run.

    The report (schema "wtools.verify/1") has a row for each output of each run; where any
    differs, its summary says the first layer where they part and the likeliest cause. Raises
    UsageError, UnsafeError, MissingExtraError, and FormatError for a model that does not run.
    """
    one = runnable(a, module)
    other = runnable(b, module_b or module)
    with Engine(one, timeout) as left, Engine(other, timeout) as right:
        progress("load both")
        return compare(
            left.ready(),
            right.ready(),
            atol=atol,
            rtol=rtol,
            seed=seed,
            batches=batches,
            lengths=lengths,
            inputs=inputs,
            channels_first=channels_first,
            progress=progress,
        )


def compare(
    left: Engine,
    right: Engine,
    *,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    batches: Sequence[int] = (),
    lengths: Sequence[int] = (),
    inputs: Sequence[str] = (),
    channels_first: Sequence[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """`verify` for two models that are loaded."""
    if atol < 0 or rtol < 0 or any(n < 1 for n in (*batches, *lengths)):
        raise UsageError("tolerances must not be negative, sizes must be positive")
    a, b = _specified(left, right, [given(text) for text in inputs])
    if "b" in channels_first:
        b = turned(b, a)
    if "a" in channels_first:
        a = turned(a, b)
    pairs = paired(a, b)
    rows: list[Row] = []
    worst: Case | None = None
    flat: list[bool] = []
    for case in cases(pairs, seed=seed, batches=batches, lengths=lengths):
        progress(case.name)
        found, alike = _compared(left, right, case, atol, rtol)
        rows += found
        flat += alike
        if worst is None and not all(row.equal for row in found):
            worst = case
    summary: dict[str, Any] = {}
    notes: list[str] = []
    if worst is not None:
        progress("look for the layer")
        summary, notes = _explained(left, right, worst, atol, rtol)
    if flat and all(flat):
        notes.append("the outputs hardly depend on the inputs: this proves little")
    small = min((row.scale for row in rows), default=0.0)
    if atol > LOOSE * small:
        notes.append(
            f"an output reaches only {small:.3g}: an --atol of {atol:g} proves little there"
        )
    return _report(left, right, rows, summary, notes, atol=atol, rtol=rtol, seed=seed)


def _specified(left: Engine, right: Engine, shapes: Sequence[Any]) -> tuple[Any, Any]:
    """The inputs of both sides, with the shapes that were given for them."""
    if not shapes:
        return left.inputs, right.inputs
    if len(shapes) != len(left.inputs):
        raise UsageError(f"{len(shapes)} shapes for {len(left.inputs)} inputs")
    pairs = zip(left.inputs, shapes, strict=True)
    return [replace(i, shape=s.shape, dtype=s.dtype) for i, s in pairs], right.inputs


def _compared(
    left: Engine, right: Engine, case: Case, atol: float, rtol: float
) -> tuple[list[Row], list[bool]]:
    """(a row for each output, for each of several samples whether they are all alike)."""
    mine, _ = left.run(case.a)
    theirs, _ = right.run(case.b)
    if len(mine) != len(theirs):
        raise UsageError(f"A has {len(mine)} outputs and B has {len(theirs)}")
    names = left.outputs or right.outputs
    theirs = _in_order(left.outputs, right.outputs, theirs)
    rows = []
    for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        name = names[number] if number < len(names) else f"output {number}"
        found = _difference(a, b, atol, rtol)
        rows.append(
            Row(case.name, name, a.shape, found.max_abs, found.max_rel, found.scale, found.equal)
        )
    return rows, [gap_of(a[:1], a[1:]) <= 10 * atol for a in mine if a.ndim and len(a) > 1]


def _in_order(a: Sequence[str], b: Sequence[str], arrays: list[Array]) -> list[Array]:
    """B's outputs in A's order, where both have the same names."""
    if a and len(set(b)) == len(b) and set(a) == set(b):
        return [arrays[b.index(name)] for name in a]
    return arrays


def _difference(a: Array, b: Array, atol: float, rtol: float) -> Difference:
    """In the order of axes that fits: images may be channels first on one side."""
    shaped = [b] if b.shape == a.shape else list(arrangements(b, a.shape))
    found = [difference(a, one, atol=atol, rtol=rtol) for one in shaped or [b]]
    return min(found, key=lambda one: one.max_abs)


# --- where they part ------------------------------------------------------------------------------


def _explained(
    left: Engine, right: Engine, case: Case, atol: float, rtol: float
) -> tuple[dict[str, Any], list[str]]:
    """(for the summary, notes): the first layer where they part and why."""
    try:
        parting, compared = first_parting(left, right, case, atol=atol, rtol=rtol)
    except WtoolsError as error:
        return {}, [f"where they part could not be found: {error}"]
    summary: dict[str, Any] = {"layers_compared": compared}
    if parting is None:
        if not compared:
            return summary, ["no layers of the two have the same names: look at both with `layers`"]
        return summary, [f"none of {compared} layers is off by itself: small differences add up"]
    summary |= {
        "layer": parting.pair[0].name,
        "layer_b": parting.pair[1].name,
        "kind": parting.pair[0].kind,
        "after": parting.last[0].name if parting.last else None,
        "layer_max_abs": parting.gap,
    }
    cause = _cause(left, right, parting)
    summary |= {"cause": cause.name, "explanation": cause.text, "cause_left": cause.left}
    here = f"{parting.pair[0].name!r} ({parting.pair[0].kind})"
    text = f"they part at layer {here}, by {parting.gap:.3g} where values reach {parting.scale:.3g}"
    sure = "guess" if cause.left is None else f"computed: {cause.left:.1e} is left"
    return summary, [text, f"likeliest cause: {cause.text} ({sure})"]


def _cause(left: Engine, right: Engine, parting: Parting) -> Cause:
    """Told from the layer's config and weights where either side is a Keras file."""
    between = _activation_before(parting)
    if between is not None:
        return between
    sides = [(left, parting.pair[0], parting.a, parting.b)]
    sides.append((right, parting.pair[1], parting.b, parting.a))
    for number, (engine, layer, mine, theirs) in enumerate(sides):
        if engine.model.engine != "keras" or not mine.get("input"):
            continue
        images = [
            array.shape[1:]
            for seen in parting.before[number].values()
            for array in seen["output"] + seen.get("input", [])
            if array.ndim > 2
        ]
        with formats.open(engine.model.path) as tree:
            try:
                known = graph(tree)
            except WtoolsError:
                continue
            inside = {node.layer.path: node.layer for node in known.nodes}
            own = inside.get(layer.name)
            if own is None:
                continue
            suspect = Suspect(
                own,
                mine["input"][0],
                mine["output"][0],
                theirs["output"],
                theirs.get("input", []),
                list(dict.fromkeys(images)),
                known.version,
            )
            cause = cause_of(suspect) or _precision(own, parting)
        if cause is not None:
            return cause
    if parting.earlier:
        text = "its input differs already, after something that is no layer of both models"
        return Cause("before it", text)
    kind = family(parting.pair[0].kind) or family(parting.pair[1].kind)
    text = USUAL.get(kind, "its options or its weights")
    return Cause(text.partition(":")[0], text)


def _precision(layer: Layer, parting: Parting) -> Cause | None:
    """A guess where Keras computes the layer in fewer bits and the difference is a rounding's."""
    policy = narrow_policy(layer)
    if policy is None or parting.gap > ROUNDING * parting.scale:
        return None
    return Cause(
        "precision", f"precision: Keras computes it by its policy {policy}, not in float32"
    )


def _activation_before(parting: Parting) -> Cause | None:
    """The activation of the layer before, where B's layer already had another input and B is seen
    before its activations (a torch module)."""
    if parting.last is None:
        return None
    one, other = parting.last
    ours, theirs = parting.a.get("input"), parting.b.get("input")
    if not ours or not theirs or not one.activation or other.activation:
        return None
    raw = parting.before[1][other.name]["output"][0].astype(np.float64)
    own = ACTIVATIONS.get(one.activation)
    if own is None or raw.shape != theirs[0].shape or gap_of(own(raw), theirs[0]) < 1e-6:
        return None
    for name, function in ACTIVATIONS.items():
        left = gap_of(function(raw), theirs[0])
        if left < 1e-5:
            text = f"the activation of {one.name!r} is {name}, not {one.activation}"
            return Cause("activation", text, left)
    return None


def _report(
    left: Engine,
    right: Engine,
    rows: Sequence[Row],
    explained: Mapping[str, Any],
    notes: Sequence[str],
    *,
    atol: float,
    rtol: float,
    seed: int,
) -> Report:
    summary = {
        "equal": all(row.equal for row in rows),
        "runs": len({row.case for row in rows}),
        "max_abs": max(row.max_abs for row in rows),
        "max_rel": max(row.max_rel for row in rows),
        "atol": atol,
        "rtol": rtol,
        "seed": seed,
        "engine_a": left.version,
        "engine_b": right.version,
        **explained,
    }
    return Report(
        "wtools.verify/1",
        f"{left.model.shown} against {right.model.shown}",
        Row,
        rows,
        summary,
        notes,
        path=left.model.shown,
        format=left.model.engine,
    )
