"""What zeros and near-zeros there are, what they are structured by, and what made them.

Magnitudes, their energy and indices come from one pass over every tensor (its sketch). Only
weights that hold zeros or negligible units are read a second time, in slabs, for what the zeros
are structured by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .. import dtypes
from ..errors import WtoolsError
from ..layers import layer_map, layer_path
from ..reports import Report, column
from ..sketch.runner import Scan, sketches
from ..tree import Tensor, WeightTree, tie_key
from .listing import heading, tree_notes
from .sparse.comparison import compared
from .sparse.curve import BIN, Curve, curve
from .sparse.features import features
from .sparse.measured import Measured, measured
from .sparse.signature import signature
from .sparse.structure import permuted
from .stats import few

By = Literal["tensor", "layer", "kind", "model"]
NEAR = 1e-3  # of the rms: below it an element counts as nearly zero
ABSOLUTE = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2)
RELATIVE = (1e-3, 1e-2, 1e-1)
GROUPINGS = ((1, 4), (2, 4), (2, 8), (4, 8), (8, 16))
PRUNED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class SparsityRow:
    """One tensor; or the tensors of a layer, of a kind of layer, or of the model, together."""

    name: str = column("the tensor's name, the layer's path, the kind, or the model's path")
    shape: tuple[int, ...] | None = column("size along each axis; none for several tensors")
    zero_fraction: float = column(
        "elements with a magnitude not above --threshold (0)", unit="fraction", short="zeros%"
    )
    explanation: str = column("what would leave weights like these")
    holding_90: float = column(
        "the fraction of the elements that holds 90 % of the L2 energy",
        unit="fraction",
        short="90% energy in",
    )
    dead_outputs: int | None = column(
        "output units (rows of an embedding) of zeros only", unit="count", short="dead out"
    )
    dead_inputs: int | None = column("input units of zeros only", unit="count", short="dead in")
    pattern: str | None = column(
        "N:M if of M consecutive inputs at most N are not zero, and hardly fewer", short="N:M"
    )
    block: str | None = column("the largest block (outputs x inputs) that 90 % of the zeros fill")
    saved_fraction: float = column(
        "bytes saved by the smallest of the sparse forms", unit="fraction", short="saved%"
    )
    near_zero_fraction: float = column(
        "elements below a thousandth of the rms, zeros among them", unit="fraction", short="near 0%"
    )
    hoyer: float = column("Hoyer's index: 0 all magnitudes equal, 1 one element holds all")
    gini: float = column("Gini index of the magnitudes: 0 all equal, near 1 few hold all")
    zeros: int = column("how many zeros", unit="count", shown=False)
    count: int = column("number of finite elements", unit="count", shown=False)
    outputs: int | None = column("output units", unit="count", shown=False)
    inputs: int | None = column("input units", unit="count", shown=False)
    dead_heads: int | None = column(
        "heads of attention of zeros only, where heads are an axis", unit="count", shown=False
    )
    faint_outputs: int | None = column(
        "output units not dead, but all below 1e-4 of the rms", unit="count", shown=False
    )
    faint_inputs: int | None = column("the same of the input units", unit="count", shown=False)
    below: Mapping[str, float] = column(
        "fraction of elements below each magnitude; `0.01 rms` is relative", shown=False
    )
    curve: Sequence[Mapping[str, float]] = column(
        "pruning: smallest fraction, its largest magnitude, the energy it holds", shown=False
    )
    gini_bound: float = column("how far the Gini index may be off", shown=False)
    groups: Mapping[str, float] = column(
        "fraction of groups of M inputs that keep to N:M", shown=False
    )
    permuted_2_4: float | None = column(
        "the fraction that would keep to 2:4 after permuting inputs (estimate)", shown=False
    )
    blocks: Mapping[str, float] = column("fraction of blocks that are zeros only", shown=False)
    gates: Mapping[str, float] = column("zero fraction of each gate (LSTM, GRU)", shown=False)
    survivors: Sequence[int] | None = column(
        "of a linear model: the numbers of the inputs with a weight that is not zero", shown=False
    )
    penalty: str = column("the penalty in training that the file names", shown=False)
    evidence: Mapping[str, float] = column("the figures behind the explanation", shown=False)
    nbytes: int = column("bytes of the elements", unit="bytes", shown=False)
    nbytes_bitmask: int = column("a bit for each, and what is not zero", unit="bytes", shown=False)
    nbytes_csr: int = column("compressed sparse rows", unit="bytes", shown=False)
    layer: str = column("the layer it belongs to", shown=False)
    kind: str = column("the layer's kind, where known", shown=False)
    tied_to: str | None = column("the earlier tensor that is the same bytes", shown=False)


def sparsity(
    tree: WeightTree,
    *,
    by: By = "tensor",
    threshold: float = 0.0,
    dequantize: bool = False,
    compare: WeightTree | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    scan: Scan = sketches,
) -> Report:
    """A row of sparsity figures for each tensor of real numbers (or layer, kind, or the model).

    threshold: magnitudes up to this count as zeros. dequantize: of the values that quantized
    integers stand for. compare: the same model trained in another way; `summary["compared"]`
    tells what survives in which, `features` by name where a linear model knows them. threads,
    progress, scan: as in `stats`.

    `summary` is of the whole model, with the explanation that fits it and the figures behind it.
    """
    tensors = [t.dequantized() if dequantize else t for t in tree.values()]
    real = [t for t in tensors if dtypes.get(t.dtype).kind in ("float", "complex")]
    meanings = {name: role.meaning for name, role in layer_map(tree).tensors.items()}
    found, failures = measured(real, tree, meanings, threshold, threads, progress, scan)
    pairs = [(tensor, found[tie_key(tensor)]) for tensor in real if tie_key(tensor) in found]
    once = list({id(m): m for _, m in pairs}.values())
    return Report(
        schema="wtools.sparsity/1",
        title=f"Sparsity of {heading(tree)}",
        row_type=SparsityRow,
        rows=_rows(tree, pairs, once, by),
        summary=_summary(once)
        | (compared(tree, compare, threshold) if compare is not None else {})
        | features(tree, compare),
        notes=[*tree.notes, *tree_notes(tree), *_notes(tensors, real, once, failures)],
        path=tree.path,
        format=tree.format,
        failures=failures,
    )


def _rows(
    tree: WeightTree,
    pairs: Sequence[tuple[Tensor, Measured]],
    once: Sequence[Measured],
    by: By,
) -> list[SparsityRow]:
    if by == "model":
        return [_row(tree.path or "model", once)] if once else []
    if by in ("layer", "kind"):
        members: dict[str, list[Measured]] = {}
        for one in once:
            path = layer_path(one.tensor, tree.separator)
            members.setdefault(path if by == "layer" else one.meaning.kind, []).append(one)
        return [_row(name or f"(no {by})", group) for name, group in members.items()]
    first: dict[int, str] = {}
    rows = []
    for tensor, one in pairs:
        owner = first.setdefault(id(one), tensor.name)
        rows.append(
            _row(
                tensor.name,
                [one],
                shape=tensor.shape,
                layer=layer_path(tensor, tree.separator),
                tied_to=None if owner == tensor.name else owner,
            )
        )
    return rows


def _row(
    name: str,
    members: Sequence[Measured],
    *,
    shape: tuple[int, ...] | None = None,
    layer: str = "",
    tied_to: str | None = None,
) -> SparsityRow:
    whole = curve(m.sketch for m in members)
    zeros = sum(m.zeros for m in members)
    fit = signature(members)
    sizes = {form: sum(m.bytes_as(form) for m in members) for form in ("", "bitmask", "csr", "n:m")}
    weights = [m for m in members if m.view is not None]
    kinds = {m.meaning.kind for m in members} - {"", "unknown"}
    return SparsityRow(
        name=name,
        shape=shape,
        zeros=zeros,
        zero_fraction=zeros / whole.count if whole.count else math.nan,
        near_zero_fraction=whole.below(NEAR * whole.rms),
        holding_90=whole.holding(0.9),
        hoyer=whole.hoyer(),
        gini=whole.gini(),
        explanation=fit.explanation,
        evidence=fit.evidence,
        penalty=_penalty(members),
        survivors=members[0].survivors() if len(members) == 1 else None,
        saved_fraction=1 - min(sizes.values()) / sizes[""] if sizes[""] else 0.0,
        count=whole.count,
        below=_below(whole),
        curve=_curve(whole),
        gini_bound=0.0 if all(m.sketch.exact for m in members) else BIN,
        nbytes=sizes[""],
        nbytes_bitmask=sizes["bitmask"],
        nbytes_csr=sizes["csr"],
        layer=layer,
        kind=next(iter(kinds)) if len(kinds) == 1 else "",
        tied_to=tied_to,
        **_units(weights),
        **_structure(weights),
    )


def _penalty(members: Sequence[Measured]) -> str:
    """What the file says of all of them alike."""
    told = {m.penalty.told if m.penalty else "" for m in members if m.view or m.is_linear}
    return told.pop() if len(told) == 1 else ""


def _below(whole: Curve) -> dict[str, float]:
    absolute = {f"{t:g}": whole.below(t) for t in ABSOLUTE}
    return absolute | {f"{t:g} rms": whole.below(t * whole.rms) for t in RELATIVE}


def _curve(whole: Curve) -> list[dict[str, float]]:
    return [
        {"fraction": f, "magnitude": whole.magnitude(f), "energy": whole.energy_below(f)}
        for f in PRUNED
        if whole.count
    ]


def _units(weights: Sequence[Measured]) -> dict[str, Any]:
    """Dead and negligible units, added up; None where there is no matrix."""
    names = ("outputs", "inputs", "dead_outputs", "dead_inputs", "faint_outputs", "faint_inputs")
    heads = [m.dead_heads for m in weights if m.dead_heads is not None]
    found = {name: sum(getattr(m, name) for m in weights) if weights else None for name in names}
    return found | {"dead_heads": sum(heads) if heads else None}


def _structure(weights: Sequence[Measured]) -> dict[str, Any]:
    """Groups, blocks and gates of one weight, of several only what all of them agree on."""
    found = [m.structure for m in weights if m.structure is not None]
    patterns = {s.pattern for s in found if s.zeros}
    blocks = {s.block for s in found if s.zeros}
    alone = weights[0] if len(weights) == 1 else None
    own = alone.structure if alone else None
    agreed = next(iter(patterns)) if len(patterns) == 1 else None
    block = next(iter(blocks)) if len(blocks) == 1 else None
    return {
        "pattern": f"{agreed[0]}:{agreed[1]}" if agreed else None,
        "block": f"{block[0]}x{block[1]}" if block else None,
        "groups": {f"{n}:{m}": own.satisfied(n, m) for n, m in GROUPINGS if m in own.groups}
        if own
        else {},
        "permuted_2_4": permuted(own.sample)[1] if own and own.zeros and own.groups else None,
        "blocks": {f"{r}x{c}": e / n for (r, c), (n, e) in own.blocks.items()} if own else {},
        "gates": alone.gates() if alone else {},
    }


def _summary(once: Sequence[Measured]) -> dict[str, Any]:
    whole = curve(m.sketch for m in once)
    zeros = sum(m.zeros for m in once)
    fit = signature(once)
    summary: dict[str, Any] = {"tensors": len(once), "count": whole.count}
    if whole.count:
        summary |= {
            "zeros": zeros,
            "zero_fraction": zeros / whole.count,
            "holding_90_fraction": whole.holding(0.9),
            "hoyer": whole.hoyer(),
            "gini": whole.gini(),
            "explanation": fit.explanation or "too few weights to tell",
            "evidence": fit.evidence,
        }
    return summary


def _notes(
    tensors: Sequence[Tensor],
    real: Sequence[Tensor],
    once: Sequence[Measured],
    failures: Sequence[WtoolsError],
) -> list[str]:
    notes = []
    left_out = [t.name for t in tensors if t not in real]
    if left_out:
        notes.append(f"left out, not real numbers: {few(left_out)}")
    quantized = sum(t.quantization is not None for t in tensors)
    if quantized:
        notes.append(f"{quantized:,} quantized tensors left out (--dequantize for their values)")
    unlooked = [m.tensor.name for m in once if m.too_wide]
    if unlooked:
        notes.append(f"rows too long to look for structure: {few(unlooked)}")
    if failures:
        notes.append(f"{len(failures):,} of {len(tensors):,} tensors could not be read")
    return notes
