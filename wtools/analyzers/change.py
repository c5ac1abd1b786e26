"""How two tensors differ: measured in one pass over both, block by block on several threads.

Bytes are compared first, at the speed of memory; figures are computed only where they differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..errors import WtoolsError
from ..sketch import difference
from ..threads import in_order
from ..tree import Tensor, tie_key
from .casts import Casts, casts
from .elements import STEP, aligned, part, patterns, raw_bytes, reals

Array = NDArray[Any]
_READ = 1 << 18  # bytes of each side read at a time
_SPAN = 1 << 22  # elements that one thread compares at a time


@dataclass(frozen=True)
class Change:
    """What became of the elements of A in B. Parts add up.

    count: elements compared. changed: of them, those with other bits (another value, where the
    dtypes differ). nonfinite: those that became NaN or infinite, ceased to be, or are another
    such value. The sums are over elements finite on both sides: aa, bb, ab, dd of a*a, b*b, a*b
    and (b-a)**2 (of complex elements: of squared magnitudes). forward, backward: does A cast to
    B's dtype give B, and B cast to A's give A? casts: how the two fit the grids of narrower
    dtypes, where that was asked for.
    """

    count: int = 0
    changed: int = 0
    nonfinite: int = 0
    sign_flips: int = 0
    max_abs: float = 0.0
    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0
    forward: bool = True
    backward: bool = True
    casts: Casts = field(default_factory=Casts)

    def __add__(self, other: Change) -> Change:
        values: dict[str, Any] = {
            f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)
        }
        values["max_abs"] = max(self.max_abs, other.max_abs)
        values["forward"] = self.forward and other.forward
        values["backward"] = self.backward and other.backward
        return Change(**values)

    @property
    def cast_equal(self) -> bool:
        """Is one side the other, cast to its dtype?"""
        return self.forward or self.backward

    @property
    def changed_fraction(self) -> float:
        return self.changed / self.count if self.count else 0.0

    @property
    def relative_l2(self) -> float:
        """|b - a| / |a|; infinite where a is zero and b is not, NaN where a square overflows."""
        if not self.dd:
            return 0.0
        return math.sqrt(self.dd) / math.sqrt(self.aa) if self.aa else math.inf

    @property
    def cosine(self) -> float:
        """Of the angle between a and b; 1 where both are zero, 0 where one of them is."""
        if not self.aa or not self.bb:
            return float(self.aa == self.bb)
        cosine = self.ab / math.sqrt(self.aa) / math.sqrt(self.bb)
        return math.copysign(1.0, cosine) if abs(cosine) > 1 else cosine


@dataclass(frozen=True)
class _Span:
    pair: int
    a: Tensor
    b: Tensor
    start: int
    stop: int
    casts: bool = False


Pair = tuple[Tensor, Tensor]
Measured = tuple[Tensor, Tensor, Change | WtoolsError]


def measured(
    matched: Sequence[Pair],
    *,
    casts: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Measured]:
    """Each pair with its change; pairs that are tied to an earlier pair are not read again."""
    keys = [(tie_key(x), tie_key(y)) for x, y in matched]
    distinct = dict(zip(reversed(keys), reversed(matched), strict=True))
    work = [(x, y, comparable(x, y)) for x, y in distinct.values()]
    results = changes(work, casts=casts, threads=threads, progress=progress)
    found = dict(zip(distinct, results, strict=True))
    return ((x, y, found[key]) for key, (x, y) in zip(keys, matched, strict=True))


def comparable(x: Tensor, y: Tensor) -> int:
    """How many leading elements of both are the same places: all, or those of the common rows."""
    if x.size == y.size or (x.shape and y.shape and x.shape[1:] == y.shape[1:]):
        return min(x.size, y.size)
    return 0


def changes(
    pairs: Sequence[tuple[Tensor, Tensor, int]],
    *,
    casts: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Change | WtoolsError]:
    """For each (a, b, count) how their first `count` elements differ, or why that is unknown.

    casts: also measure `Change.casts`. progress: called now and then with the number of bytes of A
    read since.
    """
    spans = (
        span for i, (a, b, count) in enumerate(pairs) for span in _spans(i, a, b, count, casts)
    )
    results = in_order(_compared, spans, threads)
    for _, group in groupby(results, key=lambda result: result[0].pair):
        parts = []
        for span, result in group:
            parts.append((span, result))
            if progress is not None:
                progress(dtypes.get(span.a.dtype).nbytes(span.stop - span.start))
        yield _whole(parts)


def _spans(pair: int, a: Tensor, b: Tensor, count: int, casts: bool) -> Iterator[_Span]:
    step = _SPAN if a.raw is not None and b.raw is not None else max(1, count)
    for start in range(0, max(1, count), step):
        yield _Span(pair, a, b, start, min(start + step, count), casts)


def _whole(parts: Sequence[tuple[_Span, Change | WtoolsError | None]]) -> Change | WtoolsError:
    """The sum of a pair's spans; the norm of an equal one counts only if another is not."""
    whole = Change()
    differ = any(result is not None for _, result in parts)
    for span, result in parts:
        if isinstance(result, WtoolsError):
            return result
        if result is not None:
            whole += result
        elif differ:
            whole += _equal_part(span, span.stop - span.start, whole.casts)
        else:
            whole += Change(count=span.stop - span.start)
    return whole


def _compared(span: _Span) -> tuple[_Span, Change | WtoolsError | None]:
    """The change in one span; None where not a bit differs."""
    whole = None
    equal = 0  # elements before the first difference, whose norm nobody needs yet
    try:
        if (found := _by_core(span)) is not None:
            return found
        for x, y in _lock_step(span):
            if y is None and whole is None:
                equal += x.size
                continue
            whole = whole or Change()
            known = whole.casts
            whole += _unchanged(x, span, known) if y is None else _change(x, y, span, known)
        return span, None if whole is None else whole + _equal_part(span, equal, whole.casts)
    except WtoolsError as error:
        return span, error


def _by_core(span: _Span) -> tuple[_Span, Change | None] | None:
    """What `_compared` returns, where the compiled core can read both files itself."""
    a, b = span.a.raw, span.b.raw
    dtype = span.a.dtype
    if a is None or b is None or dtype != span.b.dtype or span.casts:
        return None
    if not difference.computed(dtype):
        return None
    if (found := difference.compare_files(a, b, dtype, span.start, span.stop)) is None:
        return None  # and reading it again says which file has become shorter
    equal, figures = found
    if not figures.changed:
        return span, None
    count = span.stop - span.start - equal
    return span, _by_difference(count, figures) + _equal_part(span, equal, Casts())


def _by_difference(count: int, found: difference.Difference) -> Change:
    return Change(
        count=count,
        changed=found.changed,
        nonfinite=found.nonfinite,
        sign_flips=found.flips,
        max_abs=found.most,
        aa=found.aa,
        bb=found.bb,
        ab=found.ab,
        dd=found.dd,
    )


def _lock_step(span: _Span) -> Iterator[tuple[Array, Array | None]]:
    """Blocks of both sides, as long as each other; None for B's where its bits are A's."""
    a, b = span.a, span.b
    dtype = dtypes.get(a.dtype)
    if a.raw is not None and b.raw is not None and a.dtype == b.dtype:
        step = max(1, _READ * 8 // dtype.bits // 8) * 8
        left, right = (np.empty(dtype.nbytes(step), np.uint8) for _ in "ab")
        for start in range(span.start, span.stop, step):
            stop = min(start + step, span.stop)
            x, y = raw_bytes(a, start, stop, left), raw_bytes(b, start, stop, right)
            other = None if _same(x, y) else dtype.unpack(y, stop - start)
            yield dtype.unpack(x, stop - start), other
        return
    for x, y in aligned(part(a, span.start, span.stop), part(b, span.start, span.stop)):
        same = a.dtype == b.dtype and _same(x.view(np.uint8), y.view(np.uint8))
        yield x, None if same else y


def _same(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> bool:
    even = x.size // 8 * 8
    return np.array_equal(x[:even].view(np.uint64), y[:even].view(np.uint64)) and np.array_equal(
        x[even:], y[even:]
    )


def _equal_part(span: _Span, count: int, known: Casts) -> Change:
    """The figures of the first `count` elements of a span, which are the same on both sides."""
    whole = Change()
    for block in part(span.a, span.start, span.start + count):
        whole += _unchanged(block, span, known + whole.casts)
    return whole


def _unchanged(block: Array, span: _Span, known: Casts) -> Change:
    square = 0.0
    fits, dtype = Casts(), span.a.dtype
    for start in range(0, block.size, STEP):
        x = reals(block[start : start + STEP], dtype)
        here = _dot(x, x)
        square += here if math.isfinite(here) else _dot(*[x[np.isfinite(x)]] * 2)
        if span.casts and not known.over:
            more = casts(x, x, dtype, dtype, known)
            fits, known = fits + more, known + more
    return Change(count=block.size, aa=square, bb=square, ab=square, casts=fits)


def _change(x: Array, y: Array, span: _Span, known: Casts) -> Change:
    a, b = span.a.dtype, span.b.dtype
    if a == b and not span.casts and difference.computed(a):
        return _by_difference(x.size, difference.compare(x, y, a))
    fits = Casts()
    sums = [0.0] * 7
    most = 0.0
    with np.errstate(all="ignore"):
        for start in range(0, x.size, STEP):
            p, q = x[start : start + STEP], y[start : start + STEP]
            v, w = reals(p, a), reals(q, b)
            farthest, *figures = _measured(p, q, v, w, a == b)
            if span.casts and not known.over:
                more = casts(v, w, a, b, known)
                fits, known = fits + more, known + more
            most = max(most, farthest)
            sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
        changed, nonfinite, flips = map(int, sums[:3])
        given = (True, True) if a == b else (_gives(x, a, y), _gives(y, b, x))
    aa, bb, ab, dd = sums[3:]
    return Change(x.size, changed, nonfinite, flips, most, aa, bb, ab, dd, *given, fits)


def _measured(p: Array, q: Array, x: Array, y: Array, same_dtype: bool) -> tuple[float, ...]:
    """max_abs, changed, nonfinite, sign_flips, aa, bb, _dot(x, y), dd of the change from p to q.

    x, y: the same elements as real numbers.
    """
    changed = _other_bits(p, q) if same_dtype else (x != y) & ~(np.isnan(x) & np.isnan(y))
    nonfinite = flips = 0
    aa, bb = _dot(x, x), _dot(y, y)
    if not math.isfinite(aa + bb):
        finite = np.isfinite(x) & np.isfinite(y)
        nonfinite = int(np.count_nonzero(changed & ~finite))
        p, q, x, y = p[finite], q[finite], x[finite], y[finite]
        aa, bb = _dot(x, x), _dot(y, y)
    if np.float64 in (p.dtype, q.dtype):  # whose products may underflow to zero
        flips = int(np.count_nonzero((x < 0) & (y > 0) | (x > 0) & (y < 0)))
    elif "c" not in (x.dtype.kind, y.dtype.kind):
        flips = int(np.count_nonzero(x * y < 0))
    long_integers = same_dtype and p.dtype.kind in "iu" and p.dtype.itemsize == 8
    distance = _distance(p, q) if long_integers else y - x
    most = float(np.abs(distance).max(initial=0.0))
    dd = _dot(distance, distance)
    return most, int(np.count_nonzero(changed)), nonfinite, flips, aa, bb, _dot(x, y), dd


def _dot(x: Array, y: Array) -> float:
    return float(np.vdot(x, y).real)


def _other_bits(p: Array, q: Array) -> NDArray[np.bool_]:
    other: NDArray[np.bool_] = patterns(p) != patterns(q)
    return other if other.ndim == 1 else other[:, 0] | other[:, 1]


def _distance(p: Array, q: Array) -> Array:
    """|q - p| of integers, exact until it is made float64."""
    wide = np.uint64
    return np.where(q > p, q.astype(wide) - p.astype(wide), p.astype(wide) - q.astype(wide)).astype(
        np.float64
    )


def _gives(x: Array, dtype: str, y: Array) -> bool:
    """Is x (of `dtype`), cast to y's dtype, y? NaN is NaN, whatever its bits."""
    if x.dtype.kind == "c" and y.dtype.kind != "c":
        return False
    if x.dtype.isbuiltin != 1:  # those of ml_dtypes do not all cast to each other
        x = reals(x, dtype)
    cast = x.astype(y.dtype)
    return bool(((cast == y) | ((cast != cast) & (y != y))).all())
