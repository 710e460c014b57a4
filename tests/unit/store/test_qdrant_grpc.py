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
from lockstep.store.payload_functions import Decay, PayloadFunction, Saturation
from lockstep.store.port import CollectionSchema, FacetCount, Points, SparseVector
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

SCHEMA = CollectionSchema(dense_dim=4, prefilter_dim=2, quantization="int8")
ID = "00000000-0000-0000-0000-000000000001"
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

    def Facet(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        hits = [("b", 2), ("a", 2), ("c", 1)]
        counted = [
            messages.FacetHit(value=messages.FacetValue(string_value=value), count=count)
            for value, count in hits
        ]
        return messages.FacetResponse(hits=counted)

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        scored = messages.ScoredPoint(id=messages.PointId(uuid=ID), score=0.25)
        answers = [messages.BatchResult(result=[scored]) for _ in request.query_points]
        return messages.QueryBatchResponse(result=answers)


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


def test_a_facet_arrives_with_its_filter(
    server: Server, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = CollectionSchema(dense_dim=4, payload_indexes={"metadata.lang": "keyword"})
    monkeypatch.setattr(store, "_schema", lambda _: schema)
    first = {"must": [{"key": "passage", "match": {"value": 0}}]}
    counts = store.facet("docs", "metadata.lang", limit=2, filter=first)
    assert counts == [FacetCount("a", 2), FacetCount("b", 2)]
    [asked] = server.asked
    assert (asked.key, asked.exact) == ("metadata.lang", True)
    assert asked.filter.must[0].field.key == "passage"


def test_functions_arrive_as_formulas_of_the_points(server: Server, store: QdrantStore) -> None:
    functions: list[PayloadFunction] = [
        Saturation("metadata.views", 10.0),
        Decay("metadata.when", 60.0, 1e9),
    ]
    assert store.evaluate("docs", [ID], functions) == [{ID: 0.25}, {ID: 0.25}]
    [asked] = server.asked
    shares, ages = asked.query_points
    assert shares.query.formula.expression.div.right.sum.sum[1].constant == 10.0
    assert ages.query.formula.expression.exp_decay.scale == 60.0
    for each in (shares, ages):
        assert each.limit == each.prefetch[0].limit == 1
        ids, computable = each.prefetch[0].filter.must
        assert ids.has_id.has_id[0].uuid == ID
        assert len(computable.filter.must) == 2


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
