"""Writers race a build, a promotion and a rollback: every index in use equals the corpus after."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from actions import add_model, fill, fork_server, run_writes
from engines import Engine, real_engine

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.index.generation import Generation
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import FOLLOWING
from lockstep_indexer.build.reindex import reindex

CORPUS = "docs"
WRITERS = 3
__all__ = ["real_engine"]  # a fixture


def last_writes(logs: list[Path]) -> dict[str, str | None]:
    """What each id was last acknowledged to hold; None for deleted. Ids belong to one writer."""
    state: dict[str, str | None] = {}
    for log in logs:
        lines = log.read_text().splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):  # the last line may have been cut by the kill
                verb, document_id, *content_hash = line.split()
                state[document_id] = content_hash[0] if verb == "upsert" else None
    return state


@pytest.mark.slow
def test_writes_survive_a_build_a_promotion_and_a_rollback(
    real_engine: Engine, tmp_path: Path
) -> None:
    root = real_engine.root(tmp_path / "workspace")
    with open_workspace(root) as workspace:
        fill(workspace, CORPUS, range(300))
        first, second = (
            add_model(workspace, tmp_path / f"model{seed}", seed=seed) for seed in (1, 2)
        )
        reindex(workspace, CORPUS, workspace.models.resolve(first), SpecOptions(), promote=True)
        logs = [tmp_path / f"writer{seed}" for seed in range(WRITERS)]
        processes = [
            fork_server().Process(target=run_writes, args=(root, CORPUS, seed, log), daemon=True)
            for seed, log in enumerate(logs)
        ]
        follower = workspace.follower()
        follower.start()
        try:
            for process in processes:
                process.start()
            _until(lambda: all(log.exists() and log.stat().st_size > 0 for log in logs))
            reindex(
                workspace, CORPUS, workspace.models.resolve(second), SpecOptions(), promote=True
            )
            time.sleep(1.0)
            workspace.rollouts.rollback(CORPUS)
            time.sleep(1.0)
            for process in processes:  # in the middle of whatever they are writing
                process.kill()
                process.join()
        finally:
            follower.stop()
        _check_every_index(workspace, last_writes(logs))


def _check_every_index(workspace: Workspace, written: dict[str, str | None]) -> None:
    hashes = {i: h for i, h, _ in workspace.corpora.fingerprints(CORPUS) if h is not None}
    lost = {i: h for i, h in written.items() if hashes.get(i) != h}
    # A kill may come between a commit and the log's line for it: one write per writer.
    assert len(lost) <= WRITERS, lost
    versions = workspace.catalog.in_state(CORPUS, *FOLLOWING)
    assert len(versions) == 2
    for version in versions:
        generation = Generation.load(version, workspace.encoders)
        with workspace.leases.hold(version.collection) as lease:
            workspace.applier.apply(generation, lease)
            report = workspace.prober.check(generation, workspace.corpora.head_seq(CORPUS))
        assert report.problems == ()
        assert report.documents == len(hashes)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the writers did not start")
        time.sleep(0.05)
