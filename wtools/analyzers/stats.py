"""Statistics of every tensor, from one pass over its data.

All figures are of the finite elements; NaN and infinities are counted apart, so that one NaN does
not hide what the other million elements are. Complex elements count as their magnitudes. `std` and
`var` are those of the population (numpy's default, ddof=0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from ..errors import WtoolsError
from ..layers import layer_path
from ..report import Report, column
from ..sketch import Sketch
from ..sketch.runner import sketches
from ..tree import Tensor, WeightTree, tie_key
from .listing import heading, tree_notes

QUANTILES = {"q01": 0.01, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q99": 0.99}


@dataclass(frozen=True)
class StatsRow:
    """One tensor, or one layer's tensors together."""

    name: str = column("the tensor's name, or the layer's path")
    dtype: str = column("element type; several are joined by +")
    shape: tuple[int, ...] | None = column("size along each axis; none for a layer")
    count: int = column("number of elements", unit="count")
    mean: float = column("mean")
    std: float = column("standard deviation of the population")
    min: float = column("smallest element")
    max: float = column("largest element")
    zero_fraction: float = column("fraction of exact zeros", unit="fraction", short="zeros%")
    l2: float = column("Euclidean norm")
    l1: float = column("sum of magnitudes")
    rms: float = column("root of the mean square")
    q01: float | None = column("quantile 0.01")
    q25: float | None = column("first quartile")
    q50: float | None = column("median")
    q75: float | None = column("third quartile")
    q99: float | None = column("quantile 0.99")
    linf: float = column("largest magnitude")
    nans: int = column("NaN elements", unit="count", short="NaN")
    infs: int = column("infinite elements, of either sign", unit="count", short="Inf")
    zeros: int = column("exact zeros, of either sign", unit="count", shown=False)
    subnormals: int = column("subnormal elements", unit="count", shown=False)
    skewness: float = column("third standardized moment", shown=False)
    kurtosis: float = column("fourth standardized moment less 3", shown=False)
    nbytes: int = column("bytes of the elements in the file", unit="bytes", shown=False)
    layer: str = column("the layer it belongs to", shown=False)
    kind: str = column("the layer's class or operator, where known", shown=False)
    tied_to: str | None = column("the earlier tensor that is the same bytes", shown=False)
    stored: str | None = column("the name exactly as the file has it", shown=False)


def stats(
    tree: WeightTree,
    *,
    by: Literal["tensor", "layer"] = "tensor",
    dequantize: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """A row of statistics for each tensor (or layer) and their total as the summary.

    dequantize: of the real values that quantized integers stand for, not of the integers.
    threads: how many read and compute; default, every core. progress: called with bytes done.

    Tied tensors are read once, shown under each name, and counted once in layers and total. A
    tensor that cannot be read is listed in the report's `failures` and left out.
    """
    tensors = [t.dequantized() if dequantize else t for t in tree.values()]
    found, failures = _sketched(tensors, threads, progress)
    pairs = [(t, found[tie_key(t)]) for t in tensors if tie_key(t) in found]
    rows = _layer_rows(tree, pairs) if by == "layer" else _tensor_rows(tree, pairs)
    return Report(
        schema="wtools.stats/1",
        title=f"Statistics of {heading(tree)}",
        row_type=StatsRow,
        rows=rows,
        summary=_summary([(t, s) for t, s in _distinct(pairs)]),
        notes=[*tree.notes, *tree_notes(tree), *_notes(tensors, failures)],
        path=tree.path,
        format=tree.format,
        failures=failures,
    )


def _sketched(
    tensors: Sequence[Tensor], threads: int | None, progress: Callable[[int], None] | None
) -> tuple[dict[object, Sketch], list[WtoolsError]]:
    """tie key -> sketch of every distinct tensor that can be read, and what went wrong."""
    distinct = list({tie_key(t): t for t in reversed(tensors)}.values())[::-1]
    found: dict[object, Sketch] = {}
    failures: list[WtoolsError] = []
    for tensor, result in sketches(distinct, threads=threads, progress=progress):
        if isinstance(result, WtoolsError):
            failures.append(result)
        else:
            found[tie_key(tensor)] = result
    return found, failures


def _distinct(pairs: Iterable[tuple[Tensor, Sketch]]) -> Iterator[tuple[Tensor, Sketch]]:
    seen: set[object] = set()
    for tensor, sketch in pairs:
        if tie_key(tensor) not in seen:
            seen.add(tie_key(tensor))
            yield tensor, sketch


def _tensor_rows(tree: WeightTree, pairs: Sequence[tuple[Tensor, Sketch]]) -> list[StatsRow]:
    first: dict[object, str] = {}
    rows = []
    for tensor, sketch in pairs:
        owner = first.setdefault(tie_key(tensor), tensor.name)
        rows.append(
            StatsRow(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=tensor.shape,
                nbytes=tensor.nbytes,
                layer=layer_path(tensor, tree.separator),
                kind=tensor.kind,
                tied_to=None if owner == tensor.name else owner,
                stored=tensor.stored,
                **_figures(sketch),
                **_quantiles(sketch),
            )
        )
    return rows


def _layer_rows(tree: WeightTree, pairs: Sequence[tuple[Tensor, Sketch]]) -> list[StatsRow]:
    members: dict[str, list[tuple[Tensor, Sketch]]] = {}
    for tensor, sketch in _distinct(pairs):
        members.setdefault(layer_path(tensor, tree.separator), []).append((tensor, sketch))
    rows = []
    for path, below in members.items():
        whole = reduce(Sketch.merge, [sketch for _, sketch in below])
        rows.append(
            StatsRow(
                name=path,
                dtype="+".join(dict.fromkeys(tensor.dtype for tensor, _ in below)),
                shape=None,
                nbytes=sum(tensor.nbytes for tensor, _ in below),
                layer=path,
                kind=next((tensor.kind for tensor, _ in below if tensor.kind), ""),
                tied_to=None,
                stored=None,
                **_figures(whole),
                **_quantiles(whole),
            )
        )
    return rows


def _figures(sketch: Sketch) -> dict[str, Any]:
    names = (
        "count mean std min max zero_fraction l2 l1 rms linf nans infs zeros subnormals "
        "skewness kurtosis"
    )
    return {name: getattr(sketch, name) for name in names.split()}


def _quantiles(sketch: Sketch) -> dict[str, float | None]:
    if sketch.histogram is None or not sketch.finite:
        return dict.fromkeys(QUANTILES)
    return {name: sketch.quantile(q) for name, q in QUANTILES.items()}


def _summary(pairs: Sequence[tuple[Tensor, Sketch]]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "tensors": len(pairs),
        "count": sum(sketch.count for _, sketch in pairs),
        "nbytes": sum(tensor.nbytes for tensor, _ in pairs),
    }
    if pairs:
        whole = _figures(reduce(Sketch.merge, [sketch for _, sketch in pairs]))
        shown = "mean std min max l1 l2 linf rms zeros zero_fraction nans infs"
        summary |= {name: whole[name] for name in shown.split()}
    return summary


def _notes(tensors: Sequence[Tensor], failures: Sequence[WtoolsError]) -> list[str]:
    notes = []
    quantized = sum(t.quantization is not None for t in tensors)
    if quantized:
        notes.append(
            f"{quantized:,} quantized tensors: figures are of the stored integers "
            "(--dequantize for the values they stand for)"
        )
    if any(t.dtype.startswith("complex") for t in tensors):
        notes.append("complex tensors: figures are of the magnitudes")
    if failures:
        notes.append(f"{len(failures):,} of {len(tensors):,} tensors could not be read")
    return notes
