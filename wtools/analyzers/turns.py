"""Several analyses over one pass: each sees every tensor before the next one is read.

An analysis is a loop over (tensor, sketch); what it does with a tensor in that loop, it does while
the tensor is at hand. To run several such loops in step each has a thread of its own, but they
take turns: the runner hands an item to one, waits until that one asks for the next or is done, and
goes on to the next analysis. Strictly one of all these threads runs at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from ..sketch.runner import Progress, Result, Scan
from ..tree import Tensor, tie_key

Found = TypeVar("Found")
PATIENCE = 0.5  # seconds that leaving waits for an analysis in the middle of its turn


def in_turns(
    analyses: Mapping[str, Callable[[Scan], Found]], items: Iterable[Result]
) -> dict[str, Found]:
    """What each analysis returns. It is called with a scan that yields, of `items`, those of the
    tensors that it asks for, in the order of `items`; an analysis scans once.

    Raises what `items` or any analysis raises, after which no analysis goes on.
    """
    turns = {name: _Turns(analysis) for name, analysis in analyses.items()}
    try:
        for one in turns.values():
            one.next()
        for tensor, result in items:
            for one in turns.values():
                if not one.over and (own := one.wanted.get(tie_key(tensor))) is not None:
                    one.next((own, result))
        for one in turns.values():
            while not one.over:
                one.next()
    finally:
        for one in turns.values():
            one.stop()
    return {name: one.found[0] for name, one in turns.items()}


class _Stopped(BaseException):
    """Raised in an analysis that is not to go on."""


class _Turns(Generic[Found]):
    """One analysis, which runs from its `next` to its asking for another tensor."""

    def __init__(self, analysis: Callable[[Scan], Found]) -> None:
        self.wanted: Mapping[object, Tensor] = {}
        self.found: list[Found] = []
        self.over = False
        self._analysis = analysis
        self._error: BaseException | None = None
        self._item: Result | None = None
        self._stopped = False
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        # A daemon: one that hangs in a dead network disk must not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def next(self, item: Result | None = None) -> None:
        """Let it run with this item, None for the end of all (at first: up to its first)."""
        self._item = item
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End it, wherever it is."""
        self._stopped = True
        if self._thread.ident is not None and not self.over:
            self._turn.release()
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            self.found.append(self._analysis(self._scan))
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        self.over = True
        self._back.release()

    def _scan(
        self,
        tensors: Sequence[Tensor],
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Result]:
        """A Scan; the pass has its own threads and tells its own progress."""
        self.wanted = {tie_key(tensor): tensor for tensor in tensors}
        while True:
            self._back.release()
            self._turn.acquire()
            if self._stopped:
                raise _Stopped
            if self._item is None:
                return
            yield self._item
