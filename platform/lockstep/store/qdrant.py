"""Collections on a Qdrant server or cluster."""

import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qdrant_client import QdrantClient, models

from lockstep.errors import CollectionNotFound, Conflict
from lockstep.store.checks import (
    by_count,
    canonical_id,
    check_branches,
    check_facet,
    check_points,
    payloads_as_json,
    share_by_id,
)
from lockstep.store.deadline import within
from lockstep.store.filters import check_filter
from lockstep.store.payload_functions import PayloadFunction
from lockstep.store.port import (
    Answer,
    Branch,
    Candidate,
    CollectionSchema,
    FacetCount,
    Json,
    Page,
    Points,
    Question,
    Readiness,
    Record,
    SparseBranch,
    not_newer_than,
)
from lockstep.store.qdrant_batches import RequestSize, require_done, send_first
from lockstep.store.qdrant_calls import Calls
from lockstep.store.qdrant_creation import Creation, require_version
from lockstep.store.qdrant_errors import translating
from lockstep.store.qdrant_functions import formula_request
from lockstep.store.qdrant_options import ServerOptions
from lockstep.store.qdrant_readiness import readiness_of, wait_until_ready
from lockstep.store.qdrant_requests import (
    payload_indexes,
    point_structs,
    query_request,
    ranked,
    record,
)
from lockstep.store.reading import CollectionReader

# Qdrant merges metadata key by key and drops nulls; one text per key is replaced as a whole.
_SCHEMA_KEY = "lockstep_schema"
_METADATA_KEY = "lockstep_metadata"

_INDEXING_THRESHOLD_KB = 10_000
# Shards may each name their own most frequent values only: ask for more than are wanted.
FACET_MARGIN = 200
# Points with the vectors of their tokens are a hundred times larger than others; as Python's
# numbers, which the client takes, they would fill the memory.
LATE_POINTS = 32

# The local client takes the calls of a server and says that it ignores a part of them.
_LOCAL_WARNINGS = (
    "Payload indexes have no effect in the local Qdrant",
    "Local mode performs exact",
)


def connect(options: ServerOptions) -> "QdrantStore":
    """A store on a Qdrant server; nothing is sent before the first call."""
    return QdrantStore(options.client(), options, searcher=options.search_client())


class QdrantStore:
    """A VectorStore in Qdrant. An acknowledged write is as durable as the server's own log.

    Searches, and reads of aliases and metadata, end within the search timeout. Writes are tried
    again for as long as `options.patience_s` while the server is away; so is everything else once
    this process has begun to write points.
    """

    def __init__(
        self,
        client: QdrantClient,
        options: ServerOptions | None = None,
        *,
        searcher: QdrantClient | None = None,
    ) -> None:
        self._client = client
        self._searcher = searcher or client
        self._options = options or ServerOptions()
        self._calls = Calls(
            search_timeout_s=self._options.search_timeout_s, patience_s=self._options.patience_s
        )
        self._request_size = RequestSize()
        self._schemas: dict[str, CollectionSchema] = {}
        for message in _LOCAL_WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=UserWarning)

    def create(self, collection: str, schema: CollectionSchema, metadata: Json) -> None:
        stored = {
            _SCHEMA_KEY: json.dumps(schema.to_json()),
            _METADATA_KEY: json.dumps(metadata, ensure_ascii=False),
        }
        require_version(self._ask("", "version", lambda _: self._client.info()).version)
        creation = Creation(self._client, schema, stored, self._options)
        self._ask(collection, "create", creation.attempt)
        self._index_payload(collection, schema)

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
        return self._calls.promptly("", "listing", self._collections)

    def _collections(self) -> dict[str, Json]:
        listed = self._ask("", "listing", lambda _: self._reader.get_collections())
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
        answer = self._calls.promptly(
            "", "aliases", lambda: self._ask("", "aliases", lambda _: self._reader.get_aliases())
        )
        return {item.alias_name: item.collection_name for item in answer.aliases}

    def set_alias(self, alias: str, collection: str) -> None:
        # One action that overwrites: a delete and a create would be saved one after the other.
        action = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
        )
        # Not for as long as a build waits: by then someone else may have moved it elsewhere.
        with within(self._options.search_timeout_s):
            self._ask(
                collection,
                "set_alias",
                lambda _: self._searcher.update_collection_aliases([action]),
            )

    def upsert(
        self, collection: str, points: Points, *, keep_newer_than: int | None = None
    ) -> None:
        check_points(collection, self._schema(collection), points)
        payloads_as_json(points.payloads)
        self._calls.begin_building()
        replaced = None if keep_newer_than is None else not_newer_than(keep_newer_than)
        condition = _filter(collection, replaced)
        at_once = len(points) if points.late is None else LATE_POINTS
        for part in points.parts(max(1, at_once)):
            self._upsert(collection, part, condition)

    def _upsert(self, collection: str, points: Points, condition: models.Filter | None) -> None:
        left: Sequence[models.PointStruct] = point_structs(points)

        def send_some(name: str) -> Sequence[models.PointStruct]:
            return send_first(
                left, self._request_size, lambda each: self._send(name, each, condition)
            )

        while left:  # each request that went well starts the patience anew
            left = self._calls.again(collection, "upsert", send_some)

    def delete(self, collection: str, filter: Json) -> None:
        selector = models.FilterSelector(filter=_required_filter(collection, filter))
        self._calls.begin_building()
        self._ask(
            collection,
            "delete",
            lambda name: require_done(
                self._client.delete(name, selector, wait=True, ordering=self._ordering)
            ),
        )

    def flush(self, collection: str) -> None:
        self._schema(collection)  # the server writes its log by itself; only the name is checked

    def optimize(self, collection: str) -> None:
        schema = self._schema(collection)
        self._calls.begin_building()
        self._index_payload(collection, schema)  # in case the process died while it created
        self._restore_indexing(collection)
        wait_until_ready(
            collection,
            lambda: self._ask(collection, "get_collection", self._client.get_collection),
            lambda: self._restore_indexing(collection),
            self._pause,
        )

    def readiness(self, collection: str) -> Readiness:
        return readiness_of(self._ask(collection, "get_collection", self._client.get_collection))

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
        self,
        collection: str,
        ids: Sequence[str],
        *,
        with_vectors: bool = False,
        with_late: bool = False,
    ) -> list[Record]:
        wanted = [canonical_id(point_id) for point_id in ids]
        records = self._calls.promptly(
            collection,
            "retrieve",
            lambda: self._retrieve(collection, wanted, with_vectors, with_late),
        )
        found = {str(item.id): record(item) for item in records}
        return [found[point_id] for point_id in wanted if point_id in found]

    def _retrieve(
        self, collection: str, ids: list[str], vectors: bool, late: bool
    ) -> list[models.Record]:
        names: list[str] = []
        if vectors or late:
            names = self._schema(collection).vector_names(vectors=vectors, late=late)
        records: list[models.Record] = self._ask(
            collection,
            "retrieve",
            lambda name: self._reader.retrieve(
                name, ids, with_payload=True, with_vectors=names or False
            ),
        )
        return records

    def search(
        self, collection: str, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        matching = _filter(collection, filter)
        return self._calls.promptly(
            collection, "search", lambda: self._search(collection, branches, matching)
        )

    def _search(
        self, collection: str, branches: Sequence[Branch], matching: models.Filter | None
    ) -> list[list[Candidate]]:
        schema = self._schema(collection)
        check_branches(collection, schema, branches)
        quantized = schema.quantization != "none"
        asked = [branch for branch in branches if not _is_empty(branch)]
        requests = [query_request(branch, matching, quantized=quantized) for branch in asked]
        answers = iter(self._query(collection, requests))
        return [
            [] if _is_empty(branch) else ranked(next(answers).points, branch.limit)
            for branch in branches
        ]

    def facet(
        self, collection: str, field: str, *, limit: int, filter: Json | None = None
    ) -> list[FacetCount]:
        matching = _filter(collection, filter)
        check_facet(collection, self._schema(collection), field)
        count = partial(
            self._reader.facet,
            key=field,
            facet_filter=matching,
            limit=limit + FACET_MARGIN,
            exact=True,
        )
        answer = self._calls.promptly(
            collection, "facet", lambda: self._ask(collection, "facet", count)
        )
        return by_count([FacetCount(hit.value, hit.count) for hit in answer.hits])[:limit]

    def ask(self, collection: str, question: Question[Answer]) -> Answer:
        return question(CollectionReader(self, collection))

    def evaluate(
        self, collection: str, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        wanted = [canonical_id(point_id) for point_id in ids]
        if not wanted:
            return [{} for _ in functions]
        requests = [formula_request(function, wanted) for function in functions]
        answers = self._calls.promptly(
            collection, "evaluate", lambda: self._query(collection, requests)
        )
        return [share_by_id((str(p.id), p.score) for p in answer.points) for answer in answers]

    def release(self, collection: str) -> None:
        """Nothing to let go of: any number of processes may use a server's collection."""

    def close(self) -> None:
        self._calls.close()
        self._client.close()
        self._searcher.close()

    @property
    def _reader(self) -> QdrantClient:
        """The client for what a search does: only a build lets one request take long."""
        return self._client if self._calls.building else self._searcher

    @property
    def _ordering(self) -> models.WriteOrdering | None:
        """Replicas must agree which of two writes to a point came first, or they would differ."""
        return models.WriteOrdering.MEDIUM if self._options.replicas > 1 else None

    def _send(
        self, name: str, points: list[models.PointStruct], condition: models.Filter | None
    ) -> models.UpdateResult:
        return self._client.upsert(
            name, points, wait=True, update_filter=condition, ordering=self._ordering
        )

    def _pause(self, seconds: float) -> None:
        self._calls.pause(seconds)
        self._calls.require_open()

    def _query(
        self, collection: str, requests: list[models.QueryRequest]
    ) -> list[models.QueryResponse]:
        if not requests:
            return []
        answers: list[models.QueryResponse] = self._ask(
            collection, "search", lambda name: self._reader.query_batch_points(name, requests)
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
        info: models.CollectionInfo = self._ask(
            collection, "get_collection", lambda name: self._reader.get_collection(name)
        )
        return info.config.metadata or {}

    def _index_payload(self, collection: str, schema: CollectionSchema) -> None:
        for field, kind in payload_indexes(schema).items():
            create = partial(self._client.create_payload_index, field_name=field, field_schema=kind)
            self._ask(collection, "create_payload_index", create)

    def _restore_indexing(self, collection: str) -> None:
        config = models.OptimizersConfigDiff(indexing_threshold=_INDEXING_THRESHOLD_KB)
        self._ask(
            collection,
            "update_collection",
            lambda name: self._client.update_collection(name, optimizers_config=config),
        )

    def _ask(self, collection: str, operation: str, call: Callable[[str], Any]) -> Any:
        return self._calls.again(collection, operation, call)


def _is_empty(branch: Branch) -> bool:
    return isinstance(branch, SparseBranch) and not len(branch.vector.indices)


def _filter(collection: str, filter: Json | None) -> models.Filter | None:
    return None if filter is None else _required_filter(collection, filter)


def _required_filter(collection: str, filter: Json) -> models.Filter:
    check_filter(filter)
    with translating(collection, "reading the filter"):
        return models.Filter.model_validate(filter)
