"""What is in a file: names, dtypes, shapes, sizes; read from headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..layers.grouping import layer_path
from ..reports import Report, column
from ..tree import Tensor, WeightTree, tie_key


@dataclass(frozen=True)
class ListingRow:
    """One tensor."""

    name: str = column("the tensor's name")
    dtype: str = column("element type")
    shape: tuple[int, ...] = column("size along each axis")
    count: int = column("number of elements", unit="count", short="params")
    nbytes: int = column("bytes of the elements as the file packs them", unit="bytes", short="size")
    kind: str = column("the layer's class or operator, where the file says it")
    trainable: bool | None = column("the file's own flag, where it has one")
    tied_to: str | None = column("the earlier tensor that shares these very bytes", shown=False)
    layer: str = column("the layer it belongs to", shown=False)
    stored: str = column("the name exactly as the file has it", shown=False)
    file: str | None = column("the file that holds the bytes", shown=False)
    offset: int | None = column("where in that file they begin", unit="offset", shown=False)
    quantization: str | None = column("how integers stand for real numbers", shown=False)


def listing(tree: WeightTree) -> Report:
    """`wtools ls`: a row for each tensor, in stored order. Reads no tensor."""
    first: dict[object, str] = {}
    rows = []
    for tensor in tree.values():
        owner = first.setdefault(tie_key(tensor), tensor.name)
        rows.append(_row(tensor, tree, None if owner == tensor.name else owner))
    return Report(
        schema="wtools.ls/1",
        title=heading(tree),
        row_type=ListingRow,
        rows=rows,
        summary=_summary(tree),
        notes=[*tree.notes, *tree_notes(tree)],
        path=tree.path,
        format=tree.format,
    )


def heading(tree: WeightTree) -> str:
    """`model.h5 (keras, full model)`."""
    kind = f"{tree.format}, {tree.variant}" if tree.variant else tree.format
    return f"{tree.path} ({kind})" if tree.path else kind


def tree_notes(tree: WeightTree) -> Sequence[str]:
    """What else the file holds, and which names are one tensor."""
    notes = [
        f"also holds {name!r}: {_tensors(len(below))}, not counted here (--root {name})"
        for name, below in tree.apart.items()
    ]
    tied = tree.tied()
    if tied:
        shown = "; ".join(" = ".join(group[:4]) for group in tied[:3])
        more = f"; and {len(tied) - 3:,} more" if len(tied) > 3 else ""
        notes.append(f"tied tensors are counted once: {shown}{more}")
    return notes


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count:,} tensors"


def _row(tensor: Tensor, tree: WeightTree, tied_to: str | None) -> ListingRow:
    return ListingRow(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        count=tensor.size,
        nbytes=tensor.nbytes,
        kind=tensor.kind,
        trainable=tensor.trainable,
        tied_to=tied_to,
        layer=layer_path(tensor, tree.separator),
        stored=tensor.stored,
        file=tensor.storage.file if tensor.storage else None,
        offset=tensor.storage.offset if tensor.storage else None,
        quantization=tensor.quantization.scheme if tensor.quantization else None,
    )


def _summary(tree: WeightTree) -> dict[str, object]:
    distinct = tree.distinct()
    summary: dict[str, object] = {
        "tensors": len(tree),
        "parameters": tree.size,
        "nbytes": tree.nbytes,
        "parameters_by_dtype": _by_dtype(distinct),
    }
    flagged = [tensor for tensor in distinct if tensor.trainable is not None]
    if flagged:
        summary["trainable_parameters"] = sum(t.size for t in flagged if t.trainable)
        summary["frozen_parameters"] = sum(t.size for t in flagged if not t.trainable)
        if len(flagged) < len(distinct):
            summary["unflagged_parameters"] = sum(t.size for t in distinct if t.trainable is None)
    return summary


def _by_dtype(tensors: Sequence[Tensor]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.size
    return dict(counts.most_common())
