"""Rankings: by dense vectors, by BM25, through a prefilter, under a filter."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from points import DIM, SHORT, document_ids, field, make_points, sparse, unit

from lockstep.store.port import (
    PREFILTER,
    Branch,
    DenseBranch,
    Json,
    Points,
    Prefilter,
    SparseBranch,
    SparseVector,
    VectorStore,
)


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
