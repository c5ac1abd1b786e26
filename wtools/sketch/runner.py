"""Sketches of many tensors: in order, on several threads, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..errors import WtoolsError
from ..tree import Tensor
from .cores import Plan, as_bytes
from .model import Sketch

Progress = Callable[[int], None]


def sketches(
    tensors: Sequence[Tensor],
    *,
    histogram: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Tensor, Sketch | WtoolsError]]:
    """Each tensor with its sketch, or with the error that reading it gave, in this order.

    threads: how many work at once; None for one per core. Results do not depend on it.
    progress: called now and then, in the caller's thread, with the number of bytes done since.
    """
    for tensor in tensors:
        try:
            result: Sketch | WtoolsError = _whole(tensor, histogram)
        except WtoolsError as error:
            result = error
        if progress is not None:
            progress(tensor.nbytes)
        yield tensor, result


def _whole(tensor: Tensor, histogram: bool) -> Sketch:
    plan = Plan(tensor.dtype, histogram)
    scanner = plan.scanner()
    parts = [part for block in tensor.blocks() if (part := scanner.scan(as_bytes(block)))]
    return plan.result(parts, [scanner.drain()] if scanner.histogram else [])
