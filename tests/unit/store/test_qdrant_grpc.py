"""The Qdrant adapter over gRPC: what it asks for arrives, and codes of failure are understood."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as messages
from qdrant_client.grpc.collections_service_pb2_grpc import (
    CollectionsServicer,
    add_CollectionsServicer_to_server,
)
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer, add_PointsServicer_to_server
from qdrant_client.grpc.qdrant_pb2_grpc import QdrantServicer, add_QdrantServicer_to_server

from lockstep.errors import CollectionNotFound, InvalidInput, StorageFull, StoreUnavailable
from lockstep.store.port import CollectionSchema, Points, SparseVector
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

SCHEMA = CollectionSchema(dense_dim=4, prefilter_dim=2, quantization="int8")
DONE = messages.PointsOperationResponse(
    result=messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
)


class Server(CollectionsServicer, PointsServicer, QdrantServicer):
    """Takes everything down; fails first with each of `failures`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failures: list[tuple[grpc.StatusCode, str]] = []

    def _take(self, request: Any, context: grpc.ServicerContext) -> None:
        self.asked.append(request)
        if self.failures:
            context.abort(*self.failures.pop(0))

    def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.HealthCheckReply(title="qdrant", version="1.19.2")

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        return messages.CollectionOperationResponse(result=True)

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        return DONE

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        return DONE

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        return DONE

    def ListAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        return messages.ListAliasesResponse()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store(server: Server) -> Iterator[QdrantStore]:
    running = grpc.server(ThreadPoolExecutor(4))
    add_CollectionsServicer_to_server(server, running)  # type: ignore[no-untyped-call]
    add_PointsServicer_to_server(server, running)  # type: ignore[no-untyped-call]
    add_QdrantServicer_to_server(server, running)  # type: ignore[no-untyped-call]
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    opened = connect(
        ServerOptions(
            "http://127.0.0.1:9",  # nothing listens there: no call may go by HTTP
            grpc_port=port,
            search_timeout_s=20,
            shards=3,
            replicas=2,
            write_consistency=2,
            on_disk=True,
        )
    )
    yield opened
    opened.close()
    running.stop(None).wait()


def points(count: int) -> Points:
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    return Points(
        [f"00000000-0000-0000-0000-{n:012}" for n in range(count)],
        np.ones((count, 4), np.float32),
        np.ones((count, 2), np.float32),
        [word] * count,
        [{"document_id": "d", "seq": 5}] * count,
    )


def test_the_layout_arrives(server: Server, store: QdrantStore) -> None:
    store.create("docs", SCHEMA, {"corpus": "docs"})
    [asked] = server.asked
    assert (asked.shard_number, asked.replication_factor) == (3, 2)
    assert asked.write_consistency_factor == 2
    assert asked.on_disk_payload
    dense = asked.vectors_config.params_map.map["dense"]
    assert dense.on_disk
    assert dense.quantization_config.scalar.always_ram
    assert asked.sparse_vectors_config.map["bm25"].index.on_disk
    assert asked.optimizers_config.indexing_threshold == 0
    assert asked.optimizers_config.HasField("indexing_threshold")


def test_a_batch_arrives_whole_with_its_condition(
    server: Server, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_schema", lambda _: SCHEMA)
    server.failures = [
        (grpc.StatusCode.UNAVAILABLE, "starting"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "message larger than max (9 vs. 4)"),
    ]
    batch = points(8)
    store.upsert("docs", batch, keep_newer_than=5)
    _, refused, *taken = server.asked
    assert len(refused.points) == 8
    assert [each.id.uuid for asked in taken for each in asked.points] == list(batch.ids)
    for asked in taken:
        assert len(asked.points) == 4
        [condition] = asked.update_filter.must_not
        assert (condition.field.key, condition.field.range.gt) == ("seq", 5)
        assert asked.ordering.type == messages.WriteOrderingType.Medium


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ((grpc.StatusCode.NOT_FOUND, "Collection `docs` doesn't exist!"), CollectionNotFound),
        ((grpc.StatusCode.INTERNAL, "No space left on device"), StorageFull),
        ((grpc.StatusCode.OUT_OF_RANGE, "message length too large: found 9"), InvalidInput),
        ((grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key"), StoreUnavailable),
    ],
)
def test_codes_are_told_apart(
    server: Server,
    store: QdrantStore,
    failure: tuple[grpc.StatusCode, str],
    expected: type[Exception],
) -> None:
    server.failures = [failure] * 2
    with pytest.raises(expected):
        store.delete("docs", {"must": [{"key": "a", "match": {"value": 1}}]})
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    ],
)
def test_a_passing_code_is_tried_again(
    server: Server, store: QdrantStore, code: grpc.StatusCode
) -> None:
    server.failures = [(code, "busy")] * 2
    assert store.aliases() == {}
    assert len(server.asked) == 3
