"""Sketch files: the sketches of a model's tensors, to be kept and to be merged elsewhere.

A sketch file is laid out as a safetensors file (so `wtools ls` and every safetensors library show
what is in it): 8 bytes of header length, a JSON header, then arrays. Its arrays, for n tensors:

    counts       int64 [n, 6]     model.COUNTS of each tensor
    moments      float64 [n, 9]   model.MOMENTS of each tensor
    exact        int64 [n, 4, 3]  sum, l1, min, max of integers, each in limbs of 48 bits
    ends         int64 [n]        where each tensor's bins end in the next two arrays
    bins         uint16 or uint32 the bins that are not empty, see `wtools.sketch.bins`
    bin_counts   uint32 or int64  the number of elements in each
    value_ends   int64 [n]        where each tensor's values end in the next array
    values       int64            Sketch.values of tensors with few elements (bits of float64)

The header's `__metadata__` holds `schema` ("wtools.sketch/1"), `tensors` (a JSON list of the
tensors' names and dtypes, and whether they have a histogram and values) and `metadata` (JSON, the
caller's).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..errors import CorruptError, FormatError, UnsafeError, UsageError, WtoolsError
from ..files import Source, atomic
from . import bins as binning
from .model import COUNTS, MOMENTS, Histogram, Sketch

Array = NDArray[Any]

SCHEMA = "wtools.sketch/1"
# name of the array -> its shape after the first axis, and what types it may have
_ARRAYS = {
    "counts": ((len(COUNTS),), ("I64",)),
    "moments": ((len(MOMENTS),), ("F64",)),
    "exact": ((4, 3), ("I64",)),
    "ends": ((), ("I64",)),
    "bins": ((), ("U16", "U32")),
    "bin_counts": ((), ("U32", "I64")),
    "value_ends": ((), ("I64",)),
    "values": ((), ("I64",)),
}
_NUMPY = {"I64": "<i8", "F64": "<f8", "U32": "<u4", "U16": "<u2"}
_EXACT = ("sum", "l1", "min", "max")
# bytes that Python takes for each of these in a JSON text, at most
_JSON_COST = {b"{": 256, b"[": 96, b",": 96}
_FREE = 64 << 20  # bytes that reading a header may always take


@dataclass(frozen=True)
class SketchFile:
    """Sketches by tensor name, and what is known of the file that they were made from."""

    sketches: Mapping[str, Sketch]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def save(
    path: str | os.PathLike[str],
    sketches: Mapping[str, Sketch],
    metadata: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Write sketches and `metadata` (any JSON object) to `path`. Raises OutputError."""
    arrays = _pack(list(sketches.values()))
    tensors = [
        {
            "name": name,
            "dtype": s.dtype,
            "histogram": s.histogram is not None,
            "values": s.values is not None,
        }
        for name, s in sketches.items()
    ]
    texts = {
        "schema": SCHEMA,
        "tensors": json.dumps(tensors),
        "metadata": json.dumps(dict(metadata or {})),
    }
    header: dict[str, Any] = {"__metadata__": texts}
    start = 0
    for name, array in arrays.items():
        spelling = next(s for s, numpy in _NUMPY.items() if array.dtype == numpy)
        offsets = [start, start + array.nbytes]
        header[name] = {"dtype": spelling, "shape": array.shape, "data_offsets": offsets}
        start = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())


def load(path: str | os.PathLike[str]) -> SketchFile:
    """Read a sketch file.

    Raises MissingError, FormatError for a file that is none, CorruptError for one that
    contradicts itself, UnsafeError for a header that would take far more memory than the file.
    """
    with Source(path) as source:
        try:
            return _load(source)
        except WtoolsError:
            raise
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptError(
                f"is not a sound sketch file: {error or type(error).__name__}", path=source.path
            ) from None


def merge(files: Sequence[SketchFile]) -> SketchFile:
    """Add up the sketches of equal names; the metadata are listed under "merged".

    Raises UsageError where the dtypes of one name differ.
    """
    if not files:
        raise UsageError("there is nothing to merge")
    merged: dict[str, Sketch] = {}
    for file in files:
        for name, one in file.sketches.items():
            try:
                merged[name] = merged[name].merge(one) if name in merged else one
            except UsageError as error:
                raise UsageError(error.reason, place=name) from None
    return SketchFile(merged, {"merged": [dict(file.metadata) for file in files]})


# --- packing -------------------------------------------------------------------------------------


def _pack(sketches: Sequence[Sketch]) -> dict[str, Array]:
    histograms = [s.histogram or Histogram.sum([]) for s in sketches]
    whole = Histogram(
        np.concatenate([h.bins for h in histograms] or [np.empty(0, np.uint32)]),
        np.concatenate([h.counts for h in histograms] or [np.empty(0, np.int64)]),
    )
    narrow = whole.bins.max(initial=0) < 1 << 16
    small = whole.counts.max(initial=0) < 1 << 32
    values = [np.empty(0) if s.values is None else s.values for s in sketches]
    counts = [[getattr(s, name) for name in COUNTS] for s in sketches]
    moments = [[float(getattr(s, name)) for name in MOMENTS] for s in sketches]
    return {  # by width, so that each array is aligned
        "counts": np.array(counts, "<i8").reshape(-1, len(COUNTS)),
        "moments": np.array(moments, "<f8").reshape(-1, len(MOMENTS)),
        "exact": np.array([_exact(s) for s in sketches], "<i8").reshape(-1, 4, 3),
        "ends": np.cumsum([len(h) for h in histograms], dtype="<i8"),
        "value_ends": np.cumsum([v.size for v in values], dtype="<i8"),
        "values": np.concatenate([v.view("<i8") for v in values] or [np.empty(0, "<i8")]),
        "bin_counts": whole.counts.astype("<u4" if small else "<i8"),
        "bins": whole.bins.astype("<u2" if narrow else "<u4"),
    }


def _exact(sketch: Sketch) -> list[tuple[int, int, int]]:
    """Whole sums and extremes, in three limbs of 48 bits, of which the last is signed."""
    if not isinstance(sketch.sum, int) or not sketch.finite:
        return [(0, 0, 0)] * 4
    mask = (1 << 48) - 1
    values = [int(getattr(sketch, name)) for name in _EXACT]
    return [(v & mask, (v >> 48) & mask, v >> 96) for v in values]


# --- unpacking -----------------------------------------------------------------------------------


def _load(source: Source) -> SketchFile:
    header, start = _header(source)
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not str(texts.get("schema", "")).startswith("wtools.sketch/"):
        raise FormatError("is not a sketch file", path=source.path)
    if texts["schema"] != SCHEMA:
        raise FormatError(
            f"has the schema {texts['schema']!r}; this version reads {SCHEMA!r}", path=source.path
        )
    arrays = {name: _array(source, start, name, header[name]) for name in _ARRAYS}
    tensors = json.loads(texts["tensors"])
    rows = {len(arrays[name]) for name in ("counts", "moments", "exact", "ends", "value_ends")}
    if rows != {len(tensors)}:
        raise ValueError("its arrays have different lengths")
    bins = _parts(arrays["ends"], len(arrays["bins"]), len(arrays["bin_counts"]))
    values = _parts(arrays["value_ends"], len(arrays["values"]))
    sketches: dict[str, Sketch] = {}
    for place, entry in enumerate(tensors):
        name = entry["name"]
        if not isinstance(name, str) or name in sketches:
            raise ValueError(f"the name {name!r} stands there twice")
        sketches[name] = _sketch(entry, place, bins[place], values[place], arrays)
    metadata = json.loads(texts["metadata"])
    return SketchFile(sketches, metadata if isinstance(metadata, dict) else {})


def _parts(ends: Array, *sizes: int) -> list[slice]:
    """Where each tensor's share of an array lies that has the same size as these."""
    stops = ends.tolist()
    starts = [0, *stops[:-1]]
    if any(start > stop for start, stop in zip(starts, stops, strict=False)):
        raise ValueError("its tensors' shares of an array do not follow each other")
    if set(sizes) != {stops[-1] if stops else 0}:
        raise ValueError("its tensors' shares are not a whole array")
    return [slice(start, stop) for start, stop in zip(starts, stops, strict=False)]


def _header(source: Source) -> tuple[dict[str, Any], int]:
    if source.size < 10:
        raise FormatError("is not a sketch file", path=source.path)
    length = int.from_bytes(source.pread(0, 8), "little")
    if length > source.size - 8:
        raise FormatError("is not a sketch file, or is cut short", path=source.path)
    text = source.pread(8, length)
    if text[:1] != b"{":
        raise FormatError("is not a sketch file", path=source.path)
    cost = 2 * length + sum(text.count(mark) * each for mark, each in _JSON_COST.items())
    if cost > max(_FREE, 2 * source.size):
        raise UnsafeError("reading its header would take too much memory", path=source.path)
    return json.loads(text), 8 + length


def _array(source: Source, start: int, name: str, entry: dict[str, Any]) -> Array:
    tail, spellings = _ARRAYS[name]
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    dtype = np.dtype(_NUMPY[entry["dtype"]])
    rows = shape[0]
    if entry["dtype"] not in spellings or shape[1:] != tail or not isinstance(rows, int):
        raise ValueError(f"the array {name!r} has the wrong type or shape")
    nbytes = end - begin
    if rows < 0 or nbytes != rows * int(np.prod(tail, dtype=np.int64)) * dtype.itemsize:
        raise ValueError(f"the array {name!r} has the wrong size")
    source.check(start + begin, nbytes, name)
    return np.frombuffer(source.pread(start + begin, nbytes), dtype).reshape(shape)


def _sketch(
    entry: Mapping[str, Any], place: int, bins: slice, values: slice, arrays: Mapping[str, Array]
) -> Sketch:
    dtype = dtypes.get(entry["dtype"])
    fields: dict[str, Any] = dict(zip(COUNTS, arrays["counts"][place].tolist(), strict=True))
    fields |= dict(zip(MOMENTS, arrays["moments"][place].tolist(), strict=True))
    if dtype.kind in ("int", "uint", "bool"):
        limbs = arrays["exact"][place].tolist()
        whole = [low + (middle << 48) + (high << 96) for low, middle, high in limbs]
        names = _EXACT if fields["count"] else _EXACT[:2]
        fields |= dict(zip(names, whole, strict=False))
    if entry["histogram"]:
        fields["histogram"] = Histogram(
            arrays["bins"][bins].astype(np.uint32), arrays["bin_counts"][bins].astype(np.int64)
        )
    if entry["values"]:
        word = {"int": "i8", "uint": "u8"}.get(dtype.kind, "f8")
        fields["values"] = arrays["values"][values].astype(np.int64).view(word)
    sketch = Sketch(dtype.name, **fields)
    _check(sketch, entry["name"])
    return sketch


def _check(sketch: Sketch, name: str) -> None:
    """Raise ValueError where the figures cannot be those of any elements."""
    counts = [getattr(sketch, field) for field in COUNTS]
    sound = min(counts) >= 0 and sketch.zeros + sketch.subnormals <= sketch.finite
    if sketch.finite:
        sound = sound and sketch.min <= sketch.max
    sound = sound and not (sketch.m2 < 0 or sketch.m4 < 0 or sketch.l1 < 0)
    if sketch.histogram is not None:
        bins, numbers = sketch.histogram.bins, sketch.histogram.counts
        ascending = bins.size == 0 or bool(np.all(bins[1:] > bins[:-1]))
        sound = sound and ascending and bool(np.all(numbers > 0))
        sound = sound and int(bins.max(initial=0)) < 1 << binning.of(sketch.dtype).bits
        sound = sound and sum(numbers.tolist()) == sketch.count
    if sketch.values is not None:
        sound = sound and sketch.values.size == sketch.finite
        sound = sound and bool(np.all(sketch.values[1:] >= sketch.values[:-1]))
    if not sound:
        raise ValueError(f"the figures of {name!r} contradict each other")
