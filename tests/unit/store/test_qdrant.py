"""The Qdrant adapter against a server that fails: retries, and errors that name the situation."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from qdrant_client import QdrantClient

from lockstep.errors import (
    CollectionExists,
    CollectionNotFound,
    DimensionMismatch,
    InvalidFilter,
    LockstepError,
    StorageFull,
    StoreUnavailable,
)
from lockstep.store.port import CollectionSchema
from lockstep.store.qdrant import QdrantStore, connect

ALIASES = {"aliases": [{"alias_name": "docs", "collection_name": "docs--v0001"}]}


class FailingServer(ThreadingHTTPServer):
    """Answers with each of `answers` in turn, and with the last one from then on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any]] = []
        self.asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: FailingServer

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, body = self.server.answers[min(self.server.asked, len(self.server.answers) - 1)]
        self.server.asked += 1
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
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


@pytest.fixture
def store(server: FailingServer) -> Iterator[QdrantStore]:
    client = QdrantClient(
        url=f"http://127.0.0.1:{server.server_port}", check_compatibility=False, timeout=10
    )
    opened = QdrantStore(client)
    yield opened
    opened.close()


def ok(result: Any) -> tuple[int, Any]:
    return (200, {"result": result, "status": "ok", "time": 0.0})


def failed(status: int, text: str) -> tuple[int, Any]:
    return (status, {"status": {"error": text}, "time": 0.0})


def test_a_passing_failure_is_tried_again(server: FailingServer, store: QdrantStore) -> None:
    server.answers = [failed(503, "starting"), failed(503, "starting"), ok(ALIASES)]
    assert store.aliases() == {"docs": "docs--v0001"}
    assert server.asked == 3


def test_a_failure_that_stays_is_said_in_the_end(server: FailingServer, store: QdrantStore) -> None:
    server.answers = [failed(503, "starting")]
    with pytest.raises(StoreUnavailable, match="503"):
        store.aliases()
    assert server.asked == 4


def test_create_is_not_tried_again(server: FailingServer, store: QdrantStore) -> None:
    server.answers = [failed(503, "starting")]
    with pytest.raises(StoreUnavailable):
        store.create("docs", CollectionSchema(dense_dim=4), {})
    assert server.asked == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failed(404, "Not found: Collection `docs` doesn't exist!"), CollectionNotFound),
        (failed(409, "Wrong input: Collection `docs` already exists!"), CollectionExists),
        (failed(400, "Wrong input: Vector dimension error: expected dim: 4"), DimensionMismatch),
        (failed(400, 'Bad request: Index required but not found for "a"'), InvalidFilter),
        (failed(500, "Service internal error: No space left on device: WAL"), StorageFull),
        (failed(500, "Service internal error: panicked"), StoreUnavailable),
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


@pytest.mark.parametrize("scheme", ["grpc", "rest"])
def test_a_server_that_is_not_there(scheme: str) -> None:
    url = "http://127.0.0.1:9"
    store = (
        connect(url, timeout_s=5, grpc_port=9)
        if scheme == "grpc"
        else QdrantStore(QdrantClient(url=url, check_compatibility=False))
    )
    with pytest.raises(StoreUnavailable, match="Qdrant failed during aliases"):
        store.aliases()
    store.close()
