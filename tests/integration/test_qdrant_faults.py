"""A Qdrant server that is absent, slow, restarted, failing, or cut off in the middle of a request.

Real processes and sockets, with the stand-in for the server and a proxy that makes the faults.
Builds back off and end right; searches end in time and say so.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actions import fill
from fault_proxy import (
    Answer,
    BlackHole,
    CutAnswer,
    CutRequest,
    Delay,
    Drip,
    Fault,
    FaultProxy,
    Refuse,
)
from qdrant_stand_in import StandIn, running_stand_in
from server_process import ServerProcess, until
from workspaces import CORPUS, build_live, build_next, generation, new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import StoreUnavailable
from lockstep.store.deadline import within
from lockstep.store.port import CollectionSchema, DenseBranch, Points, SparseVector
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

NAME = "docs--v0001"
DIM = 8
QUERY = [DenseBranch(np.ones(DIM, np.float32), 5)]
TIMEOUT_S = 0.5
# When a search counts as hanging: no measure, a bound for a busy machine.
GENEROUS_S = 15.0


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running_stand_in() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[StandIn]:
    with running_stand_in() as running:
        yield running


@pytest.fixture
def proxy(server: StandIn) -> Iterator[FaultProxy]:
    with FaultProxy(server.url) as running:
        yield running


def make_points(count: int) -> Points:
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    dense = np.random.default_rng(0).normal(size=(count, DIM)).astype(np.float32)
    ids = [f"00000000-0000-0000-0000-{n:012}" for n in range(count)]
    return Points(
        ids, dense, None, [word] * count, [{"document_id": f"d{n}"} for n in range(count)]
    )


class TestSearch:
    """The store as a server has it: nothing may take longer than a search may."""

    @pytest.fixture
    def proxy(self, shared: StandIn) -> Iterator[FaultProxy]:
        with FaultProxy(shared.url) as running:
            yield running

    @pytest.fixture
    def store(self, shared: StandIn, proxy: FaultProxy) -> Iterator[QdrantStore]:
        builder = connect(ServerOptions(shared.url, grpc_port=0))
        builder.create(NAME, CollectionSchema(dense_dim=DIM), {})
        builder.upsert(NAME, make_points(20))
        opened = connect(
            ServerOptions(proxy.url, grpc_port=0, search_timeout_s=TIMEOUT_S, patience_s=TIMEOUT_S)
        )
        yield opened
        opened.close()
        builder.drop(NAME)
        builder.close()

    @pytest.mark.parametrize(
        "fault",
        [Refuse(), BlackHole(), Answer(500), Answer(503), CutAnswer(40), Delay(120), Drip(0.3)],
        ids=lambda fault: type(fault).__name__ + str(getattr(fault, "status", "")),
    )
    def test_a_search_ends_in_time_and_works_again_afterwards(
        self, store: QdrantStore, proxy: FaultProxy, fault: Fault
    ) -> None:
        until(lambda: answers(store))
        proxy.fault(fault)
        ids = make_points(1).ids
        for ask in (
            lambda: store.search(NAME, QUERY),
            lambda: store.retrieve(NAME, ids),
            store.aliases,
            store.collections,
        ):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                ask()
            assert time.monotonic() - started < GENEROUS_S
        proxy.heal()
        until(lambda: answers(store))

    @pytest.mark.usefixtures("store")
    def test_a_fault_that_passes_in_time_is_not_seen(self, proxy: FaultProxy) -> None:
        patient = connect(ServerOptions(proxy.url, grpc_port=0, search_timeout_s=30))
        proxy.fault(Answer(503), times=2)
        assert len(patient.search(NAME, QUERY)[0]) == 5
        assert proxy.faults == 2
        patient.close()

    def test_several_calls_share_one_deadline(self, store: QdrantStore, proxy: FaultProxy) -> None:
        proxy.fault(BlackHole())
        with within(0.05), pytest.raises(StoreUnavailable, match=r"within 0\.\d s"):
            store.search(NAME, QUERY)
        with within(0), pytest.raises(StoreUnavailable, match=r"within 0\.0 s"):
            store.retrieve(NAME, make_points(1).ids)

    def test_searches_that_hang_do_not_hold_up_the_next(
        self, store: QdrantStore, proxy: FaultProxy
    ) -> None:
        """More at once than there are threads to wait with: all end, and the next is answered."""
        proxy.fault(BlackHole())
        with ThreadPoolExecutor(100) as callers:
            hanging = [callers.submit(store.search, NAME, QUERY) for _ in range(100)]
            assert all(isinstance(each.exception(), StoreUnavailable) for each in hanging)
        proxy.heal()
        until(lambda: answers(store))


def answers(store: QdrantStore) -> bool:
    try:
        return len(store.search(NAME, QUERY)[0]) == 5
    except StoreUnavailable:
        return False


DOCUMENTS = 96
BATCH = 8
# Each with the number of requests that meet it; None: until it is over.
FAULTS: list[tuple[Fault, int | None]] = [
    (Refuse(), None),
    (BlackHole(), 1),
    (Answer(500), 4),
    (Answer(503), 4),
    (Answer(429, "retry-after: 0\r\n"), 4),
    (CutRequest(2000), 3),
    (CutAnswer(0), 3),
    (CutAnswer(60), 3),
]


class TestBuild:
    """A reindex goes on where the server left it, and the probe finds nothing wrong."""

    @pytest.fixture
    def workspace(self, proxy: FaultProxy, tmp_path: Path) -> Iterator[Workspace]:
        root = new_root(
            tmp_path / "workspace",
            store_url=proxy.url,
            store_grpc_port=0,
            store_timeout_s=1,
            batch_documents=BATCH,
        )
        with open_workspace(root) as workspace:
            fill(workspace, CORPUS, range(DOCUMENTS))
            yield workspace

    def test_a_build_outlasts_every_fault(
        self, workspace: Workspace, proxy: FaultProxy, tmp_path: Path
    ) -> None:
        """Another one after each checkpoint, for several requests."""
        left = list(FAULTS)

        def break_it() -> None:
            if left:
                fault, times = left.pop()
                proxy.fault(fault, times=times)
                if times is None:
                    later(0.5, proxy.heal)

        at_each_checkpoint(workspace, break_it)
        build_next(workspace, tmp_path, seed=1)
        assert not left
        assert proxy.faults >= sum(times or 0 for _, times in FAULTS)
        assert_sound(workspace)

    def test_every_kind_of_call_may_go_unanswered_once(
        self, workspace: Workspace, proxy: FaultProxy, tmp_path: Path
    ) -> None:
        """The creation of the collection and the write of the alias too: done, and not known."""
        proxy.fault(CutAnswer(0), once_each=True)
        build_next(workspace, tmp_path, seed=1)
        assert proxy.faults >= 10
        assert_sound(workspace)

    def test_a_server_killed_and_started_again_loses_nothing(
        self, workspace: Workspace, server: StandIn, tmp_path: Path
    ) -> None:
        def restart() -> None:
            server.kill()
            later(0.5, server.start)

        at_each_checkpoint(workspace, once(restart))
        build_next(workspace, tmp_path, seed=1)
        assert_sound(workspace)

    def test_a_frozen_server_goes_on(
        self, workspace: Workspace, server: StandIn, tmp_path: Path
    ) -> None:
        def freeze() -> None:
            server.pause()
            later(2.5, server.resume)  # longer than a request may take here

        at_each_checkpoint(workspace, once(freeze))
        build_next(workspace, tmp_path, seed=1)
        assert_sound(workspace)


def assert_sound(workspace: Workspace) -> None:
    """Every id and content hash, and every vector of a sample, is what the corpus says."""
    live = workspace.rollouts.live(CORPUS)
    report = workspace.prober.check(generation(workspace, live.number), live.applied_seq)
    assert report.problems == ()
    assert report.documents == workspace.corpora.info(CORPUS).documents == DOCUMENTS


def at_each_checkpoint(workspace: Workspace, act: Callable[[], None]) -> None:
    """Act after each checkpoint of the fold, before its next batch."""
    original = workspace.catalog.checkpoint

    def checkpoint(*arguments: Any) -> None:
        original(*arguments)
        act()

    object.__setattr__(workspace.catalog, "checkpoint", checkpoint)


def once(act: Callable[[], None]) -> Callable[[], None]:
    acts = iter([act])
    return lambda: next(acts, lambda: None)()


def later(seconds: float, act: Callable[[], None]) -> None:
    """The end of an outage that lasts so long."""
    threading.Timer(seconds, act).start()


def test_a_server_says_503_recovers_and_stops(proxy: FaultProxy, tmp_path: Path) -> None:
    root = new_root(tmp_path / "workspace", store_url=proxy.url, store_grpc_port=0)
    with open_workspace(root) as workspace:
        build_live(workspace, tmp_path, documents=30)
    log = tmp_path / "server.log"
    with ServerProcess(root, log, LOCKSTEP_SEARCH_TIMEOUT_S="1") as api:
        for fault in (BlackHole(), Answer(500), Refuse()):
            until(lambda: api.http.get("/readyz").status_code == 200)
            assert api.search()["hits"]
            proxy.fault(fault)
            refused = api.http.post("/v1/corpora/docs/search", json={"query": "red"})
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["retry-after"]) > 0
            assert "Qdrant" in refused.json()["detail"]
            ready = api.http.get("/readyz")
            assert ready.status_code == 503
            assert "Qdrant" in ready.json()["detail"]
            assert api.http.get("/healthz").status_code == 200
            api.write({"id": f"during {fault}", "text": "red river again"})
            proxy.heal()
        until(lambda: api.http.get("/readyz").status_code == 200)
        api.write({"id": "after", "text": "red river again"}, wait=True)
        found = {hit["document_id"] for hit in api.search("red river again", limit=30)["hits"]}
        assert {"after", "during Refuse()", "during BlackHole()"} <= found
        proxy.fault(Refuse())
        api.write({"id": "never", "text": "red river again"})
        assert api.stop() == 0  # though there is something to apply, and no store
