"""`wtools freeze BASE TUNED`: which tensors and blocks moved in fine-tuning, and which stayed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...errors import WtoolsError
from ...layers import LayerMap, TensorRole, layer_map
from ...reports import Report
from ...tree import Tensor, WeightTree
from ..alike import alike
from ..change import Change, Measured, measured
from ..counterparts import counterparts
from ..listing import heading, tree_notes
from ..matching import pairs
from ..stats import few
from .rank import Rank, rank_of_change
from .rows import MovedBlockRow, MovedRow, block_rows, counted
from .units import units
from .verdict import MOVED, STATES, STAYED, TINY, Verdict, unusual_grids, verdict


@dataclass(frozen=True)
class _Side:
    """A tree, what its tensors are, and which block each layer is in."""

    tree: WeightTree
    found: LayerMap
    blocks: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, tree: WeightTree) -> _Side:
        found = layer_map(tree)
        cut = units(found)
        return cls(tree, found, {layer: (u.name, u.kind) for u in cut for layer in u.layers})

    def role(self, tensor: Tensor) -> TensorRole:
        return self.found.tensors[tensor.name]

    def block(self, tensor: Tensor) -> tuple[str, str]:
        return self.blocks[self.role(tensor).layer]


def moved(
    base: WeightTree,
    tuned: WeightTree,
    *,
    by: Literal["tensor", "block"] = "tensor",
    tiny: float = TINY,
    dequantize: bool = False,
    rank: bool = True,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """A row for each tensor, or each block, of `base` and `tuned`, in the model's order.

    by: one row per. tiny: relative L2 up to which a movement is `tiny`. dequantize: compare the
    values that quantized integers stand for. rank: estimate the rank of the changes of matrices,
    from up to 256 rows of each. threads, progress: as in `stats`.
    """
    if dequantize:
        base, tuned = base.map(Tensor.dequantized), tuned.map(Tensor.dequantized)
    base, tuned, said = alike(base, tuned)
    a, b = _Side.of(base), _Side.of(tuned)
    found = pairs(base, tuned)
    translated = counterparts(found.only_a, found.only_b, a.found, b.found)
    gone = {x.name for x, _ in translated}
    come = {y.name for _, y in translated}
    work = [*found.matched, *translated]
    results = list(measured(work, casts=True, threads=threads, progress=progress))
    seen = {grid for one in results for grid in unusual_grids(*one)}
    compared = [(one, _verdict(one, tiny, seen)) for one in results]
    rows = [_row(a, b, one, said, rank) for one, said in compared]
    rows += [_lone(a, t, "missing") for t in found.only_a if t.name not in gone]
    order = {name: i for i, name in enumerate(base)}
    rows.sort(key=lambda row: order[row.name])
    rows += [_lone(b, t, "added") for t in found.only_b if t.name not in come]
    rows = _with_remarks(rows)
    changes = {(x.name): c for (x, _, c), _ in compared if isinstance(c, Change)}
    kinds = dict([*b.blocks.values(), *a.blocks.values()])
    return Report(
        schema="wtools.freeze/1",
        title=f"{heading(base)}, fine-tuned: {heading(tuned)}",
        row_type=MovedBlockRow if by == "block" else MovedRow,
        rows=block_rows(rows, changes, base, kinds) if by == "block" else rows,
        summary=_summary(rows),
        notes=[*said, *_notes(base, tuned, rows, found.prefix, len(translated))],
        path=base.path,
        format=base.format,
        failures=[c for (_, _, c), _ in compared if isinstance(c, WtoolsError)],
    )


def _verdict(one: Measured, tiny: float, seen: Collection[str]) -> Verdict:
    x, y, change = one
    said = verdict(x, y, change, tiny, seen)
    if x.shape == y.shape or said.state == "unreadable":
        return said
    if x.size == y.size and isinstance(change, Change):
        return replace(said, why=f"{said.state}, in another shape")
    if isinstance(change, Change) and change.count:
        rows = min(x.shape[0], y.shape[0])
        alike = said.state in STAYED or change.cosine > 0.5
        here = said.state if alike else "unrelated"
        return replace(said, state="resized", why=f"the {rows:,} common rows: {here}")
    return Verdict("resized", why="no rows in common: not compared")


def _row(a: _Side, b: _Side, one: Measured, said: Verdict, rank: bool) -> MovedRow:
    x, y, change = one
    known = change if isinstance(change, Change) and change.count else None
    same = known is not None and not known.changed
    low = _rank(a, x, y, known) if rank and known and said.state in MOVED else None
    role = a.role(x)
    flag = b.tree[y.name].trainable if y.name in b.tree else None
    return MovedRow(
        name=x.name,
        state=said.state,
        dtype=x.dtype if x.dtype == y.dtype else f"{x.dtype} → {y.dtype}",
        shape=x.shape,
        relative_l2=known.relative_l2 if known else None,
        cosine=(1.0 if same else known.cosine) if known else None,
        changed_fraction=known.changed_fraction if known else None,
        sign_flips=known.sign_flips if known else None,
        rank=low.rank if low else None,
        rank_of=low.full if low else None,
        block=a.block(x)[0],
        remark=said.why,
        grid=said.grid,
        hidden=said.hidden,
        low_rank=low.low if low else None,
        trainable=x.trainable if flag is None else flag,
        name_tuned=None if x.name == y.name else y.name,
        shape_tuned=None if x.shape == y.shape else y.shape,
        compared=known.count if known else None,
        max_abs=known.max_abs if known else None,
        l2_base=math.sqrt(known.aa) if known and not same else None,
        l2_change=math.sqrt(known.dd) if known else None,
        count=x.size,
        layer=role.layer,
        kind=role.meaning.kind,
        role=role.meaning.role,
    )


def _lone(side: _Side, tensor: Tensor, state: str) -> MovedRow:
    """A tensor that only one side has."""
    role = side.role(tensor)
    empty: dict[str, Any] = dict.fromkeys(
        (
            *("relative_l2", "cosine", "changed_fraction", "sign_flips", "rank", "rank_of"),
            *("hidden", "low_rank", "name_tuned", "shape_tuned", "compared", "max_abs"),
            *("l2_base", "l2_change"),
        )
    )
    return MovedRow(
        name=tensor.name,
        state=state,
        dtype=tensor.dtype,
        shape=tensor.shape,
        block=side.block(tensor)[0],
        remark="",
        grid="",
        trainable=tensor.trainable,
        count=tensor.size,
        layer=role.layer,
        kind=role.meaning.kind,
        role=role.meaning.role,
        **empty,
    )


def _rank(a: _Side, x: Tensor, y: Tensor, change: Change) -> Rank | None:
    """Of kernels as matrices (inputs by outputs, or the other way); not of tables."""
    meaning = a.role(x).meaning
    if x.ndim < 2 or change.nonfinite or meaning.kind in ("embedding", "positional", "token"):
        return None
    if meaning.axes.endswith("o"):
        shape = (math.prod(x.shape[:-1]), x.shape[-1])
    else:
        shape = (x.shape[0], math.prod(x.shape[1:]))
    try:
        return rank_of_change(x, y, shape)
    except WtoolsError:
        return None


# --- what is peculiar ---------------------------------------------------------------------------


def _with_remarks(rows: Sequence[MovedRow]) -> list[MovedRow]:
    """Rows whose flags and whose movement contradict each other say so."""
    learned: dict[str, set[str]] = {}
    for row in rows:
        if not counted(row):
            learned.setdefault(row.layer, set()).add(row.state)
    anything = any(row.state in MOVED and not counted(row) for row in rows)
    result = []
    for row in rows:
        frozen = learned.get(row.layer, set()) <= STAYED
        remarks = [row.remark] if row.remark else []
        if counted(row) and row.state in MOVED and frozen and row.kind == "batch_norm":
            remarks.append("statistics moved, though the layer is frozen")
        elif not counted(row) and row.trainable is False and row.state in MOVED:
            remarks.append("moved, though not trainable")
        elif row.trainable and row.state in STAYED and anything:
            remarks.append("stayed, though trainable")
        if row.low_rank:
            remarks.append(f"change of rank {row.rank}: as of a low-rank adapter")
        result.append(replace(row, remark="; ".join(remarks)))
    return result


# --- figures over all ----------------------------------------------------------------------------


def _summary(rows: Sequence[MovedRow]) -> dict[str, object]:
    counts = Counter(row.state for row in rows)
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes[row.state] += row.count
    total = sum(sizes.values())
    summary: dict[str, object] = {
        "tensors": {state: counts[state] for state in STATES if counts[state]},
        "parameters": {state: sizes[state] for state in STATES if sizes[state]},
        "moved_fraction": sum(sizes[state] for state in MOVED) / total if total else 0.0,
    }
    looked = [row for row in rows if row.rank_of is not None]
    if looked:
        summary["low_rank_changes"] = sum(bool(row.low_rank) for row in looked)
        summary["changes_of_matrices"] = len(looked)
    return summary


def _notes(
    base: WeightTree, tuned: WeightTree, rows: Sequence[MovedRow], prefix: str, translated: int
) -> Iterator[str]:
    for side, tree in (("BASE", base), ("TUNED", tuned)):
        yield from (f"{side}: {note}" for note in (*tree.notes, *tree_notes(tree)))
    if prefix:
        yield f"names are matched without the prefix {prefix!r} that one side has"
    if translated:
        yield (
            f"{translated:,} tensors are matched by layer and role and compared with their axes "
            "as BASE has them"
        )
    hides = [row.hidden for row in rows if row.hidden is not None]
    if hides:
        grids = ", ".join(sorted({row.grid for row in rows if row.hidden is not None}))
        yield (
            f"rounding ({grids}) alone explains {len(hides):,} tensors; in the least telling a "
            f"step of every element by {max(hides):.2g} may not show (--columns name,hidden)"
        )
    if any(row.rank_of is not None for row in rows):
        yield "rank: of up to 256 rows of each matrix, above what rounding alone would leave"
    stats = [row.name for row in rows if "statistics moved" in row.remark]
    if stats:
        yield (
            f"statistics moved in frozen layers: {few(stats)} "
            "(batch norm runs in training mode there; freeze it in eval mode)"
        )
    quantized = sum(t.quantization is not None for tree in (base, tuned) for t in tree.values())
    if quantized:
        yield (
            f"{quantized:,} quantized tensors: the stored integers are compared "
            "(--dequantize for the values they stand for)"
        )
