"""Upkeep: what has changed a lot is optimised while it is served, and only that."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from server_process import until

from lockstep.errors import StorageFull
from lockstep.index.upkeep import Upkeep
from lockstep.store.edge import EdgeStore
from lockstep.store.port import CollectionSchema, Points, SparseVector

NAME = "docs--v0001"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EdgeStore]:
    store = EdgeStore(tmp_path)
    store.create(NAME, CollectionSchema(dense_dim=4), {})
    yield store
    store.close()


@pytest.fixture
def upkeep(store: EdgeStore) -> Iterator[Upkeep]:
    serving: Any = SimpleNamespace(store=store, loaded=lambda: [SimpleNamespace(collection=NAME)])
    upkeep = Upkeep(serving, poll_s=0.05)
    yield upkeep
    upkeep.stop()


def write(store: EdgeStore, numbers: range) -> None:
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    ids = [str(UUID(int=number)) for number in numbers]
    dense = np.ones((len(ids), 4), np.float32)
    payloads = [{"document_id": point_id} for point_id in ids]
    store.upsert(NAME, Points(ids, dense, None, [word] * len(ids), payloads))


def test_a_few_changes_are_not_worth_it(store: EdgeStore) -> None:
    write(store, range(999))
    assert not store.readiness(NAME).due
    store.delete(NAME, {"must": [{"key": "document_id", "match": {"value": str(UUID(int=1))}}]})
    assert store.readiness(NAME).due
    store.optimize(NAME)
    assert not store.readiness(NAME).due


def test_many_changes_are_optimised(store: EdgeStore, upkeep: Upkeep) -> None:
    write(store, range(1_000))
    upkeep.start()
    until(lambda: not store.readiness(NAME).due)


def test_trouble_does_not_end_it(
    store: EdgeStore, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, range(1_000))
    optimize, failures = store.optimize, iter([StorageFull("full"), KeyError("bug")])

    def failing(collection: str) -> None:
        for error in failures:
            raise error
        optimize(collection)

    monkeypatch.setattr(store, "optimize", failing)
    monkeypatch.setattr("lockstep.index.upkeep.PAUSE_S", 0.01)
    upkeep.start()
    until(lambda: not store.readiness(NAME).due)
