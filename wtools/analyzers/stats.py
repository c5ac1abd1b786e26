"""Statistics of every tensor, from one pass over its data.

All figures are of the finite elements; NaN and infinities are counted apart, so that one NaN does
not hide what the other million elements are. Complex elements count as their magnitudes. `std` and
`var` are those of the population (numpy's default, ddof=0).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .. import dtypes
from ..errors import UsageError, WtoolsError
from ..layers.grouping import layer_path
from ..reports import Report, column
from ..sketch import Sketch
from ..sketch.model import total
from ..sketch.runner import Scan, sketches
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
    q01: float | None = column("quantile 0.01; none where a layer's dtypes differ")
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
    sketch_out: str | os.PathLike[str] | None = None,
    scan: Scan = sketches,
) -> Report:
    """A row of statistics for each tensor (or layer) and their total as the summary.

    dequantize: of the real values that quantized integers stand for, not of the integers.
    threads: how many read and compute; default, every core. progress: called with bytes done.
    sketch_out: also save the sketches there, for `merged`. scan: what reads the tensors.

    Tied tensors are read once, shown under each name, and counted once in layers and total. A
    tensor that cannot be read is listed in the report's `failures` and left out.
    """
    tensors = [t.dequantized() if dequantize else t for t in tree.values()]
    found, failures = _sketched(tensors, threads, progress, scan)
    pairs = [(t, found[tie_key(t)]) for t in tensors if tie_key(t) in found]
    if sketch_out is not None:
        _save(sketch_out, tree, pairs)
    report = _report(tree, pairs, by)
    notes = [*tree.notes, *tree_notes(tree), *_notes(tensors, pairs, failures)]
    return replace(report, notes=notes, failures=failures)


def merged(
    paths: Sequence[str | os.PathLike[str]],
    *,
    by: Literal["tensor", "layer"] = "tensor",
    sketch_out: str | os.PathLike[str] | None = None,
) -> Report:
    """The statistics of several sketch files together, as if their data had been one model's.

    Sketches of one name are added up: parts of a tensor analysed apart become the whole tensor.
    sketch_out: also save the sum. Raises MissingError, CorruptError, or UsageError where parts of
    one name have different dtypes.
    """
    from ..sketch import files

    loaded = [files.load(path) for path in paths]
    whole = files.merge(loaded)
    known: dict[str, Any] = {}
    for file in loaded:
        known |= file.metadata.get("tensors", {})
    pairs = [(_told(name, s, known.get(name, {})), s) for name, s in whole.sketches.items()]
    origins = dict.fromkeys(str(file.metadata.get("path", "")) for file in loaded)
    tree = WeightTree(
        [tensor for tensor, _ in pairs],
        format="sketch",
        path=" + ".join(origins),
        separator=next((str(f.metadata.get("separator", "/")) for f in loaded), "/"),
    )
    if sketch_out is not None:
        _save(sketch_out, tree, pairs)
    return replace(_report(tree, pairs, by), notes=_notes(list(tree.values()), pairs, ()))


def _report(
    tree: WeightTree, pairs: Sequence[tuple[Tensor, Sketch]], by: Literal["tensor", "layer"]
) -> Report:
    return Report(
        schema="wtools.stats/1",
        title=f"Statistics of {heading(tree)}",
        row_type=StatsRow,
        rows=_layer_rows(tree, pairs) if by == "layer" else _tensor_rows(tree, pairs),
        summary=_summary(list(_distinct(pairs))),
        path=tree.path,
        format=tree.format,
    )


@dataclass(frozen=True)
class _Elsewhere:
    """The data of a tensor of which only the sketch is here."""

    name: str

    def read(self) -> Any:
        raise UsageError(f"only the sketch of {self.name!r} is here, not its elements")

    def blocks(self, nbytes: int = 0) -> Iterator[Any]:
        raise UsageError(f"only the sketch of {self.name!r} is here, not its elements")


def _told(name: str, sketch: Sketch, facts: Mapping[str, Any]) -> Tensor:
    """The tensor of a merged sketch; parts whose sizes add up have lost their shape."""
    shape = tuple(facts.get("shape", ()))
    return Tensor(
        name,
        shape if math.prod(shape) == sketch.count else (sketch.count,),
        sketch.dtype,
        _Elsewhere(name),
        stored=str(facts.get("stored", name)),
        layer=str(facts.get("layer", "")),
        kind=str(facts.get("kind", "")),
    )


def _save(
    path: str | os.PathLike[str], tree: WeightTree, pairs: Sequence[tuple[Tensor, Sketch]]
) -> None:
    from ..sketch import files

    distinct = list(_distinct(pairs))
    tensors = {
        t.name: {"shape": t.shape, "stored": t.stored, "layer": t.layer, "kind": t.kind}
        for t, _ in distinct
    }
    metadata = {
        "path": tree.path,
        "format": tree.format,
        "separator": tree.separator,
        "tensors": tensors,
    }
    files.save(path, {t.name: s for t, s in distinct}, metadata)


def _sketched(
    tensors: Sequence[Tensor],
    threads: int | None,
    progress: Callable[[int], None] | None,
    scan: Scan,
) -> tuple[dict[object, Sketch], list[WtoolsError]]:
    """tie key -> sketch of every distinct tensor that can be read, and what went wrong."""
    distinct = list({tie_key(t): t for t in reversed(tensors)}.values())[::-1]
    found: dict[object, Sketch] = {}
    failures: list[WtoolsError] = []
    for tensor, result in scan(distinct, threads=threads, progress=progress):
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
    for path, everything in members.items():
        below = weights(everything)
        whole = combined([sketch for _, sketch in below])
        rows.append(
            StatsRow(
                name=path or "(no layer)",
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


def weights(pairs: Sequence[tuple[Tensor, Sketch]]) -> Sequence[tuple[Tensor, Sketch]]:
    """Those of floating point or complex numbers, which a total is of; all if there are none.

    A total with position numbers or step counters in it would say nothing of the weights.
    """
    inexact = [pair for pair in pairs if dtypes.get(pair[1].dtype).kind in ("float", "complex")]
    return inexact or pairs


def combined(sketches: Sequence[Sketch]) -> Sketch:
    """All of them together. Where dtypes differ the moments add up, the histograms cannot."""
    if len({sketch.dtype for sketch in sketches}) > 1:
        sketches = [replace(sketch, dtype="float64", histogram=None) for sketch in sketches]
    return total(sketches)


def _figures(sketch: Sketch) -> dict[str, Any]:
    names = (
        "count mean std min max zero_fraction l2 l1 rms linf nans infs zeros subnormals "
        "skewness kurtosis"
    )
    return {name: getattr(sketch, name) for name in names.split()} | {"l1": float(sketch.l1)}


def _quantiles(sketch: Sketch) -> dict[str, Any]:
    if sketch.histogram is None or not sketch.finite:
        return dict.fromkeys(QUANTILES)
    return dict(zip(QUANTILES, sketch.quantiles(*QUANTILES.values()), strict=True))


def _summary(pairs: Sequence[tuple[Tensor, Sketch]]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "tensors": len(pairs),
        "count": sum(sketch.count for _, sketch in pairs),
        "nbytes": sum(tensor.nbytes for tensor, _ in pairs),
    }
    if pairs:
        whole = _figures(combined([sketch for _, sketch in weights(pairs)]))
        shown = "mean std min max l1 l2 linf rms zeros zero_fraction nans infs"
        summary |= {name: whole[name] for name in shown.split()}
    return summary


def _notes(
    tensors: Sequence[Tensor],
    pairs: Sequence[tuple[Tensor, Sketch]],
    failures: Sequence[WtoolsError],
) -> list[str]:
    notes = []
    for what, counted in (("NaN", "nans"), ("infinities", "infs")):
        found = [tensor.name for tensor, sketch in pairs if getattr(sketch, counted)]
        if found:
            notes.append(f"{what} in {len(found):,} of {len(tensors):,} tensors: {few(found)}")
    kept = {tensor.name for tensor, _ in weights(pairs)}
    left_out = [tensor.name for tensor, _ in _distinct(pairs) if tensor.name not in kept]
    if left_out:
        notes.append(
            "figures over several tensors are of floating-point ones, without "
            f"{len(left_out):,} of integers: {few(left_out)}"
        )
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


def few(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
