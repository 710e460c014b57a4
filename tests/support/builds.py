"""Builds by an engine, one step at a time, and what they leave."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

import numpy as np
from workspaces import CORPUS

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Change
from lockstep.index.applier import Progress
from lockstep.index.engine import Built, Engine
from lockstep.index.generation import Generation
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.store.port import Record

MANY = 60  # batches, more than any engine may have at hand


class Bounded(Protocol):
    """An engine that says how many batches may be read and not yet written."""

    @property
    def most_ahead(self) -> int: ...

    def build(
        self, generation: Generation, batches: Iterator[Sequence[Change]]
    ) -> Generator[Built, None, None]: ...


def begun(workspace: Workspace, spec: IndexSpec | None = None) -> Generation:
    """A new index version, empty."""
    model = workspace.models.resolve("tiny@1")
    spec = spec or resolve(SpecOptions(prefilter_dim=8), model.manifest, avg_length=9.0)
    version = workspace.catalog.add(CORPUS, model, spec)
    workspace.store.create(version.collection, spec.schema(model.manifest.dim), version.manifest())
    return Generation.load(version, workspace.encoders)


def applied(
    workspace: Workspace,
    generation: Generation,
    engine: Engine | None,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    report: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    with workspace.leases.hold(generation.collection) as lease:
        return workspace.applier.apply(
            generation, lease, engine=engine, keep_going=keep_going, report=report
        )


def contents(workspace: Workspace, generation: Generation) -> dict[str, Record]:
    page = workspace.store.scroll(generation.collection, limit=1000)
    ids = [record.id for record in page.records]
    found = workspace.store.retrieve(generation.collection, ids, with_vectors=True)
    workspace.store.release(generation.collection)
    return {record.id: record for record in found}


def assert_same(one: dict[str, Record], other: dict[str, Record]) -> None:
    """Bit for bit."""
    assert one.keys() == other.keys()
    for key, record in one.items():
        expected = other[key]
        assert record.payload == expected.payload
        assert record.bm25 is not None
        assert expected.bm25 is not None
        np.testing.assert_array_equal(record.bm25.values, expected.bm25.values)
        np.testing.assert_array_equal(record.dense, expected.dense)
        np.testing.assert_array_equal(record.prefilter, expected.prefilter)


def drawn_ahead(engine: Bounded, generation: Generation, changes: Sequence[Change]) -> int:
    """How many batches an engine has read once all its queues are full, the first one drawn."""
    drawn = 0

    def batches() -> Iterator[Sequence[Change]]:
        nonlocal drawn
        for _ in range(MANY):
            drawn += 1
            yield changes

    building = engine.build(generation, batches())
    next(building)
    last = -1
    while last != drawn:
        last = drawn
        threading.Event().wait(0.4)
    building.close()
    return drawn
