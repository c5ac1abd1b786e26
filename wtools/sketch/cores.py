"""Which core runs: the compiled one with the best instruction set, or its twin in NumPy."""

from __future__ import annotations

import contextlib
import importlib
import os
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from . import twin
from .model import COUNTS, Histogram, Sketch

_core: Any = None
with contextlib.suppress(ImportError):  # no compiler was at hand when wtools was installed
    _core = importlib.import_module("wtools.sketch._core")

Bytes = NDArray[np.uint8]

KINDS = (*twin.WORDS, "bytes")  # in the order of `enum kind` in csrc/core.h
SMALL = 1 << 16  # bytes below which counting pairs of them does not pay
MOST = (1 << 32) - 1  # elements that a table counts before it must be drained
_FIELDS = (COUNTS, ("sum", "l1"), ("m2", "m3", "m4", "center", "offset"), ("min", "max"))


class Scanner(Protocol):
    """One thread's pass over the elements of one kind."""

    histogram: bool

    def scan(self, raw: Bytes) -> Sketch | None:
        """The moments of little-endian elements; their counts are kept until `drain`."""

    def scan_file(self, fd: int, offset: int, nbytes: int, scratch: Bytes) -> tuple[int, Any]:
        """The same over a part of a file: (bytes read, moments); fewer where the file ends."""

    def drain(self) -> Histogram:
        """All counts since the last call."""


class CompiledScanner:
    """A Scanner over the compiled core."""

    def __init__(self, kind: str, isa: int, *, histogram: bool, moments: bool) -> None:
        self.kind, self.histogram = kind, histogram
        self._number, self._isa, self._moments = KINDS.index(kind), isa, moments
        self._itemsize = 1 if kind == "bytes" else twin.WORDS[kind].itemsize
        self._table: Bytes | None = None
        self._held: list[Histogram] = []
        self._pending = 0
        if histogram:
            nbytes, bins = _core.sizes(self._number)
            self._table = np.zeros(nbytes, np.uint8)
            self._bins, self._counts = np.empty(bins, np.uint32), np.empty(bins, np.int64)

    def scan(self, raw: Bytes) -> Sketch | None:
        if self.kind == "bytes" and raw.size < SMALL:
            self._held.append(Histogram.dense(np.bincount(raw, minlength=256)))
            return None
        self._expect(raw.size)
        found = _core.scan(self._number, self._isa, self._moments, self._table, raw)
        return self._sketch(found)

    def scan_file(
        self, fd: int, offset: int, nbytes: int, scratch: Bytes
    ) -> tuple[int, Sketch | None]:
        if self.kind == "bytes" and nbytes < SMALL:
            raw = np.frombuffer(os.pread(fd, nbytes, offset), np.uint8)
            return raw.size, self.scan(raw)
        self._expect(nbytes)
        done, found = _core.scan_file(
            self._number, self._isa, self._moments, self._table, fd, offset, nbytes, scratch
        )
        return done, self._sketch(found)

    def drain(self) -> Histogram:
        if self._pending:
            self._drain_table()
        histogram = Histogram.sum(self._held)
        self._held = []
        return histogram

    def _expect(self, nbytes: int) -> None:
        if self._table is None:
            return
        count = nbytes // self._itemsize
        if self._pending + count > MOST:
            self._drain_table()
        self._pending += count

    def _drain_table(self) -> None:
        used = _core.drain(self._number, self._table, self._bins, self._counts)
        self._held.append(Histogram(self._bins[:used].copy(), self._counts[:used].copy()))
        self._pending = 0

    def _sketch(self, found: tuple[tuple[Any, ...], ...] | None) -> Sketch | None:
        if found is None:
            return None
        fields: dict[str, Any] = {}
        for names, values in zip(_FIELDS, found, strict=True):
            fields.update(zip(names, values, strict=True))
        return Sketch(self.kind, **fields)


@cache
def cores() -> tuple[str, ...]:
    """The cores that this machine can run, the best one last."""
    if _core is None:
        return ("numpy",)
    if os.uname().machine in ("arm64", "aarch64"):
        return "numpy", "neon"
    return "numpy", *("baseline", "avx2", "avx512")[: _core.best() + 1]


def core() -> str:
    """The core that runs: "avx512", "avx2", "baseline" (SSE2), "neon", or "numpy".

    The environment variable WTOOLS_CORE picks another one than the best. Raises UsageError for
    one that does not run here.
    """
    wanted = os.environ.get("WTOOLS_CORE")
    if not wanted:
        return cores()[-1]
    if wanted not in cores():
        raise UsageError(
            f"WTOOLS_CORE is {wanted!r}", advice=f"Here there are: {', '.join(cores())}."
        )
    return wanted


def compiled() -> Any:
    """The compiled core's module. Only where `core` is not "numpy"."""
    return _core


def scanner(kind: str, *, histogram: bool, moments: bool) -> Scanner:
    """A scanner of the core that runs."""
    name = core()
    if name == "numpy":
        return twin.Scanner(kind, histogram=histogram, moments=moments)
    return CompiledScanner(kind, cores().index(name) - 1, histogram=histogram, moments=moments)
