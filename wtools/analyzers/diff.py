"""What differs between two models: tensor by tensor, and by how much.

A tensor is `changed` when any of its bits is, so a NaN that appears counts and a NaN that stays the
same does not. All figures are over the elements that are finite on both sides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import WtoolsError
from ..layers import layer_path
from ..reports import Report, column
from ..tree import Tensor, WeightTree
from .alike import alike
from .change import Change, measured
from .listing import heading, tree_notes
from .matching import Pairs, pairs, renamed
from .stats import few

# what keeps a model from loading first, then what changes its results, then what does not
STATUSES = (
    *("unreadable", "removed", "added", "reshaped", "changed", "retyped", "renamed", "close"),
    "identical",
)
EQUAL = ("identical", "close")


@dataclass(frozen=True)
class DiffRow:
    """One tensor of A, or of B where A has none."""

    name: str = column("the tensor's name in A; in B where it was added")
    status: str = column("what became of it")
    renamed_to: str | None = column("its name in B, where that is another")
    dtype: str = column("element type in A, and in B where that is another")
    shape: tuple[int, ...] = column("size along each axis in A")
    shape_b: tuple[int, ...] | None = column("in B, where that is another")
    relative_l2: float | None = column("|B - A| / |A|", short="rel L2")
    max_abs: float | None = column("largest |B - A|")
    cosine: float | None = column("of the angle between A and B; 1 if both are zero")
    changed_fraction: float | None = column(
        "elements with other bits (other values, where retyped)", unit="fraction", short="changed%"
    )
    sign_flips: int | None = column("elements that changed their sign", unit="count")
    nonfinite_changes: int | None = column(
        "elements that became NaN or infinite, or ceased to be", unit="count", short="NaN/Inf"
    )
    cast_equal: bool | None = column(
        "where retyped: is one side the other, cast to its dtype?", short="cast equal"
    )
    changed: int | None = column("elements with other bits", unit="count", shown=False)
    compared: int | None = column("elements compared", unit="count", shown=False)
    l2_a: float | None = column("Euclidean norm in A", shown=False)
    l2_b: float | None = column("Euclidean norm in B", shown=False)
    l2_change: float | None = column("Euclidean norm of B - A", shown=False)
    count: int = column("number of elements", unit="count", shown=False)
    nbytes: int = column("bytes of the elements", unit="bytes", shown=False)
    layer: str = column("the layer it belongs to", shown=False)
    kind: str = column("the layer's class or operator, where known", shown=False)
    dtype_b: str | None = column("element type in B", shown=False)


def diff(
    a: WeightTree,
    b: WeightTree,
    *,
    tolerance: float = 0.0,
    everything: bool = False,
    dequantize: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """A row for each tensor that differs between `a` and `b`, what matters most first.

    tolerance: a tensor whose relative L2 change is at most this is `close`, not `changed`; it
        never hides a NaN or an infinity.
    everything: rows of identical and close tensors too.
    dequantize: compare the values that quantized integers stand for, not the integers.
    threads, progress: as in `stats`; progress is called with bytes of `a`.

    Two frameworks' models are compared as one of the two would store both, see `alike`.
    Tensors are matched by name (see `matching.pairs`), those left over by content. `summary` counts
    the tensors of each status; `summary["differ"]` says whether any is not identical or close.
    """
    if dequantize:
        a, b = a.map(Tensor.dequantized), b.map(Tensor.dequantized)
    a, b, said = alike(a, b)
    found = pairs(a, b)
    moved = renamed(found.only_a, found.only_b, threads=threads)
    gone, come = {t.name for t, _ in moved}, {t.name for _, t in moved}
    compared = list(measured(found.matched, threads=threads, progress=progress))
    rows = [_row(a, x, y, change, tolerance) for x, y, change in compared]
    rows += [_row(a, x, y, None, tolerance, "renamed") for x, y in moved]
    rows += [
        _row(a, t, None, None, tolerance, "removed") for t in found.only_a if t.name not in gone
    ]
    rows += [_row(b, t, None, None, tolerance, "added") for t in found.only_b if t.name not in come]
    failures = [change for _, _, change in compared if isinstance(change, WtoolsError)]
    return Report(
        schema="wtools.diff/1",
        title=f"{heading(a)} against {heading(b)}",
        row_type=DiffRow,
        rows=sorted((r for r in rows if everything or r.status not in EQUAL), key=_rank),
        summary=_summary(a, b, rows, [change for _, _, change in compared]),
        notes=[*said, *_notes(a, b, found)],
        path=a.path,
        format=a.format,
        failures=failures,
    )


def _status(x: Tensor, y: Tensor, change: Change | WtoolsError | None, tolerance: float) -> str:
    if not isinstance(change, Change):
        return "unreadable"
    if x.shape != y.shape:
        return "reshaped"
    if x.dtype != y.dtype:
        return "retyped"
    if not change.changed:
        return "identical"
    within = not change.nonfinite and change.relative_l2 <= tolerance
    return "close" if within and tolerance else "changed"


def _row(
    tree: WeightTree,
    x: Tensor,
    y: Tensor | None,
    change: Change | WtoolsError | None,
    tolerance: float,
    status: str = "",
) -> DiffRow:
    other = y or x
    return DiffRow(
        name=x.name,
        status=status or _status(x, other, change, tolerance),
        renamed_to=None if other.name == x.name else other.name,
        dtype=x.dtype if other.dtype == x.dtype else f"{x.dtype} → {other.dtype}",
        dtype_b=None if y is None else y.dtype,
        shape=x.shape,
        shape_b=None if other.shape == x.shape else other.shape,
        count=x.size,
        nbytes=x.nbytes,
        layer=layer_path(x, tree.separator),
        kind=x.kind,
        **_figures(change if isinstance(change, Change) else None, x.dtype != other.dtype),
    )


_FIGURES = (
    *("relative_l2", "max_abs", "cosine", "changed_fraction", "sign_flips", "changed"),
    *("nonfinite_changes", "compared", "l2_a", "l2_b", "l2_change", "cast_equal"),
)


def _figures(change: Change | None, retyped: bool) -> dict[str, Any]:
    if change is None or not change.count:
        return dict.fromkeys(_FIGURES)
    same = not change.changed
    own = {name: getattr(change, name) for name in _FIGURES if hasattr(change, name)}
    return own | {
        "nonfinite_changes": change.nonfinite,
        "compared": change.count,
        "l2_a": None if same else math.sqrt(change.aa),
        "l2_b": None if same else math.sqrt(change.bb),
        "l2_change": math.sqrt(change.dd),
        "cosine": 1.0 if same else change.cosine,
        "cast_equal": change.cast_equal if retyped else None,
    }


def _rank(row: DiffRow) -> tuple[int, float]:
    """Sorts by status, then by the size of the change; one that is only a cast goes to the end."""
    if row.nonfinite_changes:
        size = math.inf
    else:
        size = row.relative_l2 if row.relative_l2 is not None else 0.0
    return STATUSES.index(row.status), -math.inf if math.isnan(size) else -size


def _summary(
    a: WeightTree, b: WeightTree, rows: Sequence[DiffRow], found: Sequence[Change | WtoolsError]
) -> dict[str, object]:
    counts = Counter(row.status for row in rows)
    once = {id(change): change for change in found if isinstance(change, Change)}  # tied pairs
    whole = sum(once.values(), Change())
    summary: dict[str, object] = {
        "differ": any(row.status not in EQUAL for row in rows),
        "tensors_a": len(a),
        "tensors_b": len(b),
        "tensors": {status: counts[status] for status in reversed(STATUSES) if counts[status]},
    }
    if whole.changed:
        summary |= {
            "elements_compared": whole.count,
            "changed_fraction": whole.changed_fraction,
            "nonfinite_changes": whole.nonfinite,
            "max_abs": whole.max_abs,
        }
    return summary


def _notes(a: WeightTree, b: WeightTree, found: Pairs) -> Iterator[str]:
    for side, tree in (("A", a), ("B", b)):
        yield from (f"{side}: {note}" for note in (*tree.notes, *tree_notes(tree)))
    if found.prefix:
        yield f"names are matched without the prefix {found.prefix!r} that one side has"
    tied_a, tied_b = ({frozenset(g) for g in tree.tied()} for tree in (a, b))
    names = a.keys() & b.keys()
    for here, there, one, other in ((tied_a, tied_b, "A", "B"), (tied_b, tied_a, "B", "A")):
        apart = [sorted(g) for g in here if g <= names and not any(g <= h for h in there)]
        if apart:
            shown = few([" = ".join(group) for group in sorted(apart)])
            yield f"tied in {one}, stored separately in {other}: {shown}"
    other_keys = [key for key in {**a.metadata, **b.metadata} if _of(a, key) != _of(b, key)]
    if other_keys and a.format == b.format:
        yield f"metadata differ in {len(other_keys):,} keys: {few(other_keys)}"
    plain = isinstance(a.architecture, dict) and isinstance(b.architecture, dict)
    if plain and a.architecture != b.architecture:
        yield "the architectures that the files describe differ"
    quantized = sum(t.quantization is not None for tree in (a, b) for t in tree.values())
    if quantized:
        yield (
            f"{quantized:,} quantized tensors: the stored integers are compared "
            "(--dequantize for the values they stand for)"
        )


def _of(tree: WeightTree, key: str) -> object:
    metadata: Mapping[str, Any] = tree.metadata
    return metadata.get(key)
