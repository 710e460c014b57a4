"""A build by Ray workers: the points of the local engine bit for bit, whoever is killed."""

import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import psutil
import pytest
from actions import add_model, fill, fork_server, run_fast_reindex
from builds import MANY, applied, assert_same, begun, contents, drawn_ahead
from workspaces import CORPUS, new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Change
from lockstep.errors import EncodingFailed
from lockstep.index.applier import Progress
from lockstep.index.generation import Generation
from lockstep.index.spec import SpecOptions
from lockstep.index.stages import STAGES
from lockstep.store.port import Record
from lockstep_indexer.build.reindex import reindex
from lockstep_indexer.engines import choosing
from lockstep_indexer.engines.local import LocalEngine
from lockstep_indexer.engines.ray import RayEngine, by_ray, ray_engine
from lockstep_indexer.engines.ray_cluster import RayOptions

pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytestmark = pytest.mark.slow

DOCUMENTS, BATCH, WORKERS = 90, 4, 2


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("ray-engine")
    with open_workspace(new_root(folder / "workspace", batch_documents=BATCH)) as workspace:
        fill(workspace, CORPUS, range(DOCUMENTS))
        workspace.corpora.write(CORPUS, deletes=[f"doc-{number}" for number in range(40, 49)])
        add_model(workspace, folder / "model", seed=1)
        yield workspace


@pytest.fixture(scope="module")
def engine(workspace: Workspace) -> Iterator[RayEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "WORTH_ON_CPU", 0.0)
        engine = ray_engine(workspace, begun(workspace), RayOptions(workers=WORKERS))
    assert isinstance(engine, RayEngine)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def local(workspace: Workspace) -> Iterator[LocalEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "WORTH_ON_CPU", 0.0)
        yield choosing.local_engine(workspace, begun(workspace))


@pytest.fixture(scope="module")
def expected(workspace: Workspace, local: LocalEngine) -> dict[str, Record]:
    generation = begun(workspace)
    applied(workspace, generation, local)
    return contents(workspace, generation)


def test_a_killed_build_goes_on_with_the_same_bits(
    workspace: Workspace, local: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by workers of a Ray of its own, which end with it; another engine goes on."""
    monkeypatch.setattr(choosing, "WORTH_ON_CPU", 0.0)
    root, model = workspace.settings.data.parent, workspace.models.resolve("tiny@1")
    process = fork_server().Process(
        target=run_fast_reindex,
        args=(root, CORPUS, "tiny@1", 3, by_ray(RayOptions(workers=1))),
    )
    process.start()
    process.join()
    assert process.exitcode == -9
    _, left = psutil.wait_procs(of_session(process.pid), timeout=60)
    assert left == []
    killed = workspace.catalog.versions(CORPUS)[-1]
    assert killed.applied_seq == workspace.corpora.changes(CORPUS, 0, limit=2 * BATCH)[-1].seq
    done = reindex(workspace, CORPUS, model, SpecOptions())
    assert (done.resumed, done.version.number) == (True, killed.number)
    whole, resumed = (
        begun(workspace, killed.spec),
        Generation.load(done.version, workspace.encoders),
    )
    applied(workspace, whole, local)
    assert_same(contents(workspace, whole), contents(workspace, resumed))


def test_the_points_are_those_of_the_local_engine(
    workspace: Workspace, engine: RayEngine, local: LocalEngine, expected: dict[str, Record]
) -> None:
    seen: list[Progress] = []
    generation = begun(workspace)
    done = applied(workspace, generation, engine, report=seen.append)
    assert local.told in engine.told
    assert "2 Ray workers of 1 core" in engine.told
    assert (done.documents, done.deleted, done.passages) == (DOCUMENTS - 9, 9, len(expected))
    assert [each.applied_seq for each in seen] == sorted({each.applied_seq for each in seen})
    assert done.stage_s.keys() == set(STAGES)
    assert done.tokens > done.passages
    assert_same(contents(workspace, generation), expected)


@pytest.mark.parametrize("step", ["read", "encode"])
def test_what_fails_is_raised_after_the_batches_before_it(
    step: str, workspace: Workspace, engine: RayEngine
) -> None:
    whole = [workspace.corpora.changes(CORPUS, 0, limit=BATCH)] * 8

    def batches() -> Iterator[Sequence[Change]]:
        yield from whole
        if step == "read":
            raise EncodingFailed("read broke")
        yield [unreadable(whole[0][0])]
        yield from whole

    building = engine.build(begun(workspace), batches())
    assert [next(building).changes for _ in whole] == whole
    with pytest.raises((EncodingFailed, UnicodeEncodeError), match=r"broke|surrogates"):
        next(building)


def unreadable(change: Change) -> Change:
    """With a text that no corpus takes."""
    assert change.document is not None
    document = replace(change.document, metadata={})
    object.__setattr__(document, "text", "\ud800" * 1000)
    return replace(change, document=document)


def test_no_more_batches_are_read_than_may_be_in_flight(
    workspace: Workspace, engine: RayEngine
) -> None:
    changes = workspace.corpora.changes(CORPUS, 0, limit=BATCH)
    assert drawn_ahead(engine, begun(workspace), changes) == engine.most_ahead < MANY
    assert "lockstep workers" not in [thread.name for thread in threading.enumerate()]


def test_what_a_killed_worker_had_at_hand_is_done_again(
    workspace: Workspace, engine: RayEngine, expected: dict[str, Record]
) -> None:
    victims = [engine.pool.processes[0]]

    def kill(_: Progress) -> None:
        while victims:
            os.kill(victims.pop(), signal.SIGKILL)

    generation = begun(workspace)
    applied(workspace, generation, engine, report=kill)
    assert engine.pool.lost == 1
    assert "1 lost" in engine.told
    assert_same(contents(workspace, generation), expected)


def of_session(driver: int | None) -> list[psutil.Process]:
    """The process that the workers end with; its folder is named for the one that started it."""
    session = re.compile(rf"/raylet .*/session_[\d_-]+_{driver}/")
    return [each for each in psutil.process_iter() if session.search(" ".join(_command(each)))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []
