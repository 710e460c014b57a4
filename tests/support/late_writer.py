"""A process that is frozen at the worst moment: it has checked its lease, and not yet written."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.bootstrap import open_workspace
from lockstep.store.port import DOCUMENT_ID, SEQ, Json, Points, SparseVector, not_newer_than

DIM = 8
ID = "00000000-0000-0000-0000-{:012}"


def points(numbers: range, seq: int) -> Points:
    """Passages of document `d`, as of change `seq`."""
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    dense = np.random.default_rng(seq).normal(size=(len(numbers), DIM)).astype(np.float32)
    payloads: list[Json] = [{DOCUMENT_ID: "d", SEQ: seq} for _ in numbers]
    return Points([ID.format(n) for n in numbers], dense, None, [word] * len(numbers), payloads)


def write(store: Any, collection: str, batch: Points, seq: int) -> None:
    """What the fold does with a batch of changes up to `seq`."""
    store.upsert(collection, batch, keep_newer_than=seq)
    of_d = {"key": DOCUMENT_ID, "match": {"any": ["d"]}}
    stale = {"must": [of_d, not_newer_than(seq)], "must_not": [{"has_id": list(batch.ids)}]}
    store.delete(collection, stale)


def write_late(root: Path, collection: str, batch: Points, seq: int) -> None:
    """Write a batch after having been stopped and woken again."""
    with open_workspace(root) as workspace:
        workspace.store.flush(collection)  # what it reads of the collection, it has read
        os.kill(os.getpid(), signal.SIGSTOP)
        write(workspace.store, collection, batch, seq)
