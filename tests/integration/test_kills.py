"""kill -9 at any moment of a build, a promotion or a rollback loses nothing and mixes nothing."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from actions import (
    DEATHS,
    add_model,
    fill,
    fork_server,
    run_promote,
    run_reindex,
    run_rollback,
)
from engines import Engine, real_engine

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.index.probe import SAMPLES
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import State
from lockstep.store.port import Record
from lockstep_indexer.build.reindex import reindex
from lockstep_indexer.engines.local import WAITING

CORPUS = "docs"
DOCUMENTS = 200
BATCH = 16
KILLS = 20
# Of two threads after the encoding, and one that is being written: what a kill may lose.
ENCODED_AHEAD = 2 * (WAITING + 1) + 1
__all__ = ["real_engine"]  # a fixture


@pytest.fixture
def root(real_engine: Engine, tmp_path: Path) -> Path:
    return real_engine.root(tmp_path / "workspace", batch_documents=BATCH)


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with open_workspace(root) as workspace:
        yield workspace


def contents(workspace: Workspace, collection: str) -> dict[str, Record]:
    """Every point of a collection, vectors included; lets go of the collection."""
    records: dict[str, Record] = {}
    start: str | None = None
    while True:
        page = workspace.store.scroll(collection, start_id=start, limit=500)
        ids = [record.id for record in page.records]
        for record in workspace.store.retrieve(collection, ids, with_vectors=True):
            records[record.id] = record
        if page.next_id is None:
            workspace.store.release(collection)
            return records
        start = page.next_id


def assert_same(one: dict[str, Record], other: dict[str, Record]) -> None:
    assert one.keys() == other.keys()
    for point_id, record in one.items():
        twin = other[point_id]
        assert record.payload == twin.payload
        assert record.dense is not None
        assert twin.dense is not None
        np.testing.assert_array_equal(record.dense, twin.dense)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reindex_killed_twenty_times_equals_an_undisturbed_one(
    root: Path, workspace: Workspace, tmp_path: Path
) -> None:
    fill(workspace, CORPUS, range(DOCUMENTS))
    ref = add_model(workspace, tmp_path / "model", seed=1)
    started = time.monotonic()
    undisturbed = reindex(workspace, CORPUS, workspace.models.resolve(ref), SpecOptions())
    duration = time.monotonic() - started
    expected = contents(workspace, undisturbed.version.collection)

    log, processes = tmp_path / "encoded", fork_server()
    chance = random.Random(20)
    killed = killed_in_this_build = 0
    while killed < KILLS:
        process = processes.Process(target=run_reindex, args=(root, CORPUS, ref, log))
        process.start()
        process.join(timeout=chance.uniform(0.05, duration))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            killed_in_this_build += 1
        else:
            assert process.exitcode == 0
        latest = workspace.catalog.versions(CORPUS)[-1]
        if latest.state is State.CANDIDATE and latest.number > undisturbed.version.number:
            assert_same(expected, contents(workspace, latest.collection))
            _assert_little_was_repeated(log, len(expected), killed_in_this_build)
            workspace.catalog.set_state(latest, State.FAILED, reason="the test is done with it")
            log.unlink()
            killed_in_this_build = 0
    last = processes.Process(target=run_reindex, args=(root, CORPUS, ref, log))
    last.start()
    last.join()
    assert last.exitcode == 0
    latest = workspace.catalog.versions(CORPUS)[-1]
    assert latest.state is State.CANDIDATE
    assert_same(expected, contents(workspace, latest.collection))
    _assert_little_was_repeated(log, len(expected), killed_in_this_build)


def _assert_little_was_repeated(log: Path, points: int, killed: int) -> None:
    """The build encodes each passage once, and its probe the samples; a kill repeats one of these.

    The batches that were encoded ahead, that is, or one probe: `log` has the size of each call to
    the encoder of this build.
    """
    encoded = [int(line) for line in log.read_text().split()]
    batch = 1.1 * points * BATCH / DOCUMENTS  # no batch has many more passages than others
    assert sum(encoded) <= points + SAMPLES + killed * ENCODED_AHEAD * batch


@pytest.mark.slow
@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_swap_killed_at_any_moment_leaves_one_good_version(
    action: str, root: Path, workspace: Workspace, tmp_path: Path
) -> None:
    fill(workspace, CORPUS, range(60))
    for seed in (1, 2):
        ref = add_model(workspace, tmp_path / f"model{seed}", seed=seed)
        done = reindex(
            workspace,
            CORPUS,
            workspace.models.resolve(ref),
            SpecOptions(),
            promote=seed == 1 or action == "rollback",
        )
        workspace.store.release(done.version.collection)
    before, after = ("docs--v0001", "docs--v0002")
    if action == "rollback":
        before, after = after, before
    target = {"promote": run_promote, "rollback": run_rollback}[action]
    processes = fork_server()
    for die in DEATHS:
        if action == "rollback" and "predecessor" in die:
            continue  # a rollback does not touch it
        process = processes.Process(target=target, args=(root, CORPUS, die))
        process.start()
        process.join()
        assert process.exitcode == -9, die
        committed = die in ("after set_alias", "before set_live", "after set_live")
        assert workspace.store.aliases() == {CORPUS: after if committed else before}
        live = workspace.rollouts.reconcile(CORPUS)
        assert live is not None
        assert live.collection == workspace.store.aliases()[CORPUS]
        states = [version.state for version in workspace.catalog.versions(CORPUS)]
        assert states.count(State.LIVE) == 1
        assert workspace.search(CORPUS, "red river").index_version == live.collection
        workspace.store.release(before)
        workspace.store.release(after)
        _restore(workspace, before)


def _restore(workspace: Workspace, collection: str) -> None:
    """Point the alias back, as if the swap had never been."""
    workspace.store.set_alias(CORPUS, collection)
    workspace.rollouts.reconcile(CORPUS)
    workspace.serving.refresh(CORPUS)
    for version in workspace.catalog.versions(CORPUS):
        workspace.store.release(version.collection)
