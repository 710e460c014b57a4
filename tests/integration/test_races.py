"""What other processes do in between: builds that finish elsewhere, drops, foreign collections."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from actions import add_model, document
from workspaces import CORPUS, Templates, build_next, generation

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import (
    CollectionDamaged,
    CollectionExists,
    Conflict,
    GateFailed,
    StillServed,
)
from lockstep.index.applier import Applier
from lockstep.index.rollouts import Consent
from lockstep.index.spec import SpecOptions, resolve
from lockstep.index.versions import IndexVersion, State
from lockstep.store.port import CollectionSchema
from lockstep_indexer.build import reindex as module
from lockstep_indexer.build.reindex import reindex


@pytest.fixture
def root(templates: Templates, tmp_path: Path) -> Path:
    return templates.live(tmp_path / "workspace")


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with open_workspace(root) as workspace:
        yield workspace


def test_a_sound_index_that_lags_is_served(workspace: Workspace, root: Path) -> None:
    everything = [document(number, revision=9) for number in range(60)]
    workspace.corpora.write(CORPUS, everything)  # all that the glance samples has changed
    workspace.store.release("docs--v0001")
    with open_workspace(root) as other:
        assert other.search(CORPUS, "red river").hits


def test_a_build_that_another_process_finished_is_left_alone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = add_model(workspace, tmp_path / "second", seed=2)
    model = workspace.models.resolve(ref)
    spec = resolve(SpecOptions(), model.manifest, avg_length=20.0)
    begun = workspace.catalog.add(CORPUS, model, spec)
    reindex(workspace, CORPUS, model, SpecOptions(), promote=True)

    def read_too_early(*_: object) -> IndexVersion:
        return begun

    monkeypatch.setattr(module, "unfinished_build", read_too_early)
    with pytest.raises(Conflict, match="v2 of 'docs' is live now"):
        reindex(workspace, CORPUS, model, SpecOptions())
    assert workspace.catalog.get(CORPUS, 2).state is State.LIVE


def test_a_collection_that_another_workspace_built_is_not_written_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    ref = add_model(workspace, tmp_path / "second", seed=2)
    model = workspace.models.resolve(ref)
    schema = resolve(SpecOptions(), model.manifest, 20.0).schema(model.manifest.dim)
    workspace.store.create("docs--v0002", schema, {"corpus": "docs", "model": "theirs@1"})
    with pytest.raises(CollectionExists, match=r"another workspace built \(with theirs@1\)"):
        reindex(workspace, CORPUS, model, SpecOptions())
    assert workspace.store.count("docs--v0002") == 0


def test_a_collection_that_the_former_holder_of_the_lease_made_just_now_is_used(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = workspace.store.create

    def create_too_late(name: str, schema: CollectionSchema, metadata: dict[str, Any]) -> None:
        create(name, schema, metadata)  # as the other process does between look and creation
        create(name, schema, metadata)

    monkeypatch.setattr(workspace.store, "create", create_too_late)
    done = build_next(workspace, tmp_path, seed=2, promote=False)
    assert workspace.prober.check(generation(workspace, 2), done.version.applied_seq).problems == ()


def test_a_build_whose_collection_is_damaged_fails_and_the_next_begins_anew(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = build_next(workspace, tmp_path, seed=2, promote=False)
    workspace.catalog.set_state(done.version, State.BUILDING)
    workspace.corpora.write(CORPUS, [document(800)])
    workspace.store.release("docs--v0002")
    shutil.rmtree(next(workspace.settings.data.rglob("docs--v0002/shard")))
    model = workspace.models.resolve("tiny@2")
    with pytest.raises(CollectionDamaged):
        reindex(workspace, CORPUS, model, SpecOptions())
    assert workspace.catalog.get(CORPUS, 2).state is State.FAILED
    again = reindex(workspace, CORPUS, model, SpecOptions())
    assert (again.version.number, again.resumed) == (3, False)


def test_gc_does_not_take_away_what_a_server_still_answers_from(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    workspace.store.release("docs--v0002")
    follower = workspace.follower()
    assert workspace.search(CORPUS, "red river").index_version == "docs--v0001"
    follower.start()
    try:
        with open_workspace(root) as other:
            with pytest.raises(GateFailed, match=r"comparison: .* is open in process"):
                other.rollouts.promote(CORPUS)
            consent = Consent("the live version cannot be asked from here", force=True)
            other.rollouts.promote(CORPUS, consent=consent)
            # The other process keeps v2 open, so this server goes on with v1.
            with pytest.raises(StillServed, match="docs--v0001"):
                replace(other.retirement, wait_s=1.0).drop(CORPUS, soaked=False)
            assert workspace.search(CORPUS, "red river").index_version == "docs--v0001"
    finally:
        follower.stop()


def test_a_follower_outlives_an_error_that_nobody_foresaw(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = workspace.follower()
    follower.start()
    try:
        with monkeypatch.context() as broken:
            broken.setattr(Applier, "apply", _out_of_memory)
            workspace.corpora.write(CORPUS, [document(900)])
            follower.wake()
            time.sleep(0.5)
        head = workspace.corpora.head_seq(CORPUS)
        assert follower.wait_applied(CORPUS, head, timeout_s=30)
    finally:
        follower.stop()


def _out_of_memory(*_: object, **__: object) -> None:
    raise RuntimeError("out of memory")
