"""What the port speaks of, in the words of `qdrant_client`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qdrant_client import models

from lockstep.store.checks import TIE_MARGIN
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
    Points,
    Record,
    SparseVector,
)

# The engine's default of 100 costs recall; see docs/experiments.md.
MIN_HNSW_EF = 256


def vectors_config(
    schema: CollectionSchema, *, on_disk: bool = False
) -> dict[str, models.VectorParams]:
    vectors = {DENSE: _vector(schema, schema.dense_dim, on_disk, schema.quantization == "int8")}
    if schema.prefilter_dim is not None:
        vectors[PREFILTER] = _vector(schema, schema.prefilter_dim, on_disk, False)
    if schema.late_dim is not None:
        vectors[LATE] = _late(schema, schema.late_dim)
    return vectors


def sparse_vectors_config(*, on_disk: bool = False) -> dict[str, models.SparseVectorParams]:
    index = models.SparseIndexParams(on_disk=on_disk)
    return {BM25: models.SparseVectorParams(modifier=models.Modifier.IDF, index=index)}


def payload_indexes(schema: CollectionSchema) -> dict[str, models.PayloadSchemaType]:
    kinds = {DOCUMENT_ID: "keyword", **schema.payload_indexes}
    return {field: models.PayloadSchemaType(kind) for field, kind in kinds.items()}


def point_structs(points: Points) -> list[models.PointStruct]:
    prefilters = points.prefilter if points.prefilter is not None else [None] * len(points)
    late = points.late if points.late is not None else [None] * len(points)
    columns = (points.ids, points.dense, prefilters, points.bm25, late, points.payloads)
    rows = zip(*columns, strict=True)
    return [_point(*row) for row in rows]


def query_request(
    branch: Branch, filter: models.Filter | None, *, quantized: bool
) -> models.QueryRequest:
    fetched = branch.limit + TIE_MARGIN
    if isinstance(branch, DenseBranch):
        query: Any = branch.vector.tolist()
        using, params = branch.using, _params(fetched, quantized, exact=branch.exact)
    elif isinstance(branch, LateBranch):
        query, using, params = branch.vectors.tolist(), LATE, models.SearchParams(exact=True)
    else:
        query, using, params = _sparse(branch.vector), BM25, None
    return models.QueryRequest(
        query=query,
        using=using,
        prefetch=_prefetch(branch, filter, quantized=quantized),
        filter=filter,
        params=params,
        limit=fetched,
        with_payload=False,
    )


def ranked(points: Sequence[models.ScoredPoint], limit: int) -> list[Candidate]:
    candidates = [Candidate(str(point.id), point.score) for point in points]
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.id))
    return candidates[:limit]


def record(stored: models.Record) -> Record:
    vectors: Any = stored.vector if isinstance(stored.vector, dict) else {}
    sparse = vectors.get(BM25)
    return Record(
        id=str(stored.id),
        payload=stored.payload or {},
        dense=_array(vectors.get(DENSE)),
        prefilter=_array(vectors.get(PREFILTER)),
        bm25=None
        if sparse is None
        else SparseVector(np.array(sparse.indices, np.uint32), np.array(sparse.values, np.float32)),
        late=_array(vectors.get(LATE)),
    )


def _vector(
    schema: CollectionSchema, dim: int, on_disk: bool, quantized: bool
) -> models.VectorParams:
    return models.VectorParams(
        size=dim,
        distance=models.Distance.COSINE,
        datatype=_datatype(schema),
        on_disk=on_disk,
        hnsw_config=models.HnswConfigDiff(m=schema.hnsw_m, ef_construct=schema.hnsw_ef_construct),
        quantization_config=models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8, quantile=0.99, always_ram=True
            )
        )
        if quantized
        else None,
    )


def _late(schema: CollectionSchema, dim: int) -> models.VectorParams:
    """A search compares a few of them: no graph, and no memory of their own."""
    return models.VectorParams(
        size=dim,
        distance=models.Distance.DOT,  # the model decides about lengths; cosine would normalise
        datatype=_datatype(schema),
        on_disk=True,
        multivector_config=models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        ),
        hnsw_config=models.HnswConfigDiff(m=0),
    )


def _datatype(schema: CollectionSchema) -> models.Datatype:
    return models.Datatype.FLOAT16 if schema.datatype == "float16" else models.Datatype.FLOAT32


def _point(
    point_id: str, dense: Any, prefilter: Any, bm25: SparseVector, late: Any, payload: Json
) -> models.PointStruct:
    vectors: dict[str, Any] = {DENSE: dense.tolist(), BM25: _sparse(bm25)}
    if prefilter is not None:
        vectors[PREFILTER] = prefilter.tolist()
    if late is not None:
        vectors[LATE] = late.tolist()
    return models.PointStruct(id=point_id, vector=vectors, payload=payload)


def _sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _prefetch(
    branch: Branch, filter: models.Filter | None, *, quantized: bool
) -> models.Prefetch | None:
    if not isinstance(branch, DenseBranch) or branch.prefilter is None:
        return None
    prefilter = branch.prefilter
    return models.Prefetch(
        query=prefilter.vector.tolist(),
        using=PREFILTER,
        filter=filter,
        params=_params(prefilter.candidates, quantized, exact=branch.exact),
        limit=prefilter.candidates,
    )


def _params(fetched: int, quantized: bool, *, exact: bool) -> models.SearchParams:
    return models.SearchParams(
        hnsw_ef=max(MIN_HNSW_EF, 2 * fetched),
        exact=exact,
        quantization=models.QuantizationSearchParams(rescore=True) if quantized else None,
    )


def _array(vector: Any) -> Any:
    return None if vector is None else np.array(vector, np.float32)
