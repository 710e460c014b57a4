"""The fusion methods, by figures computed by hand and by properties that each must have."""

import math
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_edge import (
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    Fusion,
    Point,
    Prefetch,
    Query,
    QueryRequest,
    SparseVector,
    UpdateOperation,
)

from lockstep.search.fusion import (
    Ranked,
    Rankings,
    convex_combination,
    distribution_based_fusion,
    reciprocal_rank_fusion,
    single_ranking,
)
from lockstep.store.port import Candidate

DEPTH = 5
EQUAL = {"dense": 1.0, "lexical": 1.0}
MINIMA = {"dense": -1.0, "lexical": 0.0}
Method = Callable[[Rankings, Mapping[str, float]], list[Ranked]]
METHODS: dict[str, Method] = {
    "rrf": lambda rankings, weights: reciprocal_rank_fusion(rankings, weights, k=60),
    "dbsf": distribution_based_fusion,
    "convex": lambda rankings, weights: convex_combination(
        rankings, weights, minima=MINIMA, depth=DEPTH
    ),
}
each_method = pytest.mark.parametrize("fuse", METHODS.values(), ids=METHODS)


def ranking(*ids: str) -> list[Candidate]:
    return [Candidate(i, 1.0 / n) for n, i in enumerate(ids, start=1)]


def scored(**scores: float) -> list[Candidate]:
    found = [Candidate(i, score) for i, score in scores.items()]
    return sorted(found, key=lambda candidate: (-candidate.score, candidate.id))


def by_id(fused: Sequence[Ranked]) -> dict[str, float]:
    return {ranked.id: ranked.score for ranked in fused}


_SCORES = st.floats(0, 40, width=32)
_RANKINGS = st.fixed_dictionaries(
    {
        name: st.dictionaries(st.sampled_from("abcdefgh"), scores, max_size=DEPTH).map(
            lambda found: scored(**found)
        )
        for name, scores in {"dense": st.floats(-1, 1, width=32), "lexical": _SCORES}.items()
    }
)
_WEIGHTS = st.fixed_dictionaries(
    {"dense": st.floats(0.01, 1_000), "lexical": st.floats(0.01, 1_000)}
)


def test_rrf_adds_reciprocal_ranks() -> None:
    fused = reciprocal_rank_fusion(
        {"dense": ranking("a", "b"), "lexical": ranking("b", "c")}, EQUAL, k=60
    )
    assert [r.id for r in fused] == ["b", "a", "c"]
    assert [r.score for r in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])
    assert fused[0].places["dense"].rank == 2
    assert fused[0].places["lexical"].rank == 1
    assert set(fused[1].places) == {"dense"}


def test_dbsf_lays_three_deviations_to_each_side_of_the_mean() -> None:
    # Mean 2, deviation of the sample 1: 2 becomes .5 and each 1 of score a sixth.
    rankings = {"dense": scored(a=3.0, b=2.0, c=1.0), "lexical": scored(d=7.0)}
    fused = by_id(distribution_based_fusion(rankings, {"dense": 1.0, "lexical": 2.0}))
    assert fused == pytest.approx({"a": 2 / 3, "b": 1 / 2, "c": 1 / 3, "d": 2 * 1 / 2})


def test_dbsf_cannot_tell_equal_scores_apart() -> None:
    fused = distribution_based_fusion({"dense": scored(b=4.0, a=4.0, c=4.0)}, EQUAL)
    assert [(r.id, r.score) for r in fused] == [("a", 0.5), ("b", 0.5), ("c", 0.5)]


def test_dbsf_agrees_with_the_engine(tmp_path: Path) -> None:
    ids = [str(uuid.UUID(int=n + 1)) for n in range(8)]
    terms = np.random.default_rng(3).uniform(1, 9, (2, 8))
    shard = EdgeShard.create(
        str(tmp_path),
        EdgeConfig(sparse_vectors={name: EdgeSparseVectorParams() for name in EQUAL}),
    )
    shard.update(
        UpdateOperation.upsert_points(
            [
                Point(i, {"dense": SparseVector([0], [d]), "lexical": SparseVector([0], [x])}, None)
                for i, d, x in zip(ids, *terms.tolist(), strict=True)
            ]
        )
    )
    prefetches = [
        Prefetch(5, Query.Nearest(SparseVector([0], [1.0]), name)) for name in ("dense", "lexical")
    ]
    dbsf: Any = Fusion.Dbsf()
    query = QueryRequest(8, query=dbsf, prefetches=prefetches, with_payload=False)
    theirs = {str(point.id): point.score for point in shard.query(query)}
    shard.close()
    rankings = {
        name: scored(**dict(zip(ids, row.tolist(), strict=True)))[:5]
        for name, row in zip(("dense", "lexical"), terms.astype(np.float32), strict=True)
    }
    assert by_id(distribution_based_fusion(rankings, EQUAL)) == pytest.approx(theirs, abs=1e-5)


def test_convex_scales_from_the_least_possible_to_the_best() -> None:
    # Dense: .6 is the best and -1 the least, so .2 becomes 1.2 / 1.6.
    rankings = {"dense": scored(a=0.6, b=0.2), "lexical": scored(b=8.0, c=2.0)}
    fused = convex_combination(rankings, {"dense": 3.0, "lexical": 1.0}, minima=MINIMA, depth=10)
    assert [r.id for r in fused] == ["b", "a", "c"]
    assert [r.score for r in fused] == pytest.approx([0.75 * 0.75 + 0.25, 0.75, 0.25 * 0.25])


def test_convex_takes_what_a_full_ranking_does_not_hold_for_less_than_its_last() -> None:
    rankings = {"dense": scored(a=0.6, b=0.2), "lexical": scored(c=8.0)}
    fused = convex_combination(rankings, EQUAL, minima=MINIMA, depth=2)
    missing = {r.id: r.places for r in fused}["c"]["dense"]
    assert (missing.rank, missing.score) == (None, None)
    assert missing.normalised == pytest.approx(0.75 - 0.25 / 4)
    # BM25 had one place to spare: no other candidate has a term of the query.
    assert {r.id: r.places for r in fused}["a"]["lexical"].normalised == 0


@pytest.mark.parametrize("least", [[-1.0], [-1.0, -1.0000001]])
def test_convex_takes_a_ranking_that_says_nothing(least: list[float]) -> None:
    found = [Candidate(str(n), score) for n, score in enumerate(least)]
    fused = convex_combination({"dense": found}, EQUAL, minima=MINIMA, depth=1)
    assert [r.score for r in fused] == [0.0] * len(least)


def test_convex_takes_a_cosine_rounded_below_the_least_for_the_least() -> None:
    found = [Candidate("a", 0.5), Candidate("b", -1.0000001)]
    fused = convex_combination({"dense": found}, EQUAL, minima=MINIMA, depth=10)
    assert [r.score for r in fused] == [0.5, 0.0]


def test_convex_gives_what_was_found_the_same_at_every_depth() -> None:
    """So the pages of an answer that takes deeper rankings keep the scores of the first."""
    deep = {"dense": scored(a=0.9, b=0.7, c=0.4), "lexical": scored(a=9.0, b=4.0, c=3.0)}
    first = {name: found[:2] for name, found in deep.items()}
    shallow = by_id(convex_combination(first, EQUAL, minima=MINIMA, depth=2))
    assert by_id(convex_combination(deep, EQUAL, minima=MINIMA, depth=3)).items() > shallow.items()


@each_method
def test_weights_scale_a_ranking(fuse: Method) -> None:
    rankings = {"dense": scored(a=0.5), "lexical": scored(b=5.0)}
    fused = fuse(rankings, {"dense": 1.0, "lexical": 3.0})
    assert [r.id for r in fused] == ["b", "a"]
    assert fused[0].score == pytest.approx(3 * fused[1].score)


@each_method
def test_no_ranking_gives_nothing(fuse: Method) -> None:
    assert fuse({}, EQUAL) == fuse({"dense": [], "lexical": []}, EQUAL) == []


@each_method
@given(rankings=_RANKINGS, weights=_WEIGHTS, shuffler=st.randoms(use_true_random=False))
def test_the_order_of_the_rankings_does_not_matter(
    fuse: Method,
    rankings: dict[str, list[Candidate]],
    weights: dict[str, float],
    shuffler: random.Random,
) -> None:
    names = [*rankings, "third"]
    rankings, weights = {**rankings, "third": rankings["lexical"][1:]}, {**weights, "third": 0.7}
    expected = _fuse_any(fuse, rankings, weights)
    shuffler.shuffle(names)
    again = _fuse_any(fuse, {name: rankings[name] for name in names}, weights)
    assert [(r.id, r.score) for r in again] == [(r.id, r.score) for r in expected]


def _fuse_any(fuse: Method, rankings: Rankings, weights: Mapping[str, float]) -> list[Ranked]:
    if fuse is METHODS["convex"]:
        minima = {**MINIMA, "third": 0.0}
        return convex_combination(rankings, weights, minima=minima, depth=DEPTH)
    return fuse(rankings, weights)


@each_method
@given(rankings=_RANKINGS, weights=_WEIGHTS)
def test_the_answer_is_every_candidate_by_score_then_id(
    fuse: Method, rankings: dict[str, list[Candidate]], weights: dict[str, float]
) -> None:
    fused = fuse(rankings, weights)
    ids = [ranked.id for ranked in fused]
    assert len(ids) == len(set(ids))
    assert set(ids) == {c.id for found in rankings.values() for c in found}
    assert all(math.isfinite(ranked.score) for ranked in fused)
    assert fused == sorted(fused, key=lambda ranked: (-ranked.score, ranked.id))


@each_method
@given(rankings=_RANKINGS, weights=_WEIGHTS)
def test_a_score_is_the_sum_of_what_its_places_add(
    fuse: Method, rankings: dict[str, list[Candidate]], weights: dict[str, float]
) -> None:
    for ranked in fuse(rankings, weights):
        added = math.fsum(place.contribution for place in ranked.places.values())
        assert ranked.score == added
        for name, place in ranked.places.items():
            if place.rank is not None:
                candidate = rankings[name][place.rank - 1]
                assert (candidate.id, candidate.score) == (ranked.id, place.score)


@each_method
@given(rankings=_RANKINGS, weights=_WEIGHTS)
def test_no_candidate_stands_above_one_that_every_ranking_puts_higher(
    fuse: Method, rankings: dict[str, list[Candidate]], weights: dict[str, float]
) -> None:
    fused = fuse(rankings, weights)
    ranks = {name: {c.id: rank for rank, c in enumerate(found)} for name, found in rankings.items()}
    in_both = [r for r in fused if all(r.id in found for found in ranks.values())]
    for above, below in combinations(in_both, 2):
        beaten = all(found[below.id] < found[above.id] for found in ranks.values())
        assert not beaten or above.score == below.score


@given(rankings=_RANKINGS, weights=_WEIGHTS)
def test_convex_scores_lie_from_0_to_1(
    rankings: dict[str, list[Candidate]], weights: dict[str, float]
) -> None:
    fused = convex_combination(rankings, weights, minima=MINIMA, depth=DEPTH)
    assert all(0 <= ranked.score <= 1 + 1e-12 for ranked in fused)


def test_a_single_ranking_keeps_its_order_and_scores() -> None:
    ranked = single_ranking("dense", ranking("b", "a"))
    assert [(r.id, r.score) for r in ranked] == [("b", 1.0), ("a", 0.5)]
    assert [r.places["dense"].contribution for r in ranked] == [1.0, 0.5]
