"""The rows of `wtools freeze BASE TUNED`: a tensor's, and those of a block put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...reports import column
from ...tree import WeightTree, tie_key
from ..change import Change
from .units import STATISTICS
from .verdict import MOVED, STAYED


@dataclass(frozen=True)
class MovedRow:
    """One tensor of BASE, or of TUNED where BASE has none."""

    name: str = column("the tensor's name in BASE; in TUNED where it was added")
    state: str = column("what became of it")
    dtype: str = column("element type in BASE, and in TUNED where that is another")
    shape: tuple[int, ...] = column("size along each axis in BASE")
    relative_l2: float | None = column("|TUNED - BASE| / |BASE|", short="rel L2")
    cosine: float | None = column("of the angle between BASE and TUNED")
    changed_fraction: float | None = column(
        "elements with other bits (other values, where retyped)", unit="fraction", short="changed%"
    )
    sign_flips: int | None = column("elements that changed their sign", unit="count")
    rank: int | None = column("numerical rank of a matrix's change, if 64 or less")
    rank_of: int | None = column("the highest rank it could have had where it was looked at")
    block: str = column("the block it belongs to")
    remark: str = column("what is peculiar about it")
    grid: str = column("the dtype whose rounding explains the change", shown=False)
    hidden: float | None = column(
        "a step of every element that this rounding hides with a chance of 5 % at most", shown=False
    )
    low_rank: bool | None = column("is the change's rank that of a low-rank adapter?", shown=False)
    trainable: bool | None = column("the flag in TUNED's file, else in BASE's", shown=False)
    name_tuned: str | None = column("its name in TUNED, where that is another", shown=False)
    shape_tuned: tuple[int, ...] | None = column("in TUNED, where that is another", shown=False)
    compared: int | None = column("elements compared", unit="count", shown=False)
    max_abs: float | None = column("largest |TUNED - BASE|", shown=False)
    l2_base: float | None = column("Euclidean norm in BASE, where it changed", shown=False)
    l2_change: float | None = column("Euclidean norm of TUNED - BASE", shown=False)
    count: int = column("number of elements", unit="count", shown=False)
    layer: str = column("the layer it belongs to", shown=False)
    kind: str = column("the layer's kind", shown=False)
    role: str = column("what the tensor is in its layer", shown=False)


@dataclass(frozen=True)
class MovedBlockRow:
    """The tensors of one block together."""

    name: str = column("the block's path; of stem and head what they are")
    kind: str = column("stem, block, encoder_layer, layer, head, ...")
    state: str = column(
        "frozen, moved, partly moved, statistics only, resized, replaced, new, missing, unclear"
    )
    tensors: int = column("number of tensors", unit="count")
    count: int = column("number of elements, tied tensors once", unit="count", short="params")
    moved: int = column("tensors that moved", unit="count")
    stayed: int = column("tensors that did not, or by rounding alone", unit="count")
    other: int = column("resized, added, missing, unclear", unit="count")
    relative_l2: float | None = column(
        "|TUNED - BASE| / |BASE| of its tensors that changed", short="rel L2"
    )
    highest_rank: int | None = column("of the changes of its matrices, if all are low")
    remark: str = column("what is peculiar about it")


def counted(row: MovedRow) -> bool:
    """Is it a statistic or made by the program, not learned by gradients?"""
    return row.role in STATISTICS or row.kind == "buffer"


def block_rows(
    rows: Sequence[MovedRow],
    changes: Mapping[str, Change],
    base: WeightTree,
    kinds: Mapping[str, str],
) -> list[MovedBlockRow]:
    groups: dict[str, list[MovedRow]] = {}
    for row in rows:
        groups.setdefault(row.block, []).append(row)
    return [_block_row(name, kinds[name], group, changes, base) for name, group in groups.items()]


def _block_row(
    name: str,
    kind: str,
    rows: Sequence[MovedRow],
    changes: Mapping[str, Change],
    base: WeightTree,
) -> MovedBlockRow:
    counts = Counter(row.state for row in rows)
    went = sum(counts[state] for state in MOVED)
    stayed = sum(counts[state] for state in STAYED)
    # the norms of what stayed whole are not known: it was compared byte by byte
    known = [changes[row.name] for row in rows if row.state in MOVED | {"rounding"}]
    whole = sum(known, Change())
    ranks = [row.rank for row in rows if row.rank_of is not None]
    low = all(row.low_rank for row in rows if row.rank_of is not None)
    distinct = {tie_key(base[r.name]) if r.name in base else r.name: r.count for r in rows}
    remarks = Counter(r.remark for r in rows if "though" in r.remark)
    return MovedBlockRow(
        name=name,
        kind=kind,
        state=_state_of(rows, went, stayed),
        tensors=len(rows),
        count=sum(distinct.values()),
        moved=went,
        stayed=stayed,
        other=len(rows) - went - stayed,
        relative_l2=whole.relative_l2 if known else 0.0 if stayed else None,
        highest_rank=max((r for r in ranks if r is not None), default=None) if low else None,
        remark="; ".join(f"{text} ({n})" for text, n in remarks.items()),
    )


def _state_of(rows: Sequence[MovedRow], went: int, stayed: int) -> str:
    states = {row.state for row in rows}
    if states == {"added"}:
        return "new"
    if states == {"missing"}:
        return "missing"
    if states == {"added", "missing"}:
        return "replaced"
    learned = [row.state for row in rows if not counted(row)]
    if stayed == len(rows):
        return "frozen"
    if went and all(state in STAYED for state in learned):
        return "statistics only"
    if learned and all(state in MOVED for state in learned):
        return "moved"
    if went:
        return "partly moved"
    return "resized" if "resized" in states else "unclear"
