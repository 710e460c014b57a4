"""Collections on a Qdrant server or cluster."""

import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from qdrant_client import QdrantClient, models
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from lockstep.errors import CollectionDamaged, CollectionNotFound, Conflict
from lockstep.store.checks import canonical_id, check_branches, check_points, payloads_as_json
from lockstep.store.filters import check_filter
from lockstep.store.port import (
    DOCUMENT_ID,
    Branch,
    Candidate,
    CollectionSchema,
    Json,
    Page,
    Points,
    Record,
    SparseBranch,
)
from lockstep.store.qdrant_errors import ENGINE_ERRORS, is_transient, translated
from lockstep.store.qdrant_requests import (
    point_structs,
    query_request,
    ranked,
    record,
    sparse_vectors_config,
    vectors_config,
)

# Qdrant merges metadata key by key and drops nulls; one text per key is replaced as a whole.
_SCHEMA_KEY = "lockstep_schema"
_METADATA_KEY = "lockstep_metadata"

_INDEXING_THRESHOLD_KB = 10_000
_FIRST_POLL_S, _LAST_POLL_S = 0.05, 1.0
_ATTEMPTS = 4

# The local client takes the calls of a server and says that it ignores a part of them.
_LOCAL_WARNINGS = (
    "Payload indexes have no effect in the local Qdrant",
    "Local mode performs exact",
)


def connect(
    url: str, *, api_key: str | None = None, timeout_s: int = 60, grpc_port: int = 6334
) -> "QdrantStore":
    """A store on the server at `url`; nothing is sent before the first call."""
    with warnings.catch_warnings():
        # A key over plain http is the user's choice, on a private network say.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        client = QdrantClient(
            url=url,
            api_key=api_key,
            timeout=timeout_s,
            prefer_grpc=True,
            grpc_port=grpc_port,
            check_compatibility=False,
        )
    return QdrantStore(client)


class QdrantStore:
    """A VectorStore in Qdrant. An acknowledged write is as durable as the server's own log."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self._schemas: dict[str, CollectionSchema] = {}
        for message in _LOCAL_WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=UserWarning)

    def create(self, collection: str, schema: CollectionSchema, metadata: Json) -> None:
        stored = {
            _SCHEMA_KEY: json.dumps(asdict(schema)),
            _METADATA_KEY: json.dumps(metadata, ensure_ascii=False),
        }
        with _translating(collection, "create"):  # once: a second try would find the first's
            self._client.create_collection(
                collection,
                vectors_config=vectors_config(schema),
                sparse_vectors_config=sparse_vectors_config(),
                optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
                metadata=stored,
            )
        self._index_document_ids(collection)

    def drop(self, collection: str) -> None:
        live = [alias for alias, target in self.aliases().items() if target == collection]
        if live:
            raise Conflict(
                f"Collection '{collection}' is live: alias '{live[0]}' points at it.",
                next_step="Promote another index version before dropping this one.",
            )
        self._schemas.pop(collection, None)
        self._ask(collection, "drop", self._client.delete_collection)

    def collections(self) -> dict[str, Json]:
        listed = self._ask("", "listing", lambda _: self._client.get_collections())
        found: dict[str, Json] = {}
        for name in sorted(item.name for item in listed.collections):
            try:
                stored = self._stored_metadata(name)
            except CollectionNotFound:
                continue  # dropped meanwhile
            if _METADATA_KEY in stored:  # others may share the server
                found[name] = json.loads(stored[_METADATA_KEY])
        return found

    def set_metadata(self, collection: str, metadata: Json) -> None:
        self._schema(collection)  # an update of nothing would pass on some engines
        stored = {_METADATA_KEY: json.dumps(metadata, ensure_ascii=False)}
        self._ask(
            collection,
            "set_metadata",
            lambda name: self._client.update_collection(name, metadata=stored),
        )

    def aliases(self) -> dict[str, str]:
        answer = self._ask("", "aliases", lambda _: self._client.get_aliases())
        return {item.alias_name: item.collection_name for item in answer.aliases}

    def set_alias(self, alias: str, collection: str) -> None:
        # One action that overwrites: a delete and a create would be saved one after the other.
        action = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
        )
        self._ask(
            collection,
            "set_alias",
            lambda _: self._client.update_collection_aliases([action]),
        )

    def upsert(self, collection: str, points: Points) -> None:
        check_points(collection, self._schema(collection), points)
        payloads_as_json(points.payloads)
        if len(points):
            structs = point_structs(points)
            self._ask(
                collection, "upsert", lambda name: self._client.upsert(name, structs, wait=True)
            )

    def delete(self, collection: str, filter: Json) -> None:
        selector = models.FilterSelector(filter=_required_filter(collection, filter))
        self._ask(collection, "delete", lambda name: self._client.delete(name, selector, wait=True))

    def flush(self, collection: str) -> None:
        self._schema(collection)  # the server writes its log by itself; only the name is checked

    def optimize(self, collection: str) -> None:
        self._schema(collection)
        self._index_document_ids(collection)  # in case the process died while it created
        self._nudge(collection, indexing_threshold=_INDEXING_THRESHOLD_KB)
        wait_s = _FIRST_POLL_S
        greens = 0
        while greens < 2:  # the first may be from before the optimizer has looked
            greens = greens + 1 if self._is_ready(collection) else 0
            if greens < 2:
                time.sleep(wait_s)
            wait_s = min(_LAST_POLL_S, 1.5 * wait_s)

    def count(self, collection: str, filter: Json | None = None) -> int:
        matching = _filter(collection, filter)
        answer = self._ask(
            collection,
            "count",
            lambda name: self._client.count(name, count_filter=matching, exact=True),
        )
        return int(answer.count)

    def scroll(
        self,
        collection: str,
        *,
        start_id: str | None = None,
        limit: int = 1000,
        fields: Sequence[str] | None = None,
    ) -> Page:
        start = None if start_id is None else canonical_id(start_id)
        selected = True if fields is None else list(fields) or False
        records, next_id = self._ask(
            collection,
            "scroll",
            lambda name: self._client.scroll(
                name, limit=limit, offset=start, with_payload=selected, with_vectors=False
            ),
        )
        return Page([record(item) for item in records], None if next_id is None else str(next_id))

    def retrieve(
        self, collection: str, ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[Record]:
        wanted = [canonical_id(point_id) for point_id in ids]
        records = self._ask(
            collection,
            "retrieve",
            lambda name: self._client.retrieve(
                name, wanted, with_payload=True, with_vectors=with_vectors
            ),
        )
        found = {str(item.id): record(item) for item in records}
        return [found[point_id] for point_id in wanted if point_id in found]

    def search(
        self, collection: str, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        schema = self._schema(collection)
        check_branches(collection, schema, branches)
        matching = _filter(collection, filter)
        quantized = schema.quantization != "none"
        asked = [branch for branch in branches if not _is_empty(branch)]
        requests = [query_request(branch, matching, quantized=quantized) for branch in asked]
        answers = iter(self._query(collection, requests))
        return [
            [] if _is_empty(branch) else ranked(next(answers).points, branch.limit)
            for branch in branches
        ]

    def release(self, collection: str) -> None:
        """Nothing to let go of: any number of processes may use a server's collection."""

    def close(self) -> None:
        self._client.close()

    def _query(
        self, collection: str, requests: list[models.QueryRequest]
    ) -> list[models.QueryResponse]:
        if not requests:
            return []
        answers: list[models.QueryResponse] = self._ask(
            collection, "search", lambda name: self._client.query_batch_points(name, requests)
        )
        return answers

    def _schema(self, collection: str) -> CollectionSchema:
        schema = self._schemas.get(collection)
        if schema is None:
            stored = self._stored_metadata(collection)
            if _SCHEMA_KEY not in stored:
                raise CollectionNotFound(f"Collection '{collection}' was not created by Lockstep.")
            schema = CollectionSchema(**json.loads(stored[_SCHEMA_KEY]))
            self._schemas[collection] = schema
        return schema

    def _stored_metadata(self, collection: str) -> dict[str, Any]:
        info = self._ask(collection, "get_collection", self._client.get_collection)
        return info.config.metadata or {}

    def _index_document_ids(self, collection: str) -> None:
        self._ask(
            collection,
            "create_payload_index",
            lambda name: self._client.create_payload_index(
                name, DOCUMENT_ID, models.PayloadSchemaType.KEYWORD, wait=True
            ),
        )

    def _nudge(self, collection: str, *, indexing_threshold: int) -> None:
        config = models.OptimizersConfigDiff(indexing_threshold=indexing_threshold)
        self._ask(
            collection,
            "update_collection",
            lambda name: self._client.update_collection(name, optimizers_config=config),
        )

    def _is_ready(self, collection: str) -> bool:
        info = self._ask(collection, "get_collection", self._client.get_collection)
        if info.optimizer_status != models.OptimizersStatusOneOf.OK:
            raise CollectionDamaged(
                f"Qdrant's optimizer failed on collection '{collection}': {info.optimizer_status}.",
                next_step="Read the Qdrant server's log, then rebuild with `lockstep reindex`.",
            )
        if info.status == models.CollectionStatus.GREY:  # due, but not started
            self._nudge(collection, indexing_threshold=_INDEXING_THRESHOLD_KB)
        queue = info.update_queue
        waiting = queue is not None and bool(queue.length or queue.deferred_points)
        return info.status == models.CollectionStatus.GREEN and not waiting

    def _ask(self, collection: str, operation: str, call: Callable[[str], Any]) -> Any:
        """Make an idempotent call; again, after a random wait, where the failure is passing."""
        attempts = Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        with _translating(collection, operation):
            return attempts(call, collection)


@contextmanager
def _translating(collection: str, operation: str) -> Iterator[None]:
    try:
        yield
    except ENGINE_ERRORS as error:
        raise translated(error, collection, operation) from error


def _is_empty(branch: Branch) -> bool:
    return isinstance(branch, SparseBranch) and not len(branch.vector.indices)


def _filter(collection: str, filter: Json | None) -> models.Filter | None:
    return None if filter is None else _required_filter(collection, filter)


def _required_filter(collection: str, filter: Json) -> models.Filter:
    check_filter(filter)
    with _translating(collection, "reading the filter"):
        return models.Filter.model_validate(filter)
