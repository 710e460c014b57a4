"""One suite over every engine: what the port promises, each adapter keeps.

Runs on the embedded engine, on the client's in-memory engine, on the stand-in for a server over
HTTP, and on a real server where LOCKSTEP_TEST_QDRANT_URL names one.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_qdrant import LIVE_GRPC_PORT, LIVE_URL
from numpy.typing import NDArray
from qdrant_client import QdrantClient
from qdrant_stand_in import StandIn, running_stand_in

from lockstep.errors import (
    CollectionExists,
    CollectionNotFound,
    Conflict,
    DimensionMismatch,
    EncodingFailed,
    InvalidDocument,
    InvalidFilter,
    InvalidInput,
    SearchUnsupported,
    StoreUnavailable,
)
from lockstep.store.edge import EdgeStore
from lockstep.store.payload_functions import Decay, PayloadFunction, Saturation
from lockstep.store.payload_indexes import PayloadType
from lockstep.store.port import (
    PREFILTER,
    Branch,
    Candidate,
    CollectionSchema,
    DenseBranch,
    Json,
    LateBranch,
    Points,
    Prefilter,
    SparseBranch,
    SparseVector,
    Vector,
    VectorStore,
    not_newer_than,
)
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

DIM, SHORT = 16, 4
SCHEMA = CollectionSchema(dense_dim=DIM, prefilter_dim=SHORT)
ENGINES = ["edge", "memory", "stand-in", *(["live"] if LIVE_URL else [])]


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with running_stand_in() as server:
        yield server


def open_store(engine: str, folder: Path, stand_in: StandIn) -> VectorStore:
    if engine == "edge":
        return EdgeStore(folder / "vectors")
    if engine == "memory":
        return QdrantStore(QdrantClient(":memory:"))
    if engine == "stand-in":
        return connect(ServerOptions(stand_in.url, grpc_port=0))
    return connect(ServerOptions(LIVE_URL, grpc_port=LIVE_GRPC_PORT))


@pytest.fixture(params=ENGINES)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, stand_in: StandIn
) -> Iterator[VectorStore]:
    opened = open_store(request.param, tmp_path, stand_in)
    yield opened
    remove_all(opened)
    opened.close()


@pytest.fixture
def collection(store: VectorStore) -> str:
    name = fresh_name()
    store.create(name, SCHEMA, {})
    return name


def fresh_name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def remove_all(store: VectorStore) -> None:
    try:
        names = [name for name in store.collections() if name.startswith("test-")]
    except StoreUnavailable:
        return  # a test closed it
    targets = store.aliases().values()
    for name in names:
        if name not in targets:
            store.drop(name)


def point_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def unit(matrix: NDArray[Any]) -> Vector:
    lengths = np.linalg.norm(matrix, axis=-1, keepdims=True)
    return np.asarray(matrix / lengths, np.float32)


def sparse(*weights: tuple[int, float]) -> SparseVector:
    indices, values = zip(*weights, strict=True) if weights else ((), ())
    return SparseVector(np.array(indices, np.uint32), np.array(values, np.float32))


def make_points(numbers: range, payloads: list[Json] | None = None, *, seed: int = 0) -> Points:
    rng = np.random.default_rng([seed, numbers.start])
    dense = unit(rng.normal(size=(len(numbers), DIM)))
    words = [np.unique(rng.integers(0, 40, 12)) for _ in numbers]
    return Points(
        ids=[point_id(number) for number in numbers],
        dense=dense,
        prefilter=unit(dense[:, :SHORT]),
        bm25=[sparse(*((int(w), float(rng.uniform(0.5, 2))) for w in each)) for each in words],
        payloads=payloads or [{"document_id": f"d{number}"} for number in numbers],
    )


def documents(store: VectorStore, name: str, filter: Json) -> set[str]:
    """The document ids that a filter matches, as a search sees them."""
    query = unit(np.ones(DIM))
    ranking = store.search(name, [DenseBranch(query, 1000, exact=True)], filter)[0]
    return set(document_ids(store, name, ranking))


def document_ids(store: VectorStore, name: str, ranking: list[Candidate]) -> list[str]:
    """The document ids of a ranking, in its order."""
    records = store.retrieve(name, [candidate.id for candidate in ranking])
    return [record.payload["document_id"] for record in records]


class TestCollections:
    def test_metadata_comes_back_as_it_was_given(self, store: VectorStore) -> None:
        name, metadata = fresh_name(), {"α": [1, 2.5, None, {"deep": "日本"}], "null": None}
        store.create(name, SCHEMA, metadata)
        assert store.collections()[name] == metadata

    def test_set_metadata_replaces_all_of_it(self, store: VectorStore) -> None:
        name = fresh_name()
        store.create(name, SCHEMA, {"old": 1, "both": {"a": 1}})
        store.set_metadata(name, {"new": 2, "both": {"b": 2}})
        assert store.collections()[name] == {"new": 2, "both": {"b": 2}}

    def test_a_caller_cannot_change_what_is_stored(self, store: VectorStore) -> None:
        name = fresh_name()
        store.create(name, SCHEMA, {"list": [1]})
        store.collections()[name]["list"].append(2)
        assert store.collections()[name] == {"list": [1]}

    def test_a_name_is_taken_once(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(3)))
        with pytest.raises(CollectionExists, match=collection):
            store.create(collection, SCHEMA, {})
        assert store.count(collection) == 3

    def test_drop_is_idempotent_and_frees_the_name(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        store.drop(collection)
        store.drop(collection)
        assert collection not in store.collections()
        store.create(collection, CollectionSchema(dense_dim=8), {})
        assert store.count(collection) == 0

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.count("test-absent"),
            lambda store: store.scroll("test-absent"),
            lambda store: store.retrieve("test-absent", [point_id(1)]),
            lambda store: store.upsert("test-absent", make_points(range(1))),
            lambda store: store.delete("test-absent", {}),
            lambda store: store.flush("test-absent"),
            lambda store: store.optimize("test-absent"),
            lambda store: store.set_metadata("test-absent", {}),
            lambda store: store.set_alias("live", "test-absent"),
            lambda store: store.search("test-absent", [DenseBranch(unit(np.ones(DIM)), 1)]),
            lambda store: store.facet("test-absent", "lang", limit=1),
            lambda store: store.evaluate("test-absent", [point_id(1)], [Saturation("n", 1.0)]),
        ],
    )
    def test_an_absent_collection_is_named(
        self, store: VectorStore, call: Callable[[VectorStore], object]
    ) -> None:
        with pytest.raises(CollectionNotFound, match="test-absent"):
            call(store)

    def test_a_released_collection_opens_again(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(5)))
        store.release(collection)
        store.release(collection)
        assert store.count(collection) == 5

    def test_a_closed_store_says_so(self, store: VectorStore, collection: str) -> None:
        store.drop(collection)
        store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            store.count(collection)


class TestAliases:
    def test_an_alias_is_overwritten_in_place(self, store: VectorStore) -> None:
        first, second, alias = fresh_name(), fresh_name(), fresh_name()
        store.create(first, SCHEMA, {})
        store.create(second, SCHEMA, {})
        store.set_alias(alias, first)
        assert store.aliases()[alias] == first
        store.set_alias(alias, second)
        assert store.aliases()[alias] == second

    def test_what_an_alias_names_cannot_be_dropped(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        store.set_alias("live-" + collection, collection)
        with pytest.raises(Conflict, match="live"):
            store.drop(collection)
        assert store.count(collection) == 3


class TestPoints:
    def test_upserting_twice_is_upserting_once(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(20))
        store.upsert(collection, points)
        store.upsert(collection, points)
        assert store.count(collection) == 20
        store.optimize(collection)
        store.upsert(collection, points)
        assert store.count(collection) == 20

    def test_an_upsert_replaces_vectors_and_payload(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        replaced = make_points(range(3), [{"document_id": "new"}] * 3, seed=9)
        store.upsert(collection, replaced)
        [record] = store.retrieve(collection, [point_id(1)], with_vectors=True)
        assert record.payload == {"document_id": "new"}
        assert record.dense == pytest.approx(replaced.dense[1], abs=1e-6)

    def test_an_empty_batch_changes_nothing(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(0)))
        assert store.count(collection) == 0

    def test_retrieve_keeps_the_order_and_leaves_out_the_absent(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(10)))
        asked = [point_id(number) for number in (7, 99, 2, 9)]
        found = store.retrieve(collection, asked)
        assert [record.id for record in found] == [asked[0], asked[2], asked[3]]
        assert all(record.dense is None and record.bm25 is None for record in found)

    def test_vectors_come_back(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(4))
        store.upsert(collection, points)
        for row, record in enumerate(store.retrieve(collection, points.ids, with_vectors=True)):
            assert record.dense == pytest.approx(points.dense[row], abs=1e-6)
            assert points.prefilter is not None
            assert record.prefilter == pytest.approx(points.prefilter[row], abs=1e-6)
            assert record.bm25 is not None
            assert record.bm25.indices.tolist() == points.bm25[row].indices.tolist()
            assert record.bm25.values == pytest.approx(points.bm25[row].values, abs=1e-6)

    def test_unicode_payloads_come_back(self, store: VectorStore, collection: str) -> None:
        payload = {"document_id": "文書/α β\n🙂", "metadata": {"ключ": ["é", None, 1.5, True]}}
        store.upsert(collection, make_points(range(1), [payload]))
        assert store.retrieve(collection, [point_id(0)])[0].payload == payload
        match = {"must": [{"key": "document_id", "match": {"value": "文書/α β\n🙂"}}]}
        assert documents(store, collection, match) == {"文書/α β\n🙂"}

    def test_a_passage_without_words_is_stored(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(1))
        wordless = Points(points.ids, points.dense, points.prefilter, [sparse()], points.payloads)
        store.upsert(collection, wordless)
        branches: list[Branch] = [
            SparseBranch(sparse((1, 1.0)), 5),
            DenseBranch(points.dense[0], 5),
        ]
        lexical, dense = store.search(collection, branches)
        assert lexical == []
        assert [candidate.id for candidate in dense] == [point_id(0)]

    def test_deleting_by_document_spares_the_ids_to_keep(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [{"document_id": "a"}] * 4 + [{"document_id": "b"}] * 2
        store.upsert(collection, make_points(range(6), payloads))
        stale = {
            "must": [{"key": "document_id", "match": {"value": "a"}}],
            "must_not": [{"has_id": [point_id(0), point_id(2)]}],
        }
        store.delete(collection, stale)
        left = {record.id for record in store.scroll(collection).records}
        assert left == {point_id(number) for number in (0, 2, 4, 5)}

    def test_a_delete_by_seq_spares_what_came_later(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [
            {"document_id": "a", "seq": 5},
            {"document_id": "a", "seq": 6},
            {"document_id": "a", "seq": 7},
            {"document_id": "a"},
        ]
        store.upsert(collection, make_points(range(4), payloads))
        of_a = {"key": "document_id", "match": {"value": "a"}}
        store.delete(collection, {"must": [of_a, not_newer_than(6)]})
        assert [record.payload for record in store.scroll(collection).records] == [payloads[2]]

    def test_an_upsert_by_seq_replaces_what_came_before(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [{"document_id": "old"}, {"document_id": "old", "seq": 4}]
        store.upsert(collection, make_points(range(2), payloads))
        changed = make_points(range(3), [{"document_id": "new", "seq": 5}] * 3, seed=1)
        store.upsert(collection, changed, keep_newer_than=5)
        store.upsert(collection, changed, keep_newer_than=5)
        for row, record in enumerate(store.retrieve(collection, changed.ids, with_vectors=True)):
            assert record.payload == {"document_id": "new", "seq": 5}
            assert record.dense == pytest.approx(changed.dense[row], abs=1e-6)

    def test_an_upsert_by_seq_leaves_what_came_later(
        self, store: VectorStore, collection: str
    ) -> None:
        if isinstance(store, EdgeStore):
            pytest.skip("one process has it open, so nothing later can have come from elsewhere")
        later = make_points(range(1), [{"document_id": "a", "seq": 6}])
        store.upsert(collection, later, keep_newer_than=6)
        late = make_points(range(2), [{"document_id": "a", "seq": 5}] * 2, seed=1)
        store.upsert(collection, late, keep_newer_than=5)
        first, second = store.retrieve(collection, late.ids, with_vectors=True)
        assert first.payload["seq"] == 6
        assert first.dense == pytest.approx(later.dense[0], abs=1e-6)
        assert second.payload["seq"] == 5

    def test_flush_and_optimize_keep_the_points(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(50)))
        store.flush(collection)
        store.optimize(collection)
        store.optimize(collection)
        assert store.count(collection) == 50


class TestScroll:
    @pytest.mark.parametrize("limit", [1, 7, 25, 26, 100])
    def test_pages_hold_every_point_once_in_order(
        self, store: VectorStore, collection: str, limit: int
    ) -> None:
        store.upsert(collection, make_points(range(25)))
        seen, start = [], None
        while True:
            page = store.scroll(collection, start_id=start, limit=limit)
            assert len(page.records) <= limit
            seen += [record.id for record in page.records]
            if (start := page.next_id) is None:
                break
        assert seen == sorted(point_id(number) for number in range(25))

    def test_fields_select_what_is_read(self, store: VectorStore, collection: str) -> None:
        payload = {"document_id": "a", "hash": "h", "metadata": {"n": 1}}
        store.upsert(collection, make_points(range(1), [payload]))

        def read(fields: list[str] | None) -> Json:
            return store.scroll(collection, fields=fields).records[0].payload

        assert read(None) == payload
        assert read(["hash", "document_id"]) == {"document_id": "a", "hash": "h"}
        assert read([]) == {}

    def test_an_empty_collection_has_one_empty_page(
        self, store: VectorStore, collection: str
    ) -> None:
        page = store.scroll(collection)
        assert page.records == []
        assert page.next_id is None


class TestSearch:
    def test_dense_order_is_the_order_of_the_dot_products(
        self, store: VectorStore, collection: str
    ) -> None:
        points = make_points(range(300))
        store.upsert(collection, points)
        query = unit(np.random.default_rng(5).normal(size=DIM))
        scores = points.dense @ query
        order = np.argsort(-scores)[:20]
        for exact in (True, False):
            [ranking] = store.search(collection, [DenseBranch(query, 20, exact=exact)])
            assert [candidate.id for candidate in ranking] == [points.ids[i] for i in order]
            assert [c.score for c in ranking] == pytest.approx(scores[order], abs=1e-5)
            assert document_ids(store, collection, ranking) == [f"d{i}" for i in order]

    def test_bm25_order_is_idf_weighted(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(120))
        store.upsert(collection, points)
        query = sparse((3, 1.0), (17, 1.0), (30, 1.0))
        [ranking] = store.search(collection, [SparseBranch(query, 25)])
        expected = bm25_oracle(points, query)[:25]
        assert [candidate.id for candidate in ranking] == [each[1] for each in expected]
        assert [c.score for c in ranking] == pytest.approx([-e[0] for e in expected], rel=1e-4)

    def test_optimize_takes_the_deleted_out_of_the_document_frequencies(
        self, store: VectorStore, collection: str
    ) -> None:
        points = make_points(range(120))
        store.upsert(collection, points)
        store.optimize(collection)
        gone = {"should": [field("document_id", match={"any": [f"d{i}" for i in range(60, 120)]})]}
        store.delete(collection, gone)
        store.optimize(collection)
        query = sparse((3, 1.0), (17, 1.0), (30, 1.0))
        [ranking] = store.search(collection, [SparseBranch(query, 25)])
        left = Points(
            points.ids[:60],
            points.dense[:60],
            None,
            points.bm25[:60],
            points.payloads[:60],
        )
        expected = bm25_oracle(left, query)[:25]
        assert [candidate.id for candidate in ranking] == [each[1] for each in expected]
        assert [c.score for c in ranking] == pytest.approx([-e[0] for e in expected], rel=1e-4)

    def test_a_prefilter_of_all_points_is_brute_force(
        self, store: VectorStore, collection: str
    ) -> None:
        points = make_points(range(200))
        store.upsert(collection, points)
        store.optimize(collection)
        query = unit(np.random.default_rng(6).normal(size=DIM))
        short = Prefilter(unit(query[:SHORT]), candidates=200)
        brute, rescored = store.search(
            collection,
            [DenseBranch(query, 10, exact=True), DenseBranch(query, 10, prefilter=short)],
        )
        assert [candidate.id for candidate in rescored] == [candidate.id for candidate in brute]

    def test_a_prefilter_keeps_to_its_candidates(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(200))
        store.upsert(collection, points)
        query = unit(np.random.default_rng(7).normal(size=DIM))
        short = unit(query[:SHORT])
        assert points.prefilter is not None
        nearest = np.argsort(-(points.prefilter @ short))[:12]
        by_full = nearest[np.argsort(-(points.dense[nearest] @ query))]
        [ranking] = store.search(
            collection, [DenseBranch(query, 20, prefilter=Prefilter(short, candidates=12))]
        )
        assert [candidate.id for candidate in ranking] == [points.ids[i] for i in by_full]

    def test_the_short_vector_ranks_by_itself(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(60))
        store.upsert(collection, points)
        assert points.prefilter is not None
        query = points.prefilter[8]
        [ranking] = store.search(collection, [DenseBranch(query, 5, using=PREFILTER)])
        order = np.argsort(-(points.prefilter @ query))[:5]
        assert [candidate.id for candidate in ranking] == [points.ids[i] for i in order]

    def test_equal_scores_are_in_id_order(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(12))
        same = Points(
            points.ids,
            np.repeat(points.dense[:1], 12, axis=0),
            np.repeat(unit(points.dense[:1, :SHORT]), 12, axis=0),
            [sparse((1, 1.0))] * 12,
            points.payloads,
        )
        store.upsert(collection, same)
        branches: list[Branch] = [
            DenseBranch(points.dense[0], 5),
            SparseBranch(sparse((1, 1.0)), 5),
        ]
        for ranking in store.search(collection, branches):
            assert [candidate.id for candidate in ranking] == sorted(points.ids)[:5]

    def test_a_filter_holds_for_every_branch(self, store: VectorStore, collection: str) -> None:
        payloads: list[Json] = [{"document_id": f"d{i}", "even": i % 2 == 0} for i in range(80)]
        points = make_points(range(80), payloads)
        store.upsert(collection, points)
        query = points.dense[3]
        rankings = store.search(
            collection,
            [
                DenseBranch(query, 80),
                DenseBranch(query, 80, prefilter=Prefilter(unit(query[:SHORT]), 80)),
                SparseBranch(points.bm25[3], 80),
            ],
            {"must": [{"key": "even", "match": {"value": True}}]},
        )
        even = {f"d{i}" for i in range(0, 80, 2)}
        assert all(set(document_ids(store, collection, r)) <= even for r in rankings)
        assert len(rankings[0]) == len(rankings[1]) == 40

    def test_a_prefilter_looks_for_its_candidates_among_what_passes(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [{"document_id": f"d{i}", "rare": i == 70} for i in range(80)]
        points = make_points(range(80), payloads)
        store.upsert(collection, points)
        branch = DenseBranch(points.dense[3], 5, prefilter=Prefilter(unit(np.ones(SHORT)), 5))
        rare = {"must": [{"key": "rare", "match": {"value": True}}]}
        [ranking] = store.search(collection, [branch], rare)
        assert document_ids(store, collection, ranking) == ["d70"]

    def test_no_branches_and_no_words_give_nothing(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        assert store.search(collection, []) == []
        assert store.search(collection, [SparseBranch(sparse(), 5)]) == [[]]
        assert store.search(collection, [SparseBranch(sparse((4000, 1.0)), 5)]) == [[]]


def bm25_oracle(points: Points, query: SparseVector) -> list[tuple[float, str]]:
    """(-score, id) of the points that share a word: sum of idf * query weight * point weight."""
    rows = [dict(zip(v.indices.tolist(), v.values.tolist(), strict=True)) for v in points.bm25]
    scored = []
    for point, row in zip(points.ids, rows, strict=True):
        score = 0.0
        for word, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True):
            having = sum(word in other for other in rows)
            idf = np.log((len(rows) - having + 0.5) / (having + 0.5) + 1)
            score += float(idf) * weight * row.get(word, 0.0)
        if score:
            scored.append((-score, point))
    return sorted(scored)


def test_threads_get_their_own_answers(store: VectorStore, collection: str) -> None:
    points = make_points(range(100))
    store.upsert(collection, points)

    def nearest(number: int) -> str:
        store.count(collection)
        [ranking] = store.search(collection, [DenseBranch(points.dense[number], 1)])
        return ranking[0].id

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(nearest, range(100))) == list(points.ids)


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


LIBRARY: dict[str, Json] = {
    "a": {
        "year": 1999,
        "score": 0.5,
        "lang": "en",
        "tags": ["x", "y"],
        "open": True,
        "when": "2020-01-01T00:00:00Z",
        "place": {"lon": 13.4, "lat": 52.5},
        "authors": [{"name": "Ada", "age": 30}, {"name": "Bob", "age": 50}],
    },
    "b": {
        "year": 2010,
        "score": -1.25,
        "lang": "de",
        "tags": ["y"],
        "open": False,
        "when": "2021-06-15T12:30:00+02:00",
        "place": {"lon": 2.35, "lat": 48.85},
        "authors": [{"name": "Ada", "age": 50}],
    },
    "c": {
        "year": 2020,
        "lang": "日本",
        "tags": [],
        "nothing": None,
        "when": "2022-12-31",
        "place": [{"lon": 139.7, "lat": 35.7}, {"lon": 13.3, "lat": 52.4}],
    },
    "d": {},
}


def field(key: str, **test: object) -> Json:
    return {"key": key, **test}


def lon_lat(lon: float, lat: float) -> Json:
    return {"lon": lon, "lat": lat}


FILTERS: list[tuple[str, Json, str]] = [
    ("nothing asked", {}, "abcd"),
    ("empty list", {"must": []}, "abcd"),
    ("value text", {"must": [field("lang", match={"value": "en"})]}, "a"),
    ("value unicode", {"must": [field("lang", match={"value": "日本"})]}, "c"),
    ("value number", {"must": [field("year", match={"value": 2010})]}, "b"),
    ("value true", {"must": [field("open", match={"value": True})]}, "a"),
    ("value false", {"must": [field("open", match={"value": False})]}, "b"),
    ("value in a list", {"must": [field("tags", match={"value": "x"})]}, "a"),
    ("one object", {"must": field("lang", match={"value": "de"})}, "b"),
    ("any texts", {"must": [field("lang", match={"any": ["en", "de"]})]}, "ab"),
    ("any numbers", {"must": [field("year", match={"any": [1999, 2020]})]}, "ac"),
    ("any of none", {"must": [field("lang", match={"any": []})]}, ""),
    ("except", {"must": [field("lang", match={"except": ["en"]})]}, "bc"),
    ("must not", {"must_not": [field("lang", match={"value": "en"})]}, "bcd"),
    ("must not, one object", {"must_not": field("lang", match={"value": "en"})}, "bcd"),
    (
        "should",
        {"should": [field("lang", match={"value": "en"}), field("year", range={"gte": 2020})]},
        "ac",
    ),
    (
        "min should",
        {
            "min_should": {
                "conditions": [
                    field("lang", match={"value": "en"}),
                    field("year", range={"lt": 2015}),
                    field("tags", match={"value": "y"}),
                ],
                "min_count": 2,
            }
        },
        "ab",
    ),
    ("range", {"must": [field("year", range={"gt": 1999, "lte": 2020})]}, "bc"),
    ("range of floats", {"must": [field("score", range={"lt": 0.0})]}, "b"),
    ("range of times", {"must": [field("when", range={"gte": "2021-01-01T00:00:00Z"})]}, "bc"),
    ("range of zones", {"must": [field("when", range={"lt": "2021-06-15T10:31:00Z"})]}, "ab"),
    (
        "range of days",
        {"must": [field("when", range={"gt": "2020-01-01", "lt": "2022-01-01"})]},
        "b",
    ),
    ("open range", {"must": [field("year", range={"gte": 2010, "lt": None})]}, "bc"),
    (
        "geo radius",
        {"must": [field("place", geo_radius={"center": lon_lat(13.4, 52.5), "radius": 20000})]},
        "ac",
    ),
    (
        "geo box",
        {
            "must": [
                field(
                    "place",
                    geo_bounding_box={
                        "top_left": lon_lat(2.0, 49.0),
                        "bottom_right": lon_lat(3.0, 48.0),
                    },
                )
            ]
        },
        "b",
    ),
    (
        "geo polygon",
        {
            "must": [
                field(
                    "place",
                    geo_polygon={
                        "exterior": {
                            "points": [
                                lon_lat(13, 52),
                                lon_lat(14, 52),
                                lon_lat(14, 53),
                                lon_lat(13, 53),
                                lon_lat(13, 52),
                            ]
                        }
                    },
                )
            ]
        },
        "ac",
    ),
    ("values count", {"must": [field("tags", values_count={"gte": 1})]}, "ab"),
    ("is empty", {"must": [{"is_empty": {"key": "tags"}}]}, "cd"),
    ("is null", {"must": [{"is_null": {"key": "nothing"}}]}, "c"),
    ("is empty, as a test", {"must": [field("tags", is_empty=True)]}, "cd"),
    ("is not empty", {"must": [field("tags", is_empty=False)]}, "ab"),
    ("has id", {"must": [{"has_id": [point_id(0), point_id(3)]}]}, "ad"),
    ("has id of none", {"must": [{"has_id": []}]}, ""),
    ("has not id", {"must_not": [{"has_id": [point_id(0)]}]}, "bcd"),
    ("has vector", {"must": [{"has_vector": "dense"}]}, "abcd"),
    (
        "nested: one element has both",
        {
            "must": [
                {
                    "nested": {
                        "key": "authors",
                        "filter": {
                            "must": [
                                field("name", match={"value": "Ada"}),
                                field("age", range={"gte": 50}),
                            ]
                        },
                    }
                }
            ]
        },
        "b",
    ),
    (
        "not nested: any element has each",
        {
            "must": [
                field("authors[].name", match={"value": "Ada"}),
                field("authors[].age", range={"gte": 50}),
            ]
        },
        "ab",
    ),
    (
        "filters in filters",
        {
            "must": [
                {"should": [field("year", match={"value": 1999}), {"is_empty": {"key": "year"}}]},
                {"must_not": [field("lang", match={"value": "en"})]},
            ]
        },
        "d",
    ),
    ("a deep key", {"must": [field("place.lat", range={"gt": 50})]}, "a"),
]


@pytest.fixture(scope="module", params=ENGINES)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[tuple[VectorStore, str]]:
    store = open_store(request.param, tmp_path_factory.mktemp("library"), stand_in)
    name = fresh_name()
    store.create(name, SCHEMA, {})
    payloads = [{"document_id": document_id, **each} for document_id, each in LIBRARY.items()]
    store.upsert(name, make_points(range(len(payloads)), payloads))
    yield store, name
    store.drop(name)
    store.close()


@pytest.mark.parametrize(
    ("filter", "expected"), [each[1:] for each in FILTERS], ids=[f[0] for f in FILTERS]
)
def test_filters(library: tuple[VectorStore, str], filter: Json, expected: str) -> None:
    store, name = library
    assert documents(store, name, filter) == set(expected)
    assert store.count(name, filter) == len(expected)


SHELF_SCHEMA = CollectionSchema(
    dense_dim=DIM,
    prefilter_dim=SHORT,
    payload_indexes={
        "metadata.lang": "keyword",
        "metadata.year": "integer",
        "metadata.open": "bool",
        "metadata.uid": "uuid",
        "metadata.price": "float",
        "metadata.when": "datetime",
        "metadata.blurb": "text",
        'metadata."in print"': "keyword",
        "metadata.言語": "keyword",
        "metadata.authors[].name": "keyword",
    },
)
UID = str(uuid.UUID(int=7))
SHELF: list[Json] = [
    {"lang": "en", "year": 2000, "open": True, "uid": UID, "in print": "yes", "言語": "英"},
    {"lang": "de", "year": 2000, "open": False, "uid": UID, "blurb": "red"},
    {"lang": ["en", "fr", "en"], "year": [2000, 1990], "open": True},
    {"lang": "fr", "authors": [{"name": "Ada"}, {"name": "Bob"}, {"name": "Ada"}]},
    {"lang": None, "year": None, "authors": [{"name": "Ada"}]},
    {},
]
# What no index of its type holds; the in-memory engine has no indexes.
MISPLACED: list[Json] = [{"lang": 5, "year": "2000", "open": "yes", "uid": "x"}, {"lang": True}]


@pytest.fixture(scope="module", params=ENGINES)
def shelf(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[tuple[VectorStore, str]]:
    store = open_store(request.param, tmp_path_factory.mktemp("shelf"), stand_in)
    name = fresh_name()
    store.create(name, SHELF_SCHEMA, {})
    rows = [*SHELF, *(MISPLACED if isinstance(store, EdgeStore) else [])]
    payloads: list[Json] = [{"document_id": f"d{n}", "metadata": row} for n, row in enumerate(rows)]
    store.upsert(name, make_points(range(len(rows)), payloads))
    yield store, name
    store.drop(name)
    store.close()


FACETS: list[tuple[str, list[tuple[object, int]]]] = [
    ("metadata.lang", [("en", 2), ("fr", 2), ("de", 1)]),
    ("metadata.year", [(2000, 3), (1990, 1)]),
    ("metadata.open", [(True, 2), (False, 1)]),
    ("metadata.uid", [(UID, 2)]),
    ('metadata."in print"', [("yes", 1)]),
    ("metadata.言語", [("英", 1)]),
    ("metadata.authors[].name", [("Ada", 2), ("Bob", 1)]),
]


class TestFacets:
    @pytest.mark.parametrize(("field", "expected"), FACETS, ids=[each[0] for each in FACETS])
    def test_values_are_counted_once_per_point(
        self, shelf: tuple[VectorStore, str], field: str, expected: list[tuple[object, int]]
    ) -> None:
        store, name = shelf
        found = [(each.value, each.count) for each in store.facet(name, field, limit=10)]
        assert found == expected
        assert [type(value) for value, _ in found] == [type(value) for value, _ in expected]
        limited = store.facet(name, field, limit=1)
        assert [(each.value, each.count) for each in limited] == expected[:1]

    def test_a_filter_decides_what_is_counted(self, shelf: tuple[VectorStore, str]) -> None:
        store, name = shelf
        open_ones = {"must": [{"key": "metadata.open", "match": {"value": True}}]}
        found = store.facet(name, "metadata.lang", limit=10, filter=open_ones)
        assert [(each.value, each.count) for each in found] == [("en", 2), ("fr", 1)]
        none = {"must": [{"key": "metadata.lang", "match": {"value": "xx"}}]}
        assert store.facet(name, "metadata.lang", limit=10, filter=none) == []
        with pytest.raises(InvalidFilter):
            store.facet(name, "metadata.lang", limit=10, filter={"muss": []})

    @pytest.mark.parametrize(
        ("field", "says"),
        [
            ("metadata.none", "no payload index"),
            ("metadata.price", "an index of type float"),
            ("metadata.when", "an index of type datetime"),
            ("metadata.blurb", "an index of type text"),
            ("metadata.lang]", "no payload index"),
        ],
    )
    def test_what_cannot_be_counted_is_said(
        self, shelf: tuple[VectorStore, str], field: str, says: str
    ) -> None:
        store, name = shelf
        with pytest.raises(SearchUnsupported, match=says):
            store.facet(name, field, limit=10)

    def test_many_values_are_counted_exactly_wherever_they_are_stored(
        self, store: VectorStore
    ) -> None:
        """Of equal counts the first values; counts add up over what is optimised and what not."""
        name = fresh_name()
        schema = CollectionSchema(DIM, SHORT, payload_indexes={"metadata.n": "keyword"})
        store.create(name, schema, {})
        rows: list[Json] = [{"metadata": {"n": f"v{n * n % 101:03}"}} for n in range(300)]
        store.upsert(name, make_points(range(200), rows[:200]))
        store.optimize(name)
        store.upsert(name, make_points(range(200, 300), rows[200:]))
        counted = Counter(row["metadata"]["n"] for row in rows)
        expected = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
        for limit in (1, 7, 30, 100):
            found = [
                (each.value, each.count) for each in store.facet(name, "metadata.n", limit=limit)
            ]
            assert found == expected[:limit]


NOW = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
# A metadata field's value, and the shares of Decay(30 days) and Saturation(10); None: left out.
VALUES: list[tuple[object, float | None, float | None]] = [
    ("2026-01-02T00:00:00Z", 0.5, None),
    ("2026-01-02", 0.5, None),
    ("2026-01-02T02:00:00+02:00", 0.5, None),
    (["2026-01-02"], 0.5, None),
    ("2025-12-03 00:00:00", 0.25, None),
    ("2099-01-01", 1.0, None),
    ("0001-01-01", 0.0, None),
    ("9999-12-31T23:59:59Z", 1.0, None),
    (["2026-01-02", "2026-01-03"], None, None),
    ("2026-13-01", None, None),
    ("soon", None, None),
    ("", None, None),
    (10, None, 0.5),
    (10.0, None, 0.5),
    ([30], None, 0.75),
    (0, None, 0.0),
    (-10, None, 0.0),
    (-1e308, None, 0.0),
    (1e308, None, 1.0),
    (5e-324, None, 0.0),
    (2**63 - 1, None, 1.0),
    (2**64 - 1, None, 1.0),
    ([1, 2], None, None),
    ([1, "x"], None, None),
    ([[1]], None, None),
    ("10", None, None),
    (True, None, None),
    (None, None, None),
    ([], None, None),
    ({"a": 1}, None, None),
]


@pytest.fixture(scope="module", params=ENGINES)
def valued(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[tuple[VectorStore, str]]:
    """Point n holds VALUES[n], in a field without an index and in indexed ones."""
    store = open_store(request.param, tmp_path_factory.mktemp("valued"), stand_in)
    name = fresh_name()
    indexes: dict[str, PayloadType] = {"m.when": "datetime", "m.count": "float"}
    store.create(name, CollectionSchema(DIM, SHORT, payload_indexes=indexes), {})
    payloads: list[Json] = [
        {"m": dict.fromkeys(("plain", "when", "count"), value)} for value, *_ in VALUES
    ]
    payloads.append({})
    store.upsert(name, make_points(range(len(payloads)), payloads))
    yield store, name
    store.drop(name)
    store.close()


class TestFunctions:
    @pytest.mark.parametrize("field", ["m.plain", "m.when"])
    def test_a_decay_halves_with_age(self, valued: tuple[VectorStore, str], field: str) -> None:
        store, name = valued
        self._agree(store, name, Decay(field, 30 * DAY, NOW), [decay for _, decay, _ in VALUES])

    @pytest.mark.parametrize("field", ["m.plain", "m.count"])
    def test_a_saturation_is_half_at_its_midpoint(
        self, valued: tuple[VectorStore, str], field: str
    ) -> None:
        store, name = valued
        self._agree(store, name, Saturation(field, 10.0), [share for *_, share in VALUES])

    def test_several_are_evaluated_at_once_and_the_same_each_time(
        self, valued: tuple[VectorStore, str]
    ) -> None:
        store, name = valued
        functions: list[PayloadFunction] = [
            Saturation("m.plain", 10.0),
            Decay("m.plain", DAY, NOW),
            Decay("m.x", 1.0, 0.0),
        ]
        ids = [point_id(number) for number in range(len(VALUES) + 1)]
        first = store.evaluate(name, ids, functions)
        assert [bool(each) for each in first] == [True, True, False]
        assert all(store.evaluate(name, ids[::-1], functions) == first for _ in range(5))
        assert store.evaluate(name, [], functions) == [{}, {}, {}]
        assert store.evaluate(name, ids, []) == []
        assert store.evaluate(name, ids[:1], functions)[1].keys() == {ids[0]}

    def test_the_longest_and_the_shortest_half_life_are_computed(
        self, valued: tuple[VectorStore, str]
    ) -> None:
        store, name = valued
        shortest, longest = store.evaluate(
            name, [point_id(0)], [Decay("m.plain", 60.0, NOW), Decay("m.plain", 1e10, NOW)]
        )
        assert shortest == {point_id(0): 0.0}
        assert longest[point_id(0)] == pytest.approx(0.99982, abs=1e-5)

    def test_an_id_is_a_uuid(self, valued: tuple[VectorStore, str]) -> None:
        store, name = valued
        with pytest.raises(InvalidInput, match="'one' is not a UUID"):
            store.evaluate(name, ["one"], [Saturation("m.plain", 1.0)])

    def _agree(
        self,
        store: VectorStore,
        name: str,
        function: PayloadFunction,
        expected: list[float | None],
    ) -> None:
        ids = [point_id(number) for number in range(len(VALUES) + 1)]
        [found] = store.evaluate(name, [*ids, point_id(999)], [function])
        for (value, *_), each, share in zip(VALUES, ids, expected, strict=False):
            assert found.get(each) == pytest.approx(share, abs=1e-6), value
        assert ids[-1] not in found


LATE_DIM = 8


def late_points(numbers: range, *, seed: int = 0) -> Points:
    """Points of one to seven tokens, whose vectors are of any length."""
    rng = np.random.default_rng([seed, 7, numbers.start])
    tokens = [rng.normal(size=(1 + number % 7, LATE_DIM)).astype(np.float32) for number in numbers]
    return replace(make_points(numbers, seed=seed), late=tokens)


def max_sim(query: Vector, tokens: Vector) -> float:
    return float((query @ tokens.T).max(axis=1).sum())


class TestLateInteraction:
    @pytest.fixture
    def collection(self, store: VectorStore) -> str:
        name = fresh_name()
        store.create(name, replace(SCHEMA, late_dim=LATE_DIM, datatype="float16"), {})
        return name

    def test_max_sim_ranks_the_points_of_a_filter(
        self, store: VectorStore, collection: str
    ) -> None:
        points = late_points(range(40))
        assert points.late is not None
        store.upsert(collection, points)
        store.optimize(collection)
        query = np.random.default_rng(3).normal(size=(5, LATE_DIM)).astype(np.float32)
        chosen = {"must": [{"has_id": list(points.ids[10:30])}]}
        [ranking] = store.search(collection, [LateBranch(query, 20)], chosen)
        scores = {points.ids[row]: max_sim(query, points.late[row]) for row in range(10, 30)}
        assert {each.id: each.score for each in ranking} == pytest.approx(scores, abs=2e-2)
        assert ranking == sorted(ranking, key=lambda each: (-each.score, each.id))
        again = store.search(collection, [LateBranch(query, 20)], chosen)
        assert again == [ranking]

    def test_vectors_of_tokens_come_back_where_they_are_asked_for(
        self, store: VectorStore, collection: str
    ) -> None:
        points = late_points(range(9))
        assert points.late is not None
        store.upsert(collection, points)
        without = store.retrieve(collection, points.ids, with_vectors=True)
        assert all(each.late is None and each.dense is not None for each in without)
        alone = store.retrieve(collection, points.ids, with_late=True)
        for row, each in enumerate(alone):
            assert each.dense is None
            assert each.late is not None
            assert each.late == pytest.approx(points.late[row], rel=1e-3)  # its length too

    def test_a_changed_passage_has_other_tokens(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, late_points(range(7)))
        longer = late_points(range(3, 6), seed=5)
        assert longer.late is not None
        store.upsert(collection, replace(longer, ids=[point_id(n) for n in range(3)]))
        store.optimize(collection)
        for row, each in enumerate(
            store.retrieve(collection, [point_id(n) for n in range(3)], with_late=True)
        ):
            assert each.late is not None
            assert len(each.late) == len(longer.late[row])

    def test_points_that_do_not_fit_are_refused(self, store: VectorStore, collection: str) -> None:
        points = late_points(range(2))
        with pytest.raises(DimensionMismatch, match="the points have none"):
            store.upsert(collection, make_points(range(2)))
        wide = [np.ones((2, LATE_DIM + 1), np.float32)] * 2
        with pytest.raises(DimensionMismatch, match="late vectors of 8 dimensions"):
            store.upsert(collection, replace(points, late=wide))
        empty = [np.ones((0, LATE_DIM), np.float32)] * 2
        with pytest.raises(EncodingFailed, match="no vectors of tokens"):
            store.upsert(collection, replace(points, late=empty))
        assert store.count(collection) == 0

    def test_queries_that_do_not_fit_are_refused(self, store: VectorStore, collection: str) -> None:
        with pytest.raises(DimensionMismatch):
            store.search(collection, [LateBranch(np.ones((2, 3), np.float32), 5)])
        for query in (np.ones((0, LATE_DIM)), np.full((1, LATE_DIM), np.nan)):
            with pytest.raises(EncodingFailed):
                store.search(collection, [LateBranch(query.astype(np.float32), 5)])

    def test_a_collection_without_them_says_so(self, store: VectorStore) -> None:
        name = fresh_name()
        store.create(name, SCHEMA, {})
        with pytest.raises(DimensionMismatch, match="no place for"):
            store.upsert(name, late_points(range(2)))
        with pytest.raises(SearchUnsupported, match="no vectors of tokens"):
            store.search(name, [LateBranch(np.ones((2, LATE_DIM), np.float32), 5)])
        assert store.retrieve(name, [point_id(1)], with_late=True) == []


def test_token_vectors_hold_no_nan() -> None:
    with pytest.raises(ValueError, match="late vectors hold NaN"):
        replace(make_points(range(1)), late=[np.full((2, LATE_DIM), np.nan, np.float32)])


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[list[VectorStore]]:
    stores = [open_store(engine, tmp_path_factory.mktemp(engine), stand_in) for engine in ENGINES]
    yield stores
    for store in stores:
        remove_all(store)
        store.close()


numbers = st.integers(0, 11)
operations = st.one_of(
    st.tuples(st.just("upsert"), numbers, st.integers(1, 6)),
    st.tuples(st.just("delete"), numbers, st.integers(0, 3)),
    st.tuples(st.just("optimize"), st.just(0), st.just(0)),
)


@settings(max_examples=15)
@given(script=st.lists(operations, min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_the_same_operations_give_the_same_rankings(
    pair: list[VectorStore], script: list[tuple[str, int, int]], seed: int
) -> None:
    """Congruence: every engine ends with the same points and ranks them the same."""
    name = fresh_name()
    for store in pair:
        store.create(name, SCHEMA, {})
        for step, (operation, start, size) in enumerate(script):
            run(store, name, operation, start, size, seed=seed + step)
    query = make_points(range(1), seed=seed + 99)
    short = Prefilter(unit(query.dense[0, :SHORT]), 4)
    branches: list[Branch] = [
        DenseBranch(query.dense[0], 8),
        DenseBranch(query.dense[0], 8, prefilter=short),
    ]
    # The real engine counts deleted points in its document frequencies, the in-memory one does not.
    if all(operation == "upsert" for operation, _, _ in script):
        branches.append(SparseBranch(query.bm25[0], 8))
    first, *others = [
        (store.count(name), store.scroll(name).records, store.search(name, branches))
        for store in pair
    ]
    for other in others:
        assert other[:2] == first[:2]
        for mine, theirs in zip(first[2], other[2], strict=True):
            assert [c.id for c in mine] == [c.id for c in theirs]
            assert [c.score for c in mine] == pytest.approx([c.score for c in theirs], abs=1e-4)
    for store in pair:
        store.drop(name)


def run(store: VectorStore, name: str, operation: str, start: int, size: int, *, seed: int) -> None:
    if operation == "upsert":
        store.upsert(name, make_points(range(start, start + size), seed=seed))
    elif operation == "delete":
        kept = [point_id(number) for number in range(size)]
        match = field("document_id", match={"any": [f"d{start}", f"d{start + 1}", "d0"]})
        store.delete(name, {"must": [match], "must_not": [{"has_id": kept}]})
    else:
        store.optimize(name)
