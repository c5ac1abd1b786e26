"""verify-bits: are the tensors of two files, of whatever formats, the same bits?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..reports import Report, column
from ..tree import Tensor, WeightTree
from .compare import difference


@dataclass(frozen=True)
class BitsRow:
    """One name of either file."""

    name: str = column("name of the tensor")
    dtype: str = column("element type in the first file, else in the second")
    shape: tuple[int, ...] = column("sizes of the axes")
    equal: bool = column("the same name, dtype, shape and bits in both")
    reason: str = column("how they differ", default="")


def verify_bits(
    a: WeightTree, b: WeightTree, *, progress: Callable[[int], None] | None = None
) -> Report:
    """Every tensor of two trees compared by name, bit for bit. Schema "wtools.verify-bits/1".

    summary["equal"] says whether all are. Names in one of them only are differences.
    """
    rows = []
    for name in dict.fromkeys((*a, *b)):
        one, other = _of(a, name), _of(b, name)
        if one is not None and other is not None:
            reason = difference(one, other)
        else:
            reason = f"only in the {'second' if one is None else 'first'} file"
        either = one or other
        assert either is not None
        rows.append(BitsRow(name, either.dtype, either.shape, reason is None, reason or ""))
        if progress:
            progress(either.nbytes)
    differing = sum(not row.equal for row in rows)
    summary = {
        "equal": differing == 0,
        "tensors": len(rows),
        "differing": differing,
        "a": a.path,
        "b": b.path,
        "a_format": a.format,
        "b_format": b.format,
    }
    title = f"{a.path or 'memory'} against {b.path or 'memory'}"
    return Report(
        "wtools.verify-bits/1", title, BitsRow, rows, summary, path=b.path, format=b.format
    )


def _of(tree: WeightTree, name: str) -> Tensor | None:
    found = tree.get(name)  # which finds a tensor by its stored name, too
    return found if found is not None and found.name == name else None
