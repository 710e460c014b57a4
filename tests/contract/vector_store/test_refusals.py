"""What does not fit is refused, and changes nothing."""

import numpy as np
import pytest
from points import DIM, SHORT, make_points, point_id, sparse, unit
from vector_stores import fresh_name

from lockstep.errors import (
    DimensionMismatch,
    EncodingFailed,
    InvalidDocument,
    InvalidFilter,
    InvalidInput,
    SearchUnsupported,
)
from lockstep.store.port import CollectionSchema, DenseBranch, Json, Points, Prefilter, VectorStore


class TestRefusals:
    def test_dimensions_are_checked(self, store: VectorStore, collection: str) -> None:
        wrong = np.ones((1, DIM + 1), np.float32)
        short = unit(np.ones((1, SHORT)))
        payloads: list[Json] = [{"document_id": "a"}]
        with pytest.raises(DimensionMismatch, match="16 dimensions"):
            store.upsert(
                collection, Points([point_id(0)], wrong, short, [sparse((1, 1.0))], payloads)
            )
        with pytest.raises(DimensionMismatch, match="prefilter"):
            store.upsert(
                collection,
                Points([point_id(0)], wrong[:, :DIM], None, [sparse((1, 1.0))], payloads),
            )
        with pytest.raises(DimensionMismatch, match="16 dimensions"):
            store.search(collection, [DenseBranch(wrong[0], 3)])
        assert store.count(collection) == 0

    def test_a_nan_query_is_refused(self, store: VectorStore, collection: str) -> None:
        with pytest.raises(EncodingFailed, match="NaN"):
            store.search(collection, [DenseBranch(np.full(DIM, np.nan, np.float32), 3)])

    def test_a_collection_without_a_prefilter_says_so(self, store: VectorStore) -> None:
        name = fresh_name()
        store.create(name, CollectionSchema(dense_dim=DIM), {})
        branch = DenseBranch(
            unit(np.ones(DIM)), 3, prefilter=Prefilter(unit(np.ones(SHORT)), candidates=5)
        )
        with pytest.raises(SearchUnsupported, match="without a prefilter"):
            store.search(name, [branch])

    def test_a_point_id_is_a_uuid(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(1))
        named = Points(["one"], points.dense, points.prefilter, points.bm25, points.payloads)
        with pytest.raises(InvalidInput, match="'one' is not a UUID"):
            store.upsert(collection, named)

    def test_a_payload_is_json(self, store: VectorStore, collection: str) -> None:
        with pytest.raises(InvalidDocument, match="JSON"):
            store.upsert(collection, make_points(range(1), [{"weight": float("nan")}]))

    @pytest.mark.parametrize(
        "filter",
        [
            {"must": [{"key": "a[", "match": {"value": 1}}]},
            {"must": [{"key": "a", "match": {"value": 1.5}}]},
            {"must": [{"key": "a"}]},
            {"muss": []},
        ],
    )
    def test_a_bad_filter_is_refused_by_every_call(
        self, store: VectorStore, collection: str, filter: Json
    ) -> None:
        store.upsert(collection, make_points(range(2), [{"document_id": "x", "a": 1}] * 2))
        with pytest.raises(InvalidFilter):
            store.count(collection, filter)
        with pytest.raises(InvalidFilter):
            store.delete(collection, filter)
        with pytest.raises(InvalidFilter):
            store.search(collection, [DenseBranch(unit(np.ones(DIM)), 3)], filter)
        assert store.count(collection) == 2
