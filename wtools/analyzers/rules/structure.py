"""Rules on the model as a whole: names, dtypes, what the reader noted, equal contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ... import dtypes
from ...notes import SURPLUS_SHARDS, UNSAFE_PICKLE, Note
from ...sketch import Sketch
from ...tree import Tensor, tie_key
from ..held import is_held
from ..matching import digest, digests, pairs
from ..passing import expect, once
from ..stats import few
from .model import Finding, Rule, Subject
from .reachable import feeding, reach

_LARGE = 1 << 16  # bytes above which a second copy is worth a warning


def unreadable(subject: Subject) -> Iterator[Finding]:
    """A tensor that the file names and cannot deliver: cut short, damaged, or not understood."""
    for failure in subject.failures:
        tensor = subject.tree.get(failure.place or "")
        yield Finding(str(failure), tensor, evidence={"error": failure.code})


def unsafe_pickle(subject: Subject) -> Iterator[Finding]:
    """The file's pickle would call functions that do more than build tensors when another program
    loads it. wtools runs nothing; the names are what would have been called."""
    names = list(subject.tree.metadata.get("globals", ()))
    for note in _notes(subject, UNSAFE_PICKLE):
        yield Finding(note, evidence={"globals": names})


def unknown_classes(subject: Subject) -> Iterator[Finding]:
    """The file's pickle names classes beyond those of plain tensors: loading it elsewhere imports
    the code that defines them, and needs `weights_only=False`."""
    names = [str(name) for name in subject.tree.metadata.get("globals", ())]
    names.sort(key=lambda name: name.startswith("torch."))  # those of torch are the least news
    if names:
        yield Finding(f"the pickle names {few(names, 2)}", evidence={"globals": names})


def surplus_shards(subject: Subject) -> Iterator[Finding]:
    """Shard files, or tensors in them, that the index does not name: they are not part of the
    model, and may be left from another one. (A shard that is missing keeps the model from opening.)
    """
    for note in _notes(subject, SURPLUS_SHARDS):
        yield Finding(note)


def _notes(subject: Subject, about: str) -> Iterator[str]:
    notes = subject.tree.notes
    return (note for note in notes if isinstance(note, Note) and note.about == about)


def unused(subject: Subject) -> Iterator[Finding]:
    """Initializers of an ONNX graph that no node uses: they cost space and do nothing."""
    if subject.tree.format != "onnx":
        return
    scales = {
        part.name
        for tensor in subject.tree.values()
        if (q := tensor.quantization)
        for part in (q.scale, q.zero_point)
        if part is not None
    }
    graph = getattr(subject.tree.architecture, "graph", None)
    outputs = {value.name for value in graph.outputs} if graph is not None else set()
    for tensor in subject.tree.values():
        used = tensor.facts.get("feeds") or tensor.stored in outputs
        if not used and tensor.name not in scales:
            yield Finding(f"no node uses these {tensor.nbytes:,} bytes", tensor)


def unreachable(subject: Subject) -> Iterator[Finding]:
    """Nodes of an ONNX graph that no output depends on, and initializers that only such nodes take:
    what an export left behind, or an output that was cut off. Engines drop or compute them in vain.
    """
    graph = getattr(subject.tree.architecture, "graph", None)
    if subject.tree.format != "onnx" or graph is None or not graph.outputs:
        return
    reached = reach(graph)
    if reached.idle:
        names = [label for label, _ in reached.idle]
        yield Finding(
            f"no output depends on {few(names, 3)}",
            evidence={
                "nodes": names,
                "operators": dict(Counter(n.op_type for _, n in reached.idle)),
            },
        )
    idle = set(feeding(reached))
    for tensor in subject.tree.values():
        if tensor.stored in idle:
            yield Finding(
                f"only nodes that reach no output take these {tensor.nbytes:,} bytes", tensor
            )


def mixed_dtypes(subject: Subject) -> Iterator[Finding]:
    """Floating-point tensors of several dtypes: often meant (norms kept in float32), sometimes a
    conversion that stopped halfway."""
    counts: Counter[str] = Counter()
    for tensor in subject.tree.distinct():
        if dtypes.get(tensor.dtype).kind in ("float", "complex"):
            counts[tensor.dtype] += 1
    if len(counts) > 1:
        told = ", ".join(f"{dtype} ({count:,})" for dtype, count in counts.most_common())
        yield Finding(told, evidence={"tensors": dict(counts)})


def empty(subject: Subject) -> Iterator[Finding]:
    """A tensor without elements."""
    for tensor in subject.tree.values():
        if not tensor.size:
            yield Finding(f"shape {list(tensor.shape)} holds nothing", tensor)


def tied(subject: Subject) -> Iterator[Finding]:
    """Tensors that are the same bytes of the file: to change one is to change the others."""
    for names in subject.tree.tied():
        yield Finding(f"the same bytes as {few(names[1:])}", subject.tree[names[0]])


def duplicate(subject: Subject) -> Iterator[Finding]:
    """Tensors of equal content that are stored twice: a tie that was lost in saving, or a layer
    copied. Constant tensors do not count, copies below 64 KiB are information."""
    for first, *others in _duplicates(subject):
        names = [tensor.name for tensor in others]
        wasted = sum(tensor.nbytes for tensor in others)
        yield Finding(
            f"stored again as {few(names, 3)} ({wasted:,} bytes)",
            first,
            None if wasted >= _LARGE else "info",
            {"copies": names, "nbytes": wasted},
        )


def _duplicates(subject: Subject) -> Iterator[list[Tensor]]:
    """Groups of the same dtype, shape and content.

    Only tensors that agree in every count and in their extremes are read again, for a digest, if
    it was not taken in the pass.
    """
    known = subject.seen("duplicate")
    alike: dict[object, list[Tensor]] = {}
    for tensor, sketch in subject.measured():
        if _varied(sketch):
            alike.setdefault(_counts(tensor, sketch), []).append(tensor)
    for group in alike.values():
        if not group[1:]:
            continue
        rest = [tensor for tensor in group if tie_key(tensor) not in known]
        found = {tie_key(t): d for t, d in digests(rest, threads=subject.threads)}
        same: dict[bytes, list[Tensor]] = {}
        for tensor in group:
            content = known.get(tie_key(tensor)) or found[tie_key(tensor)]
            if isinstance(content, bytes):
                same.setdefault(content, []).append(tensor)
        yield from (members for members in same.values() if len(members) > 1)


def _digest(subject: Subject, tensor: Tensor, sketch: Sketch) -> object:
    """Of a tensor that is in memory only now, and that others might equal."""
    wanted = is_held(tensor) and _varied(sketch) and subject.kinds[tensor.dtype, tensor.shape] > 1
    return once(tensor, "duplicate", digest) if wanted else None


def _expect_digest(subject: Subject, tensor: Tensor) -> None:
    if subject.kinds[tensor.dtype, tensor.shape] > 1:
        expect(tensor, "duplicate", digest)


def _varied(sketch: Sketch) -> bool:
    return bool(sketch.finite) and sketch.min != sketch.max


def _counts(tensor: Tensor, sketch: Sketch) -> object:
    """Figures that do not depend on the order in which a tensor's elements are added."""
    counts = sketch.zeros, sketch.nans, sketch.pos_infs, sketch.neg_infs, sketch.subnormals
    h = sketch.histogram
    bins = None if h is None else (h.bins.tobytes(), h.counts.tobytes())
    return tensor.dtype, tensor.shape, counts, sketch.min, sketch.max, bins


def keys(subject: Subject) -> Iterator[Finding]:
    """With --like: tensors that the other model has and this one lacks, or the reverse, or that
    have another shape. Another dtype is a warning."""
    if subject.like is None:
        return
    found = pairs(subject.tree, subject.like)
    if found.prefix:
        yield Finding(f"names differ by the prefix {found.prefix!r}")
    for tensor in found.only_b:
        yield Finding(f"lacks {tensor.name} {list(tensor.shape)}", evidence=_told(tensor))
    for tensor in found.only_a:
        yield Finding("the other model has no such tensor", tensor, evidence=_told(tensor))
    for own, other in found.matched:
        if own.shape != other.shape:
            yield Finding(
                f"shape {list(own.shape)}, not {list(other.shape)}", own, evidence=_told(other)
            )
        elif own.dtype != other.dtype:
            yield Finding(f"{own.dtype}, not {other.dtype}", own, "warning", _told(other))


def _told(tensor: Tensor) -> Mapping[str, object]:
    return {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype}


RULES = (
    Rule("unreadable", "error", unreadable, reads=True),
    Rule("unsafe-pickle", "error", unsafe_pickle),
    Rule("keys", "error", keys),
    Rule("surplus-shards", "warning", surplus_shards),
    Rule("unused-initializer", "warning", unused),
    Rule("unreachable", "warning", unreachable),
    Rule("duplicate", "warning", duplicate, True, _digest, _expect_digest),
    Rule("tied", "info", tied),
    Rule("mixed-dtypes", "info", mixed_dtypes),
    Rule("empty", "info", empty),
    Rule("unknown-classes", "info", unknown_classes),
)
