"""A few threads that work on parts of tensors: results in order, a bounded number at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW = 8  # threads that are enough where each holds a block in memory


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """`map` over threads (default: one per core, eight at most), never more than two a thread
    waiting.

    A single item is done here: most tensors are one, and threads cost more than they.
    """
    each = iter(items)
    begin = list(islice(each, 2))
    workers = threads or min(FEW, cores())
    if len(begin) < 2 or workers < 2:
        yield from map(function, chain(begin, each))
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, "wtools") as pool:
        try:
            for item in chain(begin, each):
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the runs of at most `step` that make up `total`."""
    return ((start, min(start + step, total)) for start in range(0, total, step))
