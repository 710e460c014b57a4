"""Callers at the same time share batches; nobody waits for a failure, a deadline or a stranger."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest

from lockstep.errors import EncodingFailed, Unavailable
from lockstep.models.query_batches import QueryBatcher
from lockstep.models.vectors import Vector
from lockstep.store.deadline import within

_PATIENCE_S = 20.0


class Engine:
    """Encodes a number as itself, and holds each call until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def encode(self, queries: Sequence[int]) -> Vector:
        self.batches.append(list(queries))
        self.begun.release()
        assert self.gate.acquire(timeout=_PATIENCE_S)
        if any(query < 0 for query in queries):
            raise EncodingFailed(f"of {len(queries)}")
        return np.array([[query] for query in queries], dtype=np.float32)

    def await_call(self) -> None:
        assert self.begun.acquire(timeout=_PATIENCE_S)

    def open(self) -> None:
        self.gate.release(1000)


@pytest.fixture
def engine() -> Engine:
    return Engine()


def batcher(engine: Engine, **options: int) -> QueryBatcher[int]:
    return QueryBatcher(
        engine.encode, alike=lambda query: abs(query) // 100, **{"most": 4, **options}
    )


def submit(
    pool: ThreadPoolExecutor, batches: QueryBatcher[int], queries: Sequence[int]
) -> list[Future[Vector]]:
    """One caller each, queued in this order."""
    futures = []
    for query in queries:
        known = len(batches._queue)
        futures.append(pool.submit(batches.encode, query))
        _until(lambda: len(batches._queue) > known)  # noqa: B023
    return futures


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_a_lone_caller_is_encoded_at_once_on_its_own_thread(engine: Engine) -> None:
    engine.open()
    threads = threading.active_count()
    batches = batcher(engine)
    assert [batches.encode(number).tolist() for number in (1, 2)] == [[1], [2]]
    assert engine.batches == [[1], [2]]
    assert threading.active_count() == threads


def test_those_who_wait_are_encoded_together_like_with_like(engine: Engine) -> None:
    batches = batcher(engine)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(batches.encode, 0)
        engine.await_call()
        others = submit(pool, batches, [1, 201, 2, 202, 3, 4, 5])
        engine.open()
        answers = [future.result(_PATIENCE_S).item() for future in (first, *others)]
    assert answers == [0, 1, 201, 2, 202, 3, 4, 5]
    assert engine.batches == [[0], [1, 2, 3, 4], [201, 202], [5]]


def test_lanes_encode_at_the_same_time(engine: Engine) -> None:
    batches = batcher(engine, lanes=2)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batches.encode, number) for number in (1, 2)]
        engine.await_call()
        engine.await_call()
        futures += submit(pool, batches, [3])
        assert len(engine.batches) == 2
        engine.open()
        assert [future.result(_PATIENCE_S).item() for future in futures] == [1, 2, 3]


def test_a_failure_is_its_callers_alone(engine: Engine) -> None:
    batches = batcher(engine)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batches.encode, 0)
        engine.await_call()
        others = submit(pool, batches, [1, -2, 3])
        engine.open()
        assert [first.result().item(), others[0].result().item(), others[2].result().item()] == [
            0,
            1,
            3,
        ]
        with pytest.raises(EncodingFailed, match="of 1"):
            others[1].result(_PATIENCE_S)
    assert batches.encode(5).item() == 5


def test_whoever_runs_out_of_time_leaves_the_queue(engine: Engine) -> None:
    batches = batcher(engine)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batches.encode, 0)
        engine.await_call()
        with within(0.05), pytest.raises(Unavailable, match="before its deadline"):
            batches.encode(1)
        patient = submit(pool, batches, [2])
        engine.open()
        assert [first.result().item(), patient[0].result(_PATIENCE_S).item()] == [0, 2]
    assert engine.batches == [[0], [2]]  # 1 was not encoded for nobody


def test_whoever_runs_out_of_time_in_a_batch_does_not_hold_it_up(engine: Engine) -> None:
    batches = batcher(engine)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batches.encode, 0)
        engine.await_call()
        leader = submit(pool, batches, [1])
        with within(0.2):
            late = pool.submit(copy_context().run, batches.encode, 2)
            _until(lambda: len(batches._queue) == 2)
        engine.gate.release()
        engine.await_call()  # both are being encoded
        with pytest.raises(Unavailable):
            late.result(_PATIENCE_S)
        engine.open()
        assert [first.result().item(), leader[0].result(_PATIENCE_S).item()] == [0, 1]
    assert engine.batches == [[0], [1, 2]]


def test_a_lane_survives_whoever_is_interrupted(engine: Engine) -> None:
    engine.open()
    interrupted = iter([True, False])

    def encode(queries: Sequence[int]) -> Vector:
        if next(interrupted):
            raise KeyboardInterrupt
        return engine.encode(queries)

    batches = QueryBatcher(encode, alike=lambda query: 0, most=4)
    with pytest.raises(KeyboardInterrupt):
        batches.encode(1)
    assert batches.encode(2).item() == 2


def test_many_callers_all_get_their_own(engine: Engine) -> None:
    engine.gate.release(100_000)
    batches = batcher(engine, lanes=2)

    def ask(number: int) -> bool:
        try:
            return bool(batches.encode(number).item() == number)
        except EncodingFailed:
            return number < 0

    numbers = [number if number % 17 else -number - 1 for number in range(2000)]
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, numbers))
    assert batches._free_lanes == 2
    assert not batches._queue
