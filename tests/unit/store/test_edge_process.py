"""The pipe to a worker: what a panic, an interrupt and a fork do to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import qdrant_edge as engine

from lockstep.errors import StoreUnavailable
from lockstep.store.edge import EdgeStore
from lockstep.store.port import CollectionSchema, Points, SparseBranch, SparseVector

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


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
import numpy as np, psutil
from lockstep.store.edge import EdgeStore
from lockstep.store.port import DenseBranch

def interrupt(signum, frame):
    raise KeyboardInterrupt

store = EdgeStore(Path(sys.argv[1]))
assert store.count("docs--v0001") == 0
worker = store.worker_pids()["docs--v0001"]
os.kill(worker, signal.SIGSTOP)
while psutil.Process(worker).status() != psutil.STATUS_STOPPED:
    pass
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    store.count("docs--v0001")
    sys.exit("a stopped worker has answered")
except KeyboardInterrupt:
    pass
assert store.search("docs--v0001", [DenseBranch(np.ones(4, np.float32), 3)]) == [[]]
store.close()
"""


def test_an_interrupted_call_leaves_no_reply_for_the_next(tmp_path: Path, store: EdgeStore) -> None:
    # In a process of its own: the alarm is how tests are kept to their time.
    store.release(NAME)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "vectors")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


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
