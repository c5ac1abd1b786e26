"""The threads of the runner: they take pieces in order, and the caller takes results in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ..errors import WtoolsError
from .runner import AHEAD, Job, Progress, Result, Scanners

TICK = 0.1  # seconds between reports of progress
PATIENCE = 0.5  # seconds that leaving waits for the threads' last pieces


class Work:
    """What the threads share; everything is read and changed under `changed`."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.changed = threading.Condition()
        self.next = 0  # the job whose pieces are being handed out
        self.given = 0  # jobs whose results the caller has taken
        self.nbytes = 0  # scanned
        self.stopped = False
        self.crash: BaseException | None = None

    def take(self, held: Job | None) -> tuple[Job, int] | None:
        """The next piece, of `held` if that has any left; None when there is nothing more."""
        with self.changed:
            while not self.stopped and self.next < len(self.jobs):
                job = self.jobs[self.next]
                if job.taken == job.pieces or isinstance(job.result, WtoolsError):
                    self.next += 1
                elif self.next >= self.given + AHEAD and held is None:
                    self.changed.wait()
                elif self.next >= self.given + AHEAD:
                    return None  # the caller gives back `held` and asks again
                else:
                    job.users += job is not held
                    job.taken += 1
                    return job, job.taken - 1
            return None

    @property
    def over(self) -> bool:
        return self.stopped or self.next >= len(self.jobs)

    def done(self, nbytes: int) -> None:
        with self.changed:
            self.nbytes += nbytes

    def fail(self, job: Job, error: WtoolsError) -> None:
        with self.changed:
            if job.result is None:
                job.result = error

    def leave(self, job: Job) -> None:
        """A thread has collected its part of `job`; the last one to do so finishes it."""
        with self.changed:
            job.users -= 1
            last = not job.users and (job.taken == job.pieces or job.result is not None)
        if last:
            result = job.finish() if job.result is None else job.result
            job.forget()
            with self.changed:
                job.result = result
                job.users = -1  # finished
                self.changed.notify_all()


def work(shared: Work) -> None:
    """The life of one thread."""
    try:
        scanners, held = Scanners(), None
        while True:
            item = shared.take(held)
            if held is not None and (item is None or item[0] is not held):
                held.collect(scanners.of(held.plan))
                shared.leave(held)
                held = None
            if item is None:
                if shared.over:
                    return
                continue
            held, piece = item
            try:
                shared.done(held.scan(piece, scanners.of(held.plan), scanners.scratch))
            except WtoolsError as error:
                shared.fail(held, error)
    except BaseException as error:
        with shared.changed:
            shared.crash, shared.stopped = error, True
            shared.changed.notify_all()


def run(jobs: list[Job], count: int, progress: Progress | None) -> Iterator[Result]:
    """Results in the order of `jobs`, from `count` threads."""
    shared = Work(jobs)
    # Daemons: a thread that hangs in a dead network disk must not keep the process alive.
    threads = [threading.Thread(target=work, args=(shared,), daemon=True) for _ in range(count)]
    reported = 0
    try:
        for thread in threads:
            thread.start()
        for job in jobs:
            while True:
                with shared.changed:
                    if job.users >= 0 and shared.crash is None:
                        shared.changed.wait(None if progress is None else TICK)
                    finished, nbytes, crash = job.users < 0, shared.nbytes, shared.crash
                if progress is not None and nbytes > reported:
                    progress(nbytes - reported)
                    reported = nbytes
                if crash is not None:
                    raise crash
                if finished:
                    break
            with shared.changed:
                shared.given += 1
                shared.changed.notify_all()
            result, job.result = job.result, None
            assert result is not None
            yield job.tensor, result
    finally:
        with shared.changed:
            shared.stopped = True
            shared.changed.notify_all()
        for thread in threads:
            if thread.ident is not None:
                thread.join(PATIENCE / count)
