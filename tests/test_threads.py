"""Work on several threads: in order, bounded, and over when it is over."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest

from wtools.threads import in_order, spans


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("threads", [None, 1, 2, 7])
def test_results_come_in_the_order_of_the_items(count: int, threads: int | None) -> None:
    assert list(in_order(lambda n: n * n, range(count), threads)) == [n * n for n in range(count)]


def test_items_are_taken_a_bounded_number_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    found = in_order(str, items(), 2)
    assert next(found) == "0"
    assert len(taken) <= 6
    assert isinstance(found, Generator)
    found.close()


def test_a_single_item_needs_no_thread() -> None:
    assert list(in_order(lambda _: threading.current_thread(), [0], 4)) == [
        threading.current_thread()
    ]


def test_an_error_ends_the_work_and_its_threads() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // (n - 20), range(1000), 3))
    assert threading.active_count() == before


def test_work_may_have_threads_of_its_own() -> None:
    def inner(n: int) -> int:
        return sum(in_order(lambda k: k + n, range(10), 2))

    assert list(in_order(inner, range(20), 2)) == [45 + 10 * n for n in range(20)]


def test_spans_make_up_the_whole() -> None:
    assert list(spans(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(spans(0, 4)) == []
