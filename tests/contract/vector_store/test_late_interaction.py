"""Vectors of tokens: stored beside the points, and ranked by MaxSim."""

from dataclasses import replace

import numpy as np
import pytest
from points import SCHEMA, make_points, point_id
from vector_stores import fresh_name

from lockstep.errors import DimensionMismatch, EncodingFailed, SearchUnsupported
from lockstep.store.port import LateBranch, Points, Vector, VectorStore

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
