"""Faults of whole processes: frozen past a lease, a wrong clock, two operators, a lost database."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from actions import document, fork_server
from fault_actions import (
    SHORT_LEASE_S,
    build_by_clock,
    follow_and_freeze,
    ingest_saying,
    operate,
    promote_and_wait_at,
    with_short_leases,
)
from postgresql_server import Server, binaries, fresh_database, running_server
from qdrant_stand_in import StandIn, running_stand_in
from server_process import ServerProcess, until
from workspaces import CORPUS, Templates, build_live, build_next, generation, new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import ArtefactDamaged, LeaseHeld, LockstepError, ModelNotFound, StorageFull
from lockstep.failpoints import arm
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import State
from lockstep_indexer.build.follow import bring_up_to_date
from lockstep_indexer.build.reindex import reindex

_NUMBERS = count()
# Random models are better or worse than each other by chance: only what a fault may break counts.
_GATES = "[gates]\nidentity_samples = 32\n" + "".join(
    f"{gate} = false\n" for gate in ("health", "quality", "drift", "latency", "prefilter")
)


def workspace_root(folder: Path, **settings: int | str) -> Path:
    return with_gates(new_root(folder, **settings))


def with_gates(root: Path) -> Path:
    with (root / "lockstep.toml").open("a") as file:
        file.write(_GATES)
    return root


@contextmanager
def started(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[Any, Connection]]:
    """A process, and what it says; killed at the end if it must be."""
    processes = fork_server()
    ours, theirs = processes.Pipe(duplex=False)
    process: ForkServerProcess = processes.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def hear(said: Connection) -> Any:
    assert said.poll(60), "the process says nothing"
    return said.recv()


def is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def assert_sound(workspace: Workspace, number: int = 1) -> None:
    """The version holds the corpus: contents and samples; lets go of it."""
    for followed in bring_up_to_date(workspace, CORPUS):
        assert followed.lag == 0
    version = workspace.catalog.get(CORPUS, number)
    assert version.applied_seq == workspace.corpora.head_seq(CORPUS)
    report = workspace.prober.check(generation(workspace, number), version.applied_seq)
    assert report.problems == ()
    workspace.store.release(version.collection)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server that the tests here may kill."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL is installed (Debian: `apt install postgresql`)")
    with running_server(folder) as server:
        yield server


@pytest.fixture
def database_url(postgres: Server) -> Iterator[str]:
    with fresh_database(postgres.url, f"faults-{next(_NUMBERS)}") as url:
        yield url


class TestAFrozenHolder:
    """It wakes up after its lease has gone to a successor, and still wants to write."""

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with running_stand_in() as server:
            yield server

    @pytest.mark.parametrize("point", ["before the points", "after the points"])
    def test_on_a_server_its_writes_are_fenced_off(
        self, stand_in: StandIn, tmp_path: Path, point: str
    ) -> None:
        root = workspace_root(tmp_path / "workspace", store_url=stand_in.url, store_grpc_port=0)
        with open_workspace(root) as workspace:
            with_short_leases(workspace)
            build_live(workspace, tmp_path, documents=30)
            old = [document(number, revision=1) for number in range(20)]
            workspace.corpora.write(CORPUS, old)
            with started(follow_and_freeze, root, CORPUS, point) as (holder, said):
                assert hear(said) == "frozen"
                until(lambda: is_frozen(holder.pid))
                changed = [document(number, revision=2) for number in range(8)]
                gone = [f"doc-{number}" for number in range(8, 16)]
                workspace.corpora.write(CORPUS, changed, gone)
                # Refused until the frozen one's lease has run out.
                until(lambda: bring_up_to_date(workspace, CORPUS)[0].lag == 0)
                assert_sound(workspace)
                os.kill(holder.pid, signal.SIGCONT)
                assert hear(said) == "LeaseLost"
            assert_sound(workspace)
            found = workspace.search(CORPUS, "number 9 revision 1").hits
            assert not {hit.document_id for hit in found} & set(gone)

    def test_embedded_the_lock_holds_until_it_wakes(
        self, templates: Templates, tmp_path: Path
    ) -> None:
        root = with_gates(templates.live(tmp_path / "workspace"))
        with open_workspace(root) as workspace:
            with_short_leases(workspace)
            workspace.corpora.write(CORPUS, [document(n, revision=1) for n in range(20)])
            with started(follow_and_freeze, root, CORPUS, "before the points") as (holder, said):
                assert hear(said) == "frozen"
                until(lambda: is_frozen(holder.pid))
                workspace.corpora.write(CORPUS, deletes=["doc-0", "doc-1"])
                with pytest.raises(LockstepError, match=f"process {holder.pid}"):
                    workspace.store.count("docs--v0001")
                # The lease runs out, and is taken: the checkpoint is no longer the frozen one's.
                until(lambda: _can_take(workspace), within_s=30 * SHORT_LEASE_S)
                os.kill(holder.pid, signal.SIGCONT)
                assert hear(said) == "LeaseLost"
                holder.join(60)
            assert_sound(workspace)
            found = workspace.search(CORPUS, "number 0 revision 1").hits
            assert not {hit.document_id for hit in found} & {"doc-0", "doc-1"}


def _can_take(workspace: Workspace) -> bool:
    try:
        with workspace.leases.hold("docs--v0001"):
            return True
    except LockstepError:
        return False


class TestAWrongClock:
    """Leases, soak and replicas go by the clock: safety must not. Liveness may suffer."""

    @pytest.mark.parametrize("shift_s", [-3600, 3600])
    def test_two_builds_of_one_thing_by_different_clocks_give_one_sound_version(
        self, templates: Templates, tmp_path: Path, shift_s: int
    ) -> None:
        root = with_gates(templates.live(tmp_path / "workspace", batch_documents=16))
        with open_workspace(root) as workspace:
            with (
                started(build_by_clock, root, CORPUS, "tiny@1", 0) as (_, one),
                started(build_by_clock, root, CORPUS, "tiny@1", shift_s) as (_, other),
            ):
                outcomes = [hear(one), hear(other)]
            allowed = {"done", "LeaseHeld", "LeaseLost", "CollectionInUse", "Conflict"}
            assert {name for name, _ in outcomes} <= allowed, outcomes
            # Each may have stopped the other; whoever comes next finishes what they began.
            reindex(workspace, CORPUS, workspace.models.resolve("tiny@1"), SpecOptions())
            candidates = workspace.catalog.in_state(CORPUS, State.CANDIDATE)
            assert candidates
            for version in candidates:
                built = generation(workspace, version.number)
                assert workspace.prober.check(built, version.applied_seq).problems == ()

    @pytest.mark.parametrize("shift_s", [-3600, 3600])
    def test_a_soaking_version_is_kept_though_the_clock_jumps_an_hour(
        self,
        templates: Templates,
        tmp_path: Path,
        shift_s: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        root = with_gates(templates.live(tmp_path / "workspace", candidate=True))
        with open_workspace(root) as workspace:
            workspace.rollouts.promote(CORPUS)
            retired_at = workspace.catalog.get(CORPUS, 1).retired_at
            assert retired_at is not None
            jumped = retired_at + shift_s
            honest, here = time.time, threading.current_thread()
            # For this thread only: servers of other tests live in this process.
            monkeypatch.setattr(
                "time.time", lambda: jumped if threading.current_thread() is here else honest()
            )
            collected = workspace.retirement.drop(CORPUS)
            assert collected.dropped == []
            assert [version.number for version in collected.soaking] == [1]
            workspace.corpora.write(CORPUS, [document(900)])
            assert workspace.rollouts.rollback(CORPUS).live.number == 1
            assert_sound(workspace, 1)


@pytest.mark.slow
@pytest.mark.parametrize("shift_s", [0, 3600])
def test_two_operators_at_once_each_succeed_or_are_told(
    templates: Templates, tmp_path: Path, shift_s: int
) -> None:
    root = with_gates(templates.live(tmp_path / "workspace", candidate=True))
    with open_workspace(root) as workspace:
        build_next(workspace, tmp_path, seed=3, promote=False)
        for version in workspace.catalog.versions(CORPUS):
            workspace.store.release(version.collection)
        turns = 6
        with (
            started(operate, root, CORPUS, 0, turns) as (_, one),
            started(operate, root, CORPUS, shift_s, turns) as (_, other),
        ):
            outcomes = [hear(said) for _ in range(turns) for said in (one, other)]
        told = {"LeaseHeld", "LeaseLost", "NothingToRollBack", "PromotionRefused", "GateFailed"}
        told |= {"CollectionInUse"}
        assert {name for name, _ in outcomes} <= told | {"done"}, outcomes
        assert any(name == "done" for name, _ in outcomes)

        live = workspace.rollouts.live(CORPUS)
        states = [version.state for version in workspace.catalog.versions(CORPUS)]
        assert states.count(State.LIVE) == 1
        steps = sorted(workspace.catalog.history(CORPUS, limit=1000), key=lambda step: step.id)
        swaps = [step for step in steps if step.step in ("promote", "rollback")]
        done = [step for step in swaps if step.outcome == "done"]
        # Each swap leads on from where the one before it led.
        assert [step.from_version for step in done] == [
            None,
            *(step.to_version for step in done[:-1]),
        ]
        assert done[-1].to_version == live.number
        begun = [step for step in swaps if step.outcome == "started"]
        assert len(begun) * 2 == len(swaps)


class TestALostPostgresql:
    def test_an_ingest_outlives_its_restart(
        self, postgres: Server, database_url: str, tmp_path: Path
    ) -> None:
        root = workspace_root(tmp_path / "workspace", database_url=database_url)
        written = [document(number) for number in range(3000)]
        file = tmp_path / "documents.jsonl"
        lines = [{"id": each.id, "title": each.title, "text": each.text} for each in written]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with started(ingest_saying, root, CORPUS, file) as (_, said):
            while hear(said) < 500:
                pass
            postgres.kill()
            postgres.start()
            while isinstance(heard := hear(said), int):
                if heard == 1500:
                    postgres.stop(signal.SIGQUIT)
                    postgres.start()
        assert heard == ("done", 3000)
        with open_workspace(root) as workspace:
            assert workspace.corpora.count(CORPUS) == 3000
            assert workspace.corpora.head_seq(CORPUS) == 3000

    @pytest.mark.parametrize("point", ["before the alias", "after the alias"])
    def test_a_promotion_during_which_it_dies_is_whole_or_has_not_happened(
        self, postgres: Server, database_url: str, tmp_path: Path, point: str
    ) -> None:
        root = workspace_root(tmp_path / "workspace", database_url=database_url)
        with open_workspace(root) as workspace:
            build_live(workspace, tmp_path, documents=20)
            build_next(workspace, tmp_path, seed=2, promote=False)
            for version in workspace.catalog.versions(CORPUS):
                workspace.store.release(version.collection)
        heard, tell = fork_server().Pipe(duplex=False)
        arguments = (root, CORPUS, 2, point)
        with started(promote_and_wait_at, *arguments, heard) as (process, said):
            assert hear(said) == "waiting"
            postgres.kill()
            tell.send("go on")
            assert hear(said) == "DatabaseUnavailable"
            postgres.start()
            process.join(60)
        with open_workspace(root) as workspace:
            # The alias is the commit point, and it had been reached at both moments.
            assert workspace.store.aliases() == {CORPUS: "docs--v0002"}
            live = workspace.rollouts.live(CORPUS)
            assert live.number == 2
            # The lease that could not be given back is no obstacle: its holder is dead.
            assert workspace.rollouts.rollback(CORPUS).live.number == 1
            assert_sound(workspace, 1)

    def test_a_lease_that_could_not_be_given_back_is_no_obstacle_to_its_holder(
        self, postgres: Server, database_url: str, tmp_path: Path
    ) -> None:
        root = workspace_root(tmp_path / "workspace", database_url=database_url)
        with open_workspace(root) as workspace, open_workspace(root) as other:
            with workspace.leases.hold("work") as first:
                postgres.kill()
            postgres.start()
            with pytest.raises(LeaseHeld), other.leases.hold("work"):
                pass  # for all that others know, it is still at work
            with workspace.leases.hold("work") as second:
                assert second.token == first.token + 1

    def test_a_server_goes_on_indexing_after_its_restart(
        self, postgres: Server, database_url: str, tmp_path: Path
    ) -> None:
        root = workspace_root(tmp_path / "workspace", database_url=database_url)
        with open_workspace(root) as workspace:
            build_live(workspace, tmp_path, documents=20)
        with ServerProcess(root, tmp_path / "server.log") as server:
            server.search()
            written = {"id": "z", "text": "a zebra"}
            assert server.write(written, wait=True)["indexed"] == "yes"
            done = threading.Event()
            writer = threading.Thread(target=_keep_writing, args=(server, done))
            writer.start()
            postgres.kill()
            assert server.search()["index_version"] == "docs--v0001"  # answers need no database
            postgres.start()
            done.set()
            writer.join()
            written = {"id": "y", "text": "another zebra"}
            assert server.write(written, wait=True)["indexed"] == "yes"


def _keep_writing(server: ServerProcess, done: threading.Event) -> None:
    for number in count():
        if done.is_set():
            return
        body = {"documents": [{"id": f"w{number}", "text": f"a gnu {number}"}]}
        server.http.post("/v1/corpora/docs/documents", json=body)


class TestAFullDisk:
    def test_a_build_fails_with_the_reason_and_resumes_once_there_is_space(
        self, small_disk: Path, tmp_path: Path
    ) -> None:
        root = workspace_root(tmp_path / "workspace", batch_documents=16)
        (root / ".lockstep" / "index").symlink_to(small_disk / "index")
        (small_disk / "index").mkdir()
        with open_workspace(root) as workspace:
            build_live(workspace, tmp_path, documents=100)
            ballast = small_disk / "ballast"
            passed = count(1)

            def fill(name: str) -> None:
                if name == "after the checkpoint" and next(passed) == 3:
                    _fill(ballast)

            model = workspace.models.resolve("tiny@1")
            arm(fill)
            try:
                with pytest.raises(StorageFull, match="No space"):
                    reindex(workspace, CORPUS, model, SpecOptions())
            finally:
                arm(None)
            stopped = workspace.catalog.get(CORPUS, 2)
            assert (stopped.state, stopped.applied_seq) == (State.BUILDING, 48)
            assert workspace.search(CORPUS, "red river").index_version == "docs--v0001"
            ballast.unlink()
            done = reindex(workspace, CORPUS, model, SpecOptions())
            assert (done.resumed, done.version.number) == (True, 2)
            assert done.progress.documents == 100 - 48


def _fill(ballast: Path) -> None:
    """Leave so little space that the engine refuses to write, and the manifest can be written."""
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb") as file:
        for _ in range((free - 20 * 2**20) // 2**20):
            file.write(bytes(2**20))


class TestALostModel:
    @pytest.fixture
    def root(self, templates: Templates, tmp_path: Path) -> Path:
        root = with_gates(templates.live(tmp_path / "workspace", candidate=True))
        with open_workspace(root) as workspace:
            workspace.corpora.create("other")
            workspace.corpora.write("other", [document(number) for number in range(10)])
            model = workspace.models.resolve("tiny@2")
            reindex(workspace, "other", model, SpecOptions(), promote=True)
        return root

    def artefact(self, root: Path) -> Path:
        with open_workspace(root) as workspace:
            digest = workspace.models.resolve("tiny@1").digest
        folders = (root / ".lockstep/models").rglob(f"*{digest}*")
        return min(folders, key=lambda path: len(path.parts))

    @pytest.mark.parametrize("how", ["deleted", "damaged"])
    def test_under_a_running_server_answers_go_on_and_a_build_refuses(
        self, root: Path, tmp_path: Path, how: str
    ) -> None:
        artefact = self.artefact(root)
        with ServerProcess(root, tmp_path / "server.log") as server:
            before = server.search()["hits"]
            if how == "deleted":
                shutil.move(artefact, tmp_path / "kept")
            else:
                weights = next(artefact.rglob("model.safetensors"))
                weights.chmod(0o644)
                weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
            assert server.search()["hits"] == before
            assert server.write({"id": "z", "text": "a zebra"}, wait=True)["indexed"] == "yes"
            assert server.http.get("/readyz").status_code == 200
            with open_workspace(root) as workspace:
                model = workspace.models.resolve("tiny@1")
                with pytest.raises((ArtefactDamaged, ModelNotFound)):
                    reindex(workspace, CORPUS, model, SpecOptions())

    def test_a_server_started_without_it_serves_the_others_and_recovers(
        self, root: Path, tmp_path: Path
    ) -> None:
        artefact = self.artefact(root)
        digest = artefact.name[:12]
        shutil.move(artefact, tmp_path / "kept")
        with ServerProcess(root, tmp_path / "server.log") as server:
            other = server.http.post("/v1/corpora/other/search", json={"query": "red river"})
            assert other.status_code == 200
            assert other.json()["hits"]
            refused = server.http.post("/v1/corpora/docs/search", json={"query": "red river"})
            assert refused.status_code >= 500
            assert digest in refused.text
            ready = server.http.get("/readyz")
            assert ready.status_code == 503
            assert digest in ready.text
            shutil.move(tmp_path / "kept", artefact)
            until(lambda: server.http.get("/readyz").status_code == 200)
            assert server.search()["model_version"] == "tiny@1"
