"""The pipe to a worker: what a panic, an interrupt and a fork do to it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import psutil
import pytest
import qdrant_edge as engine
from server_process import until

from lockstep.errors import StoreUnavailable
from lockstep.store.edge import EdgeStore
from lockstep.store.port import CollectionSchema, DenseBranch, Points, SparseBranch, SparseVector

NAME = "docs--v0001"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EdgeStore]:
    opened = EdgeStore(tmp_path / "vectors")
    opened.create(NAME, CollectionSchema(dense_dim=4), {})
    yield opened
    opened.close()


def test_a_panic_ends_the_worker_and_the_next_call_opens_anew(store: EdgeStore) -> None:
    word = SparseVector(np.array([1, 2], np.uint32), np.array([1.0, 1.0], np.float32))
    vectors = np.ones((1, 4), np.float32)
    store.upsert(NAME, Points([str(UUID(int=1))], vectors, None, [word], [{}]))
    poison = SparseBranch(word, 3)
    # Values are checked at construction; here they are broken afterwards, to reach the engine.
    object.__setattr__(poison.vector, "values", word.values[:1])
    worker = store.worker_pids()[NAME]
    with pytest.raises(StoreUnavailable, match="index out of bounds"):
        store.search(NAME, [poison])
    assert store.count(NAME) == 1
    assert store.worker_pids()[NAME] != worker


def test_an_ordinary_error_leaves_the_worker(store: EdgeStore) -> None:
    worker = store.worker_pids()[NAME]
    with pytest.raises(StoreUnavailable, match="negative"):
        store.scroll(NAME, limit=-1)
    assert store.count(NAME) == 0
    assert store.worker_pids()[NAME] == worker


def test_an_interrupted_call_leaves_no_reply_for_the_next(store: EdgeStore) -> None:
    worker = store.worker_pids()[NAME]
    os.kill(worker, signal.SIGSTOP)
    until(lambda: psutil.Process(worker).status() == psutil.STATUS_STOPPED)
    before = signal.signal(signal.SIGALRM, _interrupt)
    timer = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.count(NAME)
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)  # that of the test's own time limit
        signal.signal(signal.SIGALRM, before)
    branch = DenseBranch(np.ones(4, np.float32), 3)
    assert store.search(NAME, [branch]) == [[]]


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def test_a_store_used_after_a_fork_says_so(store: EdgeStore) -> None:
    child = os.fork()
    if child == 0:
        try:
            store.count(NAME)
        except StoreUnavailable as error:
            os._exit(7 if "forked" in error.message else 8)
        finally:
            os._exit(9)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert store.count(NAME) == 0


def test_the_engine_reads_true_as_true() -> None:
    """Why `edge_filter` hands over numpy's booleans; when this fails, plain ones will do."""
    assert engine.MatchValue(True).value == 1
    assert engine.MatchValue(np.bool_(True)).value is True  # type: ignore[arg-type]
