"""What must hold on every engine, and on a server that several processes write to at once."""

import os
import signal
from pathlib import Path

import pytest
from actions import fork_server
from engines import Engine, engine, server_engine
from late_writer import DIM, points, write, write_late
from server_process import until
from workspaces import CORPUS, build_live, build_next, generation

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.store.port import SEQ, CollectionSchema

__all__ = ["engine", "server_engine"]  # fixtures

NAME = "docs--v0001"


def test_versions_are_built_swapped_and_rolled_back(engine: Engine, tmp_path: Path) -> None:
    root = engine.root(tmp_path / "workspace", batch_documents=16)
    with open_workspace(root) as workspace:
        build_live(workspace, tmp_path, documents=40)
        assert workspace.search(CORPUS, "red river").index_version == NAME
        build_next(workspace, tmp_path, seed=2)
        assert workspace.search(CORPUS, "red river").index_version == "docs--v0002"
        workspace.corpora.write(CORPUS, deletes=["doc-1"])
        workspace.rollouts.rollback(CORPUS)
        answer = workspace.search(CORPUS, "red river", index_version=1)
        assert "doc-1" not in {hit.document_id for hit in answer.hits}
        assert problems(workspace, 1) == ()
        workspace.retirement.drop(CORPUS)
        assert workspace.store.aliases()[CORPUS] == NAME


def problems(workspace: Workspace, number: int) -> tuple[str, ...]:
    version = workspace.catalog.get(CORPUS, number)
    report = workspace.prober.check(generation(workspace, number), version.applied_seq)
    return report.problems


@pytest.mark.parametrize("kept", [1, 3], ids=["shortened", "lengthened"])
def test_a_writer_that_slept_past_its_lease_undoes_nothing(
    server_engine: Engine, tmp_path: Path, kept: int
) -> None:
    """It was frozen with a document of two passages; its successor wrote another revision."""
    root = server_engine.root(tmp_path / "workspace")
    with open_workspace(root) as workspace:
        store = workspace.store
        store.create(NAME, CollectionSchema(dense_dim=DIM), {})
        write(store, NAME, points(range(2), 5), 5)
        sleeper = fork_server().Process(
            target=write_late, args=(root, NAME, points(range(2), 5), 5)
        )
        sleeper.start()
        assert sleeper.pid is not None
        pid = sleeper.pid
        until(lambda: is_stopped(pid))
        write(store, NAME, points(range(kept), 6), 6)
        os.kill(pid, signal.SIGCONT)
        sleeper.join(60)
        assert sleeper.exitcode == 0
        stored = {record.id: record.payload[SEQ] for record in store.scroll(NAME).records}
        later = dict.fromkeys(points(range(kept), 6).ids, 6)
        assert later.items() <= stored.items()
        # An upsert cannot see what is not there: what it inserts anew is left to be swept.
        assert stored.keys() == later.keys() | set(points(range(2), 5).ids)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
