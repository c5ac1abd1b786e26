"""Tensors of another dtype, computed block by block while they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..errors import UnsupportedError, UsageError
from ..formats.drafts import exact
from ..threads import in_order, spans
from ..tree import BLOCK, Array, Tensor, split
from .rounding import OnOverflow, Tally, rounded


def casts(spec: str | Mapping[str, str] | None) -> dict[str, str]:
    """What `--dtype` asks for, as source dtype -> target dtype; "" stands for every float type.

    spec: "bfloat16", "float64=float32,int4=int8", or such a mapping.
    Raises UsageError for unknown dtypes and for a cast that is not between numbers of one kind.
    """
    if spec is None:
        return {}
    if isinstance(spec, str):
        parts = [part.strip().rpartition("=") for part in spec.split(",")]
        spec = {source.strip(): target.strip() for source, _, target in parts}
    for source, target in spec.items():
        for name in filter(None, (source, target)):
            if name not in dtypes.DTYPES:
                known = ", ".join(dtypes.DTYPES)
                raise UsageError(f"no dtype named {name!r}", advice=f"Known: {known}")
        _refuse_nonsense(source, target)
    return dict(spec)


def _refuse_nonsense(source: str, target: str) -> None:
    if target == "float8_e8m0fnu":
        raise UsageError(
            "float8_e8m0fnu has powers of two only: it is for scales, not for weights",
            advice="Use float8_e4m3fn or float8_e5m2.",
        )
    kinds = dtypes.get(source).kind if source else "float", dtypes.get(target).kind
    if kinds == ("float", "float") or (source and exact(source, target)):
        return
    what = source or "floating-point weights"
    raise UsageError(
        f"a cast of {what} to {target} would not keep the values",
        advice="Floats can be cast to any float dtype, integers to wider ones.",
    )


def target_dtype(tensor: Tensor, wanted: Mapping[str, str]) -> str:
    """The dtype that the casts give this tensor; its own where none is meant for it."""
    if tensor.dtype in wanted:
        return wanted[tensor.dtype]
    is_float = dtypes.get(tensor.dtype).kind == "float"
    return wanted.get("", tensor.dtype) if is_float else tensor.dtype


def cast(tensor: Tensor, dtype: str, on_overflow: OnOverflow = "error") -> Tensor:
    """`tensor` as `dtype`, lazily; itself where it is that already."""
    if tensor.dtype == dtype:
        return tensor
    return replace(tensor, dtype=dtype, data=CastData(tensor, dtypes.get(dtype), on_overflow))


@dataclass(frozen=True, eq=False)
class CastData:
    """Another tensor's elements, rounded. `tallies` gets the account of each complete pass."""

    source: Tensor
    dtype: DType
    on_overflow: OnOverflow
    tallies: list[Tally] = field(default_factory=list)

    @property
    def tally(self) -> Tally | None:
        """What rounding did, known after the first complete pass."""
        return self.tallies[0] if self.tallies else None

    def read(self) -> Array:
        blocks = list(self.blocks())
        empty = np.empty(0, self.dtype.numpy)
        return (np.concatenate(blocks) if blocks else empty).reshape(self.source.shape)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        """Blocks of at most `nbytes`; computed by several threads where the source allows it.

        Raises UnsupportedError where values overflow and that is an error, and for NaNs that the
        target does not have.
        """
        total, start = Tally(), 0
        source = dtypes.get(self.source.dtype)
        step = max(nbytes, BLOCK) * source.numpy.itemsize // self.dtype.numpy.itemsize
        for out, tally in self._parts(max(step, source.numpy.itemsize)):
            if tally.unheld or (tally.overflowed and self.on_overflow == "error"):
                raise self._refusal(start, out.size, tally)
            total += tally
            start += out.size
            yield from split(out, nbytes)
        self.tallies.append(total)

    def _parts(self, step: int) -> Iterator[tuple[Array, Tally]]:
        source, raw = dtypes.get(self.source.dtype), self.source.raw
        if raw is None or source.packed:
            return (self._rounded(block) for block in self.source.blocks(step))

        def part(span: tuple[int, int]) -> tuple[Array, Tally]:
            first, last = span
            buffer = np.empty(source.nbytes(last - first), np.uint8)
            raw.readinto(buffer, source.nbytes(first))
            return self._rounded(source.unpack(buffer, last - first))

        return in_order(part, spans(self.source.size, max(1, step // source.itemsize)))

    def _rounded(self, block: Array) -> tuple[Array, Tally]:
        return rounded(block, dtypes.get(self.source.dtype), self.dtype, self.on_overflow)

    def _refusal(self, start: int, count: int, tally: Tally) -> UnsupportedError:
        """The error for a part of the tensor, naming the first element that does not fit."""
        at = start
        for block in self._from(start):
            bad = _misfit(block, self)
            if bad is not None:
                at, value = at + bad, block[bad]
                break
            at += block.size
        what = "NaN, which it does not have" if tally.unheld else f"{value!s}"
        return UnsupportedError(
            f"element {at} is beyond {self.dtype.name}: {what}",
            place=repr(self.source.name),
            advice="bfloat16 has the range of float32; or use --on-overflow saturate or inf.",
        )

    def _from(self, start: int) -> Iterator[Array]:
        skipped = 0
        for block in self.source.blocks():
            if skipped + block.size > start:
                yield block[max(0, start - skipped) :]
            skipped += block.size


def _misfit(block: Array, data: CastData) -> int | None:
    """The index of the first element that `rounded` objects to, by halving."""
    source = dtypes.get(data.source.dtype)

    def fits(part: Array) -> bool:
        tally = rounded(part, source, data.dtype)[1]
        return not (tally.unheld or tally.overflowed)

    if fits(block):
        return None
    low, high = 0, block.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if not fits(block[low:middle]) else (middle, high)
    return low
