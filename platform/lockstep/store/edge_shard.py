"""One shard of the embedded engine: the calls of the port, made on it.

Runs in the worker process that owns the shard; see `edge_worker`.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as engine

from lockstep.store.checks import TIE_MARGIN
from lockstep.store.edge_filter import edge_filter
from lockstep.store.edge_functions import formula_request
from lockstep.store.edge_wire import PackedPoints
from lockstep.store.payload_functions import PayloadFunction
from lockstep.store.port import (
    BM25,
    DENSE,
    DOCUMENT_ID,
    LATE,
    PREFILTER,
    Branch,
    Candidate,
    CollectionSchema,
    DenseBranch,
    Json,
    LateBranch,
    Record,
    SparseVector,
)

# One big segment: a search walks one graph, on one core, and leaves the others to other searches.
SEGMENTS = 1
# Below this many kB of vectors the engine compares with every point, which is as fast.
FULL_SCAN_KB = 10_000
# New points wait outside of the graph until `optimize`; a few do not make searches slow.
MIN_INDEXED = 0.9
# Deleted points count in BM25's document frequencies until their segment is rewritten, which
# `optimize` does once they are this share of it. The engine's own limit is a fifth.
MAX_DELETED = 0.05
# Fewer changes than this are not worth an `optimize` in between.
MIN_CHANGED = 1_000
# The engine's default of 100 costs recall; see docs/experiments.md.
MIN_HNSW_EF = 256


@lru_cache(maxsize=65_536)
def _text(number: int) -> str:
    """A UUID's text: written anew each time, ids took a tenth of a search's time."""
    return str(UUID(int=number))


class Shard:
    def __init__(self, shard: engine.EdgeShard, schema: CollectionSchema) -> None:
        self.schema = schema
        self._shard = shard
        # How many points were written or deleted since the last `optimize` of this process.
        self._changed = 0
        self._quantized = schema.quantization != "none"
        self._dims = [dim for dim in (schema.dense_dim, schema.prefilter_dim) if dim]

    @classmethod
    def create(cls, path: str, schema: CollectionSchema) -> "Shard":
        shard = engine.EdgeShard.create(path, _config(schema))
        indexes = {DOCUMENT_ID: "keyword", **schema.payload_indexes}
        for field, kind in indexes.items():
            payload_type = getattr(engine.PayloadSchemaType, kind.capitalize())
            shard.update(engine.UpdateOperation.create_field_index(field, payload_type))
        shard.flush()
        return cls(shard, schema)

    @classmethod
    def load(cls, path: str, schema: CollectionSchema) -> "Shard":
        return cls(engine.EdgeShard.load(path, _config(schema)), schema)

    def upsert(self, points: PackedPoints) -> None:
        prefilters = points.prefilter if points.prefilter is not None else [None] * len(points.ids)
        rows = zip(
            points.ids,
            points.dense,
            prefilters,
            points.sparse(),
            points.late_matrices(),
            json.loads(points.payloads),
            strict=True,
        )
        batch = [_point(*row) for row in rows]
        self._shard.update(engine.UpdateOperation.upsert_points(batch))
        self._changed += len(batch)

    def delete(self, filter: Json) -> None:
        matching = edge_filter(filter)
        if matching is not None:
            self._changed += self.count(filter)
            self._shard.update(engine.UpdateOperation.delete_points_by_filter(matching))

    def flush(self) -> None:
        self._shard.flush()

    def optimize(self) -> None:
        self._shard.optimize()
        self._shard.flush()
        self._changed = 0

    def readiness(self) -> tuple[int, bool, bool]:
        """The number of points, whether those worth a graph are in one, whether to optimise."""
        info = self._shard.info()
        graphs = sum(info.points_count * dim * 4 > FULL_SCAN_KB * 1024 for dim in self._dims)
        if graphs and self.schema.late_dim is not None:
            graphs += 1  # without a graph, and counted as indexed where the others are
        expected = info.points_count * (1 + graphs)  # the sparse vectors are indexed at once
        ready = info.indexed_vectors_count >= MIN_INDEXED * expected
        many = max(MIN_CHANGED, MAX_DELETED * info.points_count)
        return info.points_count, ready, not ready or self._changed >= many

    def close(self) -> None:
        self._shard.flush()
        self._shard.close()

    def count(self, filter: Json | None) -> int:
        return self._shard.count(engine.CountRequest(exact=True, filter=edge_filter(filter)))

    def scroll(
        self, start_id: str | None, limit: int, fields: Sequence[str] | None
    ) -> tuple[list[Record], str | None]:
        records, next_id = self._shard.scroll(
            engine.ScrollRequest(
                offset=start_id,
                limit=limit,
                with_payload=True if fields is None else _only(fields),
                with_vector=False,
            )
        )
        return [_record(record) for record in records], None if next_id is None else str(next_id)

    def retrieve(self, ids: Sequence[str], vectors: list[str]) -> list[Record]:
        records = self._shard.retrieve(list(ids), True, vectors or False)
        return [_record(record) for record in records]

    def search(self, branches: Sequence[Branch], filter: Json | None) -> list[list[Candidate]]:
        matching = edge_filter(filter)
        requests = [self._request(branch, matching) for branch in branches]
        answers = self._shard.query_batch(engine.QueryBatchRequest(requests))
        return [
            _ranked(points, branch.limit) for points, branch in zip(answers, branches, strict=True)
        ]

    def facet(
        self, field: str, limit: int, filter: Json | None
    ) -> list[tuple[str | int | bool, int]]:
        request = engine.FacetRequest(field, limit, exact=True, filter=edge_filter(filter))
        return [(hit.value, hit.count) for hit in self._shard.facet(request).hits]

    def evaluate(
        self, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[list[tuple[str, float]]]:
        requests = [formula_request(function, ids) for function in functions]
        answers = self._shard.query_batch(engine.QueryBatchRequest(requests))
        return [[(str(point.id), point.score) for point in answer] for answer in answers]

    def _request(self, branch: Branch, filter: engine.Filter | None) -> engine.QueryRequest:
        fetched = branch.limit + TIE_MARGIN
        prefetches = None
        if isinstance(branch, DenseBranch):
            query = _nearest(branch.vector, branch.using)
            params = self._params(fetched, exact=branch.exact)
            if branch.prefilter is not None:
                prefetches = [self._prefetch(branch, filter)]
        elif isinstance(branch, LateBranch):
            query, params = _nearest(branch.vectors, LATE), engine.SearchParams(exact=True)
        else:
            vector = engine.SparseVector(
                branch.vector.indices.tolist(), branch.vector.values.tolist()
            )
            query, params = _nearest(vector, BM25), None
        return engine.QueryRequest(
            limit=fetched,
            query=query,
            prefetches=prefetches,
            filter=filter,
            params=params,
            with_payload=False,
            with_vector=False,
        )

    def _prefetch(self, branch: DenseBranch, filter: engine.Filter | None) -> engine.Prefetch:
        prefilter = branch.prefilter
        if prefilter is None:
            raise ValueError("the branch has no prefilter")
        return engine.Prefetch(
            limit=prefilter.candidates,
            query=_nearest(prefilter.vector, PREFILTER),
            filter=filter,
            params=self._params(prefilter.candidates, exact=branch.exact),
        )

    def _params(self, fetched: int, *, exact: bool) -> engine.SearchParams:
        return engine.SearchParams(
            hnsw_ef=max(MIN_HNSW_EF, 2 * fetched),
            exact=exact,
            quantization=engine.QuantizationSearchParams(rescore=True) if self._quantized else None,
        )


def _config(schema: CollectionSchema) -> engine.EdgeConfig:
    vectors = {DENSE: _vector(schema, schema.dense_dim, quantized=schema.quantization == "int8")}
    if schema.prefilter_dim is not None:
        vectors[PREFILTER] = _vector(schema, schema.prefilter_dim, quantized=False)
    if schema.late_dim is not None:
        vectors[LATE] = _late(schema, schema.late_dim)
    return engine.EdgeConfig(
        vectors=vectors,
        sparse_vectors={BM25: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
        optimizers=engine.EdgeOptimizersConfig(
            default_segment_number=SEGMENTS,
            deleted_threshold=MAX_DELETED,
            vacuum_min_vector_number=1,
        ),
        wal_enabled=True,  # without it two processes can write to one shard
    )


def _vector(schema: CollectionSchema, dim: int, *, quantized: bool) -> engine.EdgeVectorParams:
    return engine.EdgeVectorParams(
        dim,
        engine.Distance.Cosine,
        datatype=_datatype(schema),
        hnsw_config=engine.HnswIndexConfig(schema.hnsw_m, schema.hnsw_ef_construct, FULL_SCAN_KB),
        quantization_config=engine.ScalarQuantizationConfig(
            engine.ScalarType.Int8, quantile=0.99, always_ram=True
        )
        if quantized
        else None,
    )


def _late(schema: CollectionSchema, dim: int) -> engine.EdgeVectorParams:
    """A search compares a few of them: no graph, and no memory of their own."""
    return engine.EdgeVectorParams(
        dim,
        engine.Distance.Dot,  # the model decides about lengths; cosine would normalise its vectors
        on_disk=True,
        datatype=_datatype(schema),
        multivector_config=engine.MultiVectorConfig(engine.MultiVectorComparator.MaxSim),
        hnsw_config=engine.HnswIndexConfig(0, schema.hnsw_ef_construct, FULL_SCAN_KB),
    )


def _datatype(schema: CollectionSchema) -> engine.VectorStorageDatatype:
    kinds = engine.VectorStorageDatatype
    return kinds.Float16 if schema.datatype == "float16" else kinds.Float32


def _point(
    point_id: str,
    dense: Any,
    prefilter: Any,
    sparse: tuple[list[int], list[float]],
    late: Any,
    payload: Json,
) -> engine.Point:
    vectors = {DENSE: dense, BM25: engine.SparseVector(*sparse)}
    if prefilter is not None:
        vectors[PREFILTER] = prefilter
    if late is not None:
        vectors[LATE] = late
    return engine.Point(point_id, vectors, payload)


def _nearest(vector: Any, name: str) -> engine.Query:
    # Any: the engine takes numpy rows as they are, though its stubs speak of lists.
    return engine.Query.Nearest(vector, name)


def _only(fields: Sequence[str]) -> Any:
    return engine.PayloadSelector.Include(list(fields)) if fields else False


def _ranked(points: Sequence[Any], limit: int) -> list[Candidate]:
    """In the order of the port; tuples compare without a call of Python for each."""
    ordered = sorted([(-point.score, _text(point.id.int)) for point in points])
    return [Candidate(point_id, -minus) for minus, point_id in ordered[:limit]]


def _record(record: engine.Record) -> Record:
    point_id: Any = record.id  # a UUID: nothing else gets in
    vectors: Any = record.vector or {}
    sparse = vectors.get(BM25)
    return Record(
        id=_text(point_id.int),
        payload=record.payload or {},
        dense=_array(vectors.get(DENSE)),
        prefilter=_array(vectors.get(PREFILTER)),
        bm25=None
        if sparse is None
        else SparseVector(np.array(sparse.indices, np.uint32), np.array(sparse.values, np.float32)),
        late=_array(vectors.get(LATE)),
    )


def _array(vector: Any) -> Any:
    return None if vector is None else np.array(vector, np.float32)
