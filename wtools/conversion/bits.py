"""verify-bits: are the tensors of two files, of whatever formats, the same bits?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..reports import Report, column
from ..translation import stated
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

    summary["equal"] says whether all are. Names in one of them only are differences. Two files
    that follow different frameworks' conventions are compared as one of these two would store
    both; the note says so.
    """
    sides, notes = _alike(a, b)
    found: list[BitsRow] = []
    for number, (one, other) in enumerate(sides):
        rows = list(_rows(one, other, progress if not number else None))
        if not number or _differing(rows) < _differing(found):
            found = rows
        if not _differing(found):
            break
    differing = _differing(found)
    summary = {
        "equal": differing == 0,
        "tensors": len(found),
        "differing": differing,
        "a": a.path,
        "b": b.path,
        "a_format": a.format,
        "b_format": b.format,
    }
    title = f"{a.path or 'memory'} against {b.path or 'memory'}"
    return Report(
        "wtools.verify-bits/1", title, BitsRow, found, summary, notes, path=b.path, format=b.format
    )


def _differing(rows: list[BitsRow]) -> int:
    return sum(not row.equal for row in rows)


def _alike(a: WeightTree, b: WeightTree) -> tuple[list[tuple[WeightTree, WeightTree]], list[str]]:
    """The pairs of trees to compare: as they are, or each in turn in the other's convention."""
    here, there = stated(a), stated(b)
    if not here or not there or here == there:
        return [(a, b)], []
    from ..translation import translated

    sides, notes = [], []
    for tree, to in ((a, there), (b, here)):
        if to == "onnx":
            continue
        found = translated(tree, to)
        if found.problems:
            notes.append(f"not compared as {to} stores them: {found.problems[0]}")
        else:
            sides.append((found.tree, b) if tree is a else (a, found.tree))
    if not sides:
        return [(a, b)], [f"their layouts differ, {here} and {there}", *notes]
    return sides, [
        f"their layouts differ, {here} and {there}: compared through translation",
        *notes,
    ]


def _rows(
    a: WeightTree, b: WeightTree, progress: Callable[[int], None] | None
) -> Iterator[BitsRow]:
    for name in dict.fromkeys((*a, *b)):
        one, other = _of(a, name), _of(b, name)
        if one is not None and other is not None:
            reason = difference(one, other)
        else:
            reason = f"only in the {'second' if one is None else 'first'} file"
        either = one or other
        assert either is not None
        yield BitsRow(name, either.dtype, either.shape, reason is None, reason or "")
        if progress:
            progress(either.nbytes)


def _of(tree: WeightTree, name: str) -> Tensor | None:
    found = tree.get(name)  # which finds a tensor by its stored name, too
    return found if found is not None and found.name == name else None
