"""The Qdrant adapter against a server that fails: retries, and errors that name the situation.

Slow, cut and absent servers: integration/test_qdrant_faults.py.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from qdrant_client import QdrantClient

from lockstep.errors import (
    CollectionExists,
    CollectionNotFound,
    DimensionMismatch,
    InvalidFilter,
    InvalidInput,
    LockstepError,
    StorageFull,
    StoreUnavailable,
)
from lockstep.store.port import CollectionSchema, Points, SparseVector
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

ALIASES = {"aliases": [{"alias_name": "docs", "collection_name": "docs--v0001"}]}
SCHEMA = CollectionSchema(dense_dim=4)
VERSION = (200, {"title": "qdrant - vector search engine", "version": "1.19.2"})


class FailingServer(ThreadingHTTPServer):
    """Answers with each of `answers` in turn, and with the last one from then on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any]] = []
        self.asked = 0
        self.requests: list[tuple[str, Any]] = []  # path and body
        self.retry_after = ""
        self._changed = threading.Condition()

    def note(self, path: str, body: Any) -> None:
        with self._changed:
            self.requests.append((path, body))
            self._changed.notify_all()

    def wait_until_asked(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= times, timeout=30)


class _Handler(BaseHTTPRequestHandler):
    server: FailingServer

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.note(self.path, json.loads(body or b"null"))
        status, body = self.server.answers[min(self.server.asked, len(self.server.answers) - 1)]
        self.server.asked += 1
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if self.server.retry_after:
            self.send_header("retry-after", self.server.retry_after)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815  # the library's names

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FailingServer]:
    with FailingServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def options_for(server: FailingServer, **options: Any) -> ServerOptions:
    url = f"http://127.0.0.1:{server.server_port}"
    return ServerOptions(url, grpc_port=0, timeout_s=10, **options)


@pytest.fixture
def store(server: FailingServer) -> Iterator[QdrantStore]:
    opened = connect(options_for(server, search_timeout_s=20))
    yield opened
    opened.close()


@pytest.fixture
def hasty(server: FailingServer) -> Iterator[QdrantStore]:
    """One that soon gives up, as a server's is."""
    opened = connect(options_for(server, search_timeout_s=0.3, patience_s=0.3))
    yield opened
    opened.close()


def ok(result: Any) -> tuple[int, Any]:
    return (200, {"result": result, "status": "ok", "time": 0.0})


def failed(status: int, text: str) -> tuple[int, Any]:
    return (status, {"status": {"error": text}, "time": 0.0})


def collection_info(metadata: dict[str, Any]) -> tuple[int, Any]:
    """What a server says of a collection; the in-memory client says it the same."""
    client = QdrantClient(":memory:")
    client.create_collection("docs", vectors_config={}, metadata=metadata)
    return ok(client.get_collection("docs").model_dump(mode="json"))


def points(count: int) -> Points:
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    return Points(
        [f"00000000-0000-0000-0000-{n:012}" for n in range(count)],
        np.ones((count, 4), np.float32),
        None,
        [word] * count,
        [{}] * count,
    )


def test_a_passing_failure_is_tried_again(server: FailingServer, store: QdrantStore) -> None:
    server.answers = [failed(503, "starting"), failed(500, "shutting down"), ok(ALIASES)]
    assert store.aliases() == {"docs": "docs--v0001"}
    assert server.asked == 3


def test_a_failure_that_stays_is_said_in_the_end(server: FailingServer, hasty: QdrantStore) -> None:
    server.answers = [failed(503, "starting")]
    with pytest.raises(StoreUnavailable, match="503"):
        hasty.aliases()
    assert server.asked > 1


def test_a_build_waits_longer_than_a_search(server: FailingServer) -> None:
    store = connect(options_for(server, search_timeout_s=0.05, patience_s=60))
    server.answers = [failed(503, "starting")] * 5 + [ok({"count": 7})]
    assert store.count("docs") == 7
    store.close()


def test_reads_are_patient_once_points_were_written(server: FailingServer) -> None:
    store = connect(options_for(server, search_timeout_s=0.05, patience_s=60))
    server.answers = [ok({"status": "completed"})]
    store.delete("docs", {"must": [{"key": "a", "match": {"value": 1}}]})
    server.answers, server.asked = [failed(503, "starting")] * 5 + [ok(ALIASES)], 0
    assert store.aliases() == {"docs": "docs--v0001"}
    store.close()


def test_a_server_that_names_a_wait_is_given_it(
    server: FailingServer, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.store.qdrant_calls._LONGEST_PAUSE_S", 0.2)
    server.retry_after = "1"
    server.answers = [failed(429, "slow down"), ok({"count": 7})]
    assert store.count("docs") == 7


def test_closing_ends_the_wait_for_a_server(server: FailingServer) -> None:
    store = connect(options_for(server))
    server.answers = [failed(503, "starting")]
    raised: list[Exception] = []

    def count() -> None:
        try:
            store.count("docs")
        except StoreUnavailable as error:
            raised.append(error)

    thread = threading.Thread(target=count)
    thread.start()
    server.wait_until_asked(1)
    store.close()
    thread.join(30)
    assert len(raised) == 1


def test_a_write_that_is_not_yet_applied_is_made_again(
    server: FailingServer, store: QdrantStore
) -> None:
    server.answers = [ok({"status": "wait_timeout"}), ok({"status": "completed"})]
    store.delete("docs", {"must": [{"key": "a", "match": {"value": 1}}]})
    assert server.asked == 2


class TestCreate:
    def test_a_collection_that_a_lost_answer_created_is_taken(
        self, server: FailingServer, store: QdrantStore
    ) -> None:
        stored = self._stored(server, store)
        server.answers = [
            VERSION,
            failed(503, "the answer was lost"),
            failed(409, "Wrong input: Collection `docs` already exists!"),
            collection_info(stored),
            ok({"status": "completed"}),
        ]
        store.create("docs", SCHEMA, {"corpus": "docs"})

    def test_a_collection_of_another_is_not_taken(
        self, server: FailingServer, store: QdrantStore
    ) -> None:
        stored = self._stored(server, store)
        server.answers = [
            VERSION,
            failed(503, "the answer was lost"),
            failed(409, "Wrong input: Collection `docs` already exists!"),
            collection_info(stored | {"lockstep_metadata": '{"corpus": "other"}'}),
        ]
        with pytest.raises(CollectionExists):
            store.create("docs", SCHEMA, {"corpus": "docs"})

    def test_the_first_try_takes_no_name_that_is_there(
        self, server: FailingServer, store: QdrantStore
    ) -> None:
        server.answers = [VERSION, failed(409, "Wrong input: Collection `docs` already exists!")]
        with pytest.raises(CollectionExists):
            store.create("docs", SCHEMA, {"corpus": "docs"})
        assert server.asked == 2

    def test_an_old_server_is_refused(self, server: FailingServer, store: QdrantStore) -> None:
        server.answers = [(200, {"title": "qdrant", "version": "1.15.5"})]
        with pytest.raises(StoreUnavailable, match=r"1\.15\.5; expected 1\.16"):
            store.create("docs", SCHEMA, {})
        assert server.asked == 1

    def test_the_layout_is_asked_for(self, server: FailingServer) -> None:
        store = connect(
            options_for(server, shards=3, replicas=2, write_consistency=2, on_disk=True)
        )
        server.answers = [VERSION, ok(True), ok({"status": "completed"})]
        store.create("docs", SCHEMA, {})
        store.close()
        asked = server.requests[1][1]
        assert (asked["shard_number"], asked["replication_factor"]) == (3, 2)
        assert asked["write_consistency_factor"] == 2
        assert asked["on_disk_payload"]
        assert asked["vectors"]["dense"]["on_disk"]
        assert asked["sparse_vectors"]["bm25"]["index"]["on_disk"]
        assert asked["optimizers_config"]["indexing_threshold"] == 0

    def _stored(self, server: FailingServer, store: QdrantStore) -> dict[str, Any]:
        """The metadata that a creation sends."""
        server.answers = [VERSION, ok(True), ok({"status": "completed"})]
        store.create("docs", SCHEMA, {"corpus": "docs"})
        server.asked = 0
        stored: dict[str, Any] = server.requests[1][1]["metadata"]
        return stored


@pytest.mark.parametrize(("replicas", "ordering"), [(1, None), (2, ["medium"])])
def test_replicas_agree_on_the_order_of_writes(
    server: FailingServer, replicas: int, ordering: list[str] | None
) -> None:
    store = connect(options_for(server, replicas=replicas))
    server.answers = [collection_info({"lockstep_schema": '{"dense_dim": 4}'})]
    store.flush("docs")
    server.answers = [ok({"status": "completed"})]
    store.upsert("docs", points(1))
    store.close()
    assert parse_qs(urlsplit(server.requests[-1][0]).query).get("ordering") == ordering


@pytest.mark.parametrize(
    "refusal",
    [
        (413, "Payload Too Large"),
        (400, "Payload error: JSON payload (99 bytes) is larger than allowed (limit: 9 bytes)."),
    ],
)
def test_a_request_that_is_too_large_is_sent_in_parts(
    server: FailingServer, store: QdrantStore, refusal: tuple[int, str]
) -> None:
    server.answers = [collection_info({"lockstep_schema": '{"dense_dim": 4}'})]
    store.flush("docs")
    done = ok({"status": "completed"})
    server.answers, server.asked = [failed(*refusal), done, failed(*refusal), done], 0
    batch = points(8)
    store.upsert("docs", batch)
    sent = [[point["id"] for point in body["points"]] for _, body in server.requests[1:]]
    accepted = [*sent[1], *(each for piece in sent[3:] for each in piece)]
    assert len(sent[0]) == 8
    assert len(sent[1]) == 4
    assert accepted == list(batch.ids)


def test_a_point_that_is_too_large_is_said_at_once(
    server: FailingServer, store: QdrantStore
) -> None:
    server.answers = [collection_info({"lockstep_schema": '{"dense_dim": 4}'})]
    store.flush("docs")
    server.answers, server.asked = [failed(413, "Payload Too Large")], 0
    with pytest.raises(InvalidInput, match="size") as raised:
        store.upsert("docs", points(1))
    assert "max_request_size_mb" in raised.value.next_step
    assert server.asked == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failed(404, "Not found: Collection `docs` doesn't exist!"), CollectionNotFound),
        (failed(409, "Wrong input: Collection `docs` already exists!"), CollectionExists),
        (failed(400, "Wrong input: Vector dimension error: expected dim: 4"), DimensionMismatch),
        (failed(400, 'Bad request: Index required but not found for "a"'), InvalidFilter),
        (failed(500, "Service internal error: No space left on device: WAL"), StorageFull),
        (failed(501, "Service internal error: unheard of"), StoreUnavailable),
    ],
)
def test_errors_are_told_apart(
    server: FailingServer,
    store: QdrantStore,
    answer: tuple[int, Any],
    expected: type[LockstepError],
) -> None:
    server.answers = [answer]
    with pytest.raises(expected) as raised:
        store.count("docs", {"must": [{"key": "a", "match": {"value": 1}}]})
    assert "docs" in raised.value.message
    assert server.asked == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named(server: FailingServer, store: QdrantStore, status: int) -> None:
    server.answers = [failed(status, "Must provide an API key")]
    with pytest.raises(StoreUnavailable) as raised:
        store.aliases()
    assert "API key" in raised.value.next_step


@pytest.mark.parametrize("grpc_port", [9, 0], ids=["grpc", "rest"])
def test_a_server_that_is_not_there(grpc_port: int) -> None:
    store = connect(ServerOptions("http://127.0.0.1:9", grpc_port=grpc_port, search_timeout_s=0.5))
    with pytest.raises(StoreUnavailable, match=r"Qdrant (failed during|did not answer) aliases"):
        store.aliases()
    store.close()
