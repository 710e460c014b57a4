"""Iterators that run ahead in threads: order, bounds, errors, and an end to all of them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from lockstep_indexer.engines.ahead import Ahead, Stopped


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lockstep t")]


def doubled(source: Iterator[int]) -> Iterator[int]:
    return (2 * item for item in source)


def test_items_come_in_order_through_several_threads() -> None:
    with closing(Ahead(2)) as ahead:
        items = ahead.run("test 2", doubled(ahead.run("test 1", iter(range(500)))))
        assert list(items) == [2 * item for item in range(500)]
        assert list(items) == []  # exhausted for good
    assert running() == []


@pytest.mark.parametrize("waiting", [1, 3])
def test_no_thread_runs_further_ahead_than_it_may(waiting: int) -> None:
    drawn = 0
    lead: list[int] = []

    def source() -> Iterator[int]:
        nonlocal drawn
        for number in range(60):
            drawn += 1
            yield number

    with closing(Ahead(waiting)) as ahead:
        second = ahead.run("test 2", doubled(ahead.run("test 1", source())))
        for taken, _ in enumerate(second, start=1):
            lead.append(drawn - taken)
            if taken == 30:
                _settle(lambda: drawn)
                lead.append(drawn - taken)
    assert max(lead) == 2 * (waiting + 1)


def _settle(figure: Callable[[], int]) -> None:
    """Wait until a figure stands still."""
    last = -1
    while last != figure():
        last = figure()
        threading.Event().wait(0.05)


def test_what_fails_is_raised_at_its_place() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise ZeroDivisionError("the third")

    with closing(Ahead(4)) as ahead:
        items = ahead.run("test 2", doubled(ahead.run("test 1", failing())))
        assert [next(items), next(items)] == [2, 4]
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="the third"):
                next(items)
    assert running() == []


def test_closing_ends_threads_that_wait_for_room_or_for_work() -> None:
    more = threading.Event()

    def source() -> Iterator[int]:
        yield from range(3)
        more.wait()
        yield 3

    ahead = Ahead(1)
    full = ahead.run("test full", iter(range(1000)))
    starved = ahead.run("test 2", doubled(ahead.run("test 1", source())))
    assert [next(starved) for _ in range(3)] == [0, 2, 4]
    assert next(full) == 0
    threading.Timer(0.05, more.set).start()  # what a thread is at, it may finish
    ahead.close()
    assert running() == []
    with pytest.raises(Stopped):
        next(starved)
    with pytest.raises(Stopped):
        ahead.check()


def test_a_failure_of_the_reader_ends_the_threads() -> None:
    def read() -> None:
        with closing(Ahead(1)) as ahead:
            next(ahead.run("test 2", doubled(ahead.run("test 1", iter(range(1000))))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    assert running() == []
