"""Sketches of many tensors: in order, on several threads, in bounded memory.

Tensors whose bytes lie plainly in a file are cut into pieces of a fixed size, which the threads
read (each into its own small buffer) and scan outside the interpreter's lock; arrays in memory
likewise. Other tensors come in blocks; each of those tensors is one thread's work. The moments of
the pieces are merged in their order and counts add exactly, so no figure depends on the number of
threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..errors import CorruptError, UsageError, WtoolsError
from ..tree import Tensor
from .cores import Scanner
from .model import FEW, Histogram, Sketch
from .plan import Plan, as_bytes, in_memory, last_fields, plain

Progress = Callable[[int], None]
Result = tuple[Tensor, Sketch | WtoolsError]


class Scan(Protocol):
    """`sketches`, or what else gives an analysis each tensor's sketch (`wtools report`)."""

    def __call__(
        self,
        tensors: Sequence[Tensor],
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Result]: ...


PIECE = 1 << 24  # bytes of a file scanned in one go
SCRATCH = 1 << 19  # bytes read at a time: they stay in the second-level cache
INLINE = 1 << 22  # bytes of all tensors together below which threads do not pay
AHEAD = 256  # tensors that may be done before the caller takes them


class Job:
    """One tensor's work: its pieces and what was found in them."""

    def __init__(self, tensor: Tensor, histogram: bool) -> None:
        self.tensor = tensor
        self.raw = plain(tensor)
        self.memory = in_memory(tensor)
        packed = self.raw is not None and dtypes.get(tensor.dtype).packed
        self.plan = Plan(tensor.dtype, histogram, packed)
        # The last byte of packed elements is taken apart if they do not fill it.
        self.rest = tensor.size * dtypes.get(tensor.dtype).bits % 8 if packed else 0
        self.nbytes = tensor.nbytes - (1 if self.rest else 0)
        if self.memory is not None:
            self.nbytes = self.memory.size
        whole = self.raw is None and self.memory is None
        self.pieces = 1 if whole else max(1, -(-self.nbytes // PIECE))
        # The bytes themselves of FEW elements, for exact quantiles.
        keep = histogram and tensor.size <= FEW and not self.plan.counted
        self.kept: list[NDArray[np.uint8]] | None = [] if keep else None
        self.parts: list[list[Sketch]] = [[] for _ in range(self.pieces)]
        self.histograms: list[Histogram] = []
        self.taken = self.users = 0
        self.result: Sketch | WtoolsError | None = None

    def scan(self, piece: int, scanner: Scanner, scratch: NDArray[np.uint8]) -> int:
        """Scan one piece; the number of bytes that it had. Raises what reading raises."""
        start = piece * PIECE
        nbytes = min(PIECE, self.nbytes - start)
        try:
            if self.memory is not None:
                self._scan(piece, scanner, self.memory[start : start + nbytes])
                return nbytes
            if self.raw is None:
                for block in self.tensor.blocks():
                    self._scan(piece, scanner, as_bytes(block))
                return self.tensor.nbytes
            if self.kept is not None:
                few = np.empty(nbytes, np.uint8)
                self.raw.readinto(few, 0)
                self._scan(piece, scanner, few)
                return self._scan_rest(nbytes)
            fd, offset = self.raw.fd, self.raw.offset
            done, found = scanner.scan_file(fd, offset + start, nbytes, scratch)
        except OSError as error:
            raise self._failure(f"cannot be read: {error.strerror or error}") from error
        if done < nbytes:
            raise self._failure("the file became shorter while it was read")
        self._keep(piece, found)
        return self._scan_rest(nbytes) if piece == self.pieces - 1 else nbytes

    def collect(self, scanner: Scanner) -> None:
        """Take over what the scanner counted."""
        if scanner.histogram:
            self.histograms.append(self.plan.elements(scanner.drain()))

    def finish(self) -> Sketch:
        """The sketch, when all pieces are scanned and all scanners collected."""
        parts = [part for piece in self.parts for part in piece]
        return self.plan.result(parts, self.histograms, self.kept)

    def forget(self) -> None:
        """Free what the result no longer needs."""
        self.parts, self.histograms, self.kept = [], [], None

    def _scan(self, piece: int, scanner: Scanner, raw: NDArray[np.uint8]) -> None:
        self._keep(piece, scanner.scan(raw))
        if self.kept is not None:
            self.kept.append(raw)

    def _scan_rest(self, nbytes: int) -> int:
        """The elements in the last byte, where they do not fill it; how many bytes that makes."""
        if not self.rest or self.raw is None:
            return nbytes
        last = np.empty(1, np.uint8)
        self.raw.readinto(last, self.nbytes)
        count = self.rest // dtypes.get(self.tensor.dtype).bits
        self.histograms.append(last_fields(int(last[0]), self.tensor.dtype, count))
        return nbytes + 1

    def _keep(self, piece: int, found: Sketch | None) -> None:
        if found is not None:
            self.parts[piece].append(found)

    def _failure(self, reason: str) -> CorruptError:
        storage = self.tensor.storage
        path = storage.file if storage else None
        return CorruptError(reason, path=path, place=self.tensor.name)


class Scanners:
    """One thread's scanners, which are used for one tensor after another."""

    def __init__(self) -> None:
        self.scratch = np.empty(SCRATCH, np.uint8)
        self._scanners: dict[tuple[str, bool], Scanner] = {}

    def of(self, plan: Plan) -> Scanner:
        key = plan.kind, plan.counted
        if key not in self._scanners:
            self._scanners[key] = plan.scanner()
        return self._scanners[key]


def sketches(
    tensors: Sequence[Tensor],
    *,
    histogram: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Each tensor with its sketch, or with the error that reading it gave, in this order.

    threads: how many work at once; None for one per core. Results do not depend on it.
    progress: called now and then, in the caller's thread, with the number of bytes done since.

    Leaving the loop early, or Ctrl-C in it, stops the threads.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads cannot do any work")
    jobs = [Job(tensor, histogram) for tensor in tensors]
    count = threads or _cores()
    most = sum(job.pieces for job in jobs)
    if min(count, most) < 2 or sum(job.tensor.nbytes for job in jobs) < INLINE:
        return _inline(jobs, progress)
    from .threads import run

    return run(jobs, min(count, most), progress)


def _inline(jobs: list[Job], progress: Progress | None) -> Iterator[Result]:
    scanners = Scanners()
    for job in jobs:
        scanner = scanners.of(job.plan)
        try:
            for piece in range(job.pieces):
                done = job.scan(piece, scanner, scanners.scratch)
                if progress is not None and done:
                    progress(done)
            job.collect(scanner)
            result: Sketch | WtoolsError = job.finish()
        except WtoolsError as error:
            job.collect(scanner)  # so that the next tensor starts from nothing
            result = error
        job.forget()
        yield job.tensor, result


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sketch(
    data: Tensor | NDArray[Any], *, histogram: bool = True, threads: int | None = None
) -> Sketch:
    """The sketch of one tensor or array (any dtype of `wtools.dtypes`, any strides).

    threads: how many read and compute at once, None for one per core; the result is the same.
    Raises the error that reading the tensor raises.
    """
    tensor = data if isinstance(data, Tensor) else Tensor.of("array", data)
    ((_, result),) = sketches([tensor], histogram=histogram, threads=threads)
    if isinstance(result, Sketch):
        return result
    raise result
