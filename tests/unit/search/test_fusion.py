"""Reciprocal rank fusion and grouping, by hand-computed figures and by properties."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.search.fusion import reciprocal_rank_fusion, single_ranking
from lockstep.store.port import Candidate

WEIGHTS = {"dense": 1.0, "lexical": 1.0}


def ranking(*ids: str) -> list[Candidate]:
    return [Candidate(i, 1.0 / n) for n, i in enumerate(ids, start=1)]


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    fused = reciprocal_rank_fusion(
        {"dense": ranking("a", "b"), "lexical": ranking("b", "c")}, WEIGHTS, k=60
    )
    assert [r.id for r in fused] == ["b", "a", "c"]
    assert [r.score for r in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])
    assert fused[0].places["dense"].rank == 2
    assert fused[0].places["lexical"].rank == 1


def test_weights_scale_a_ranking() -> None:
    rankings = {"dense": ranking("a"), "lexical": ranking("b")}
    fused = reciprocal_rank_fusion(rankings, {"dense": 1.0, "lexical": 3.0}, k=60)
    assert [r.id for r in fused] == ["b", "a"]
    assert fused[0].score == pytest.approx(3 * fused[1].score)


def test_equal_scores_stand_in_id_order() -> None:
    fused = reciprocal_rank_fusion({"dense": ranking("z"), "lexical": ranking("a")}, WEIGHTS, k=60)
    assert [r.id for r in fused] == ["a", "z"]


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.randoms(use_true_random=False))
def test_the_order_of_branches_does_not_matter(ids: list[str], shuffler: random.Random) -> None:
    other = list(ids)
    shuffler.shuffle(other)
    one = reciprocal_rank_fusion(
        {"dense": ranking(*ids), "lexical": ranking(*other)}, WEIGHTS, k=60
    )
    two = reciprocal_rank_fusion(
        {"lexical": ranking(*other), "dense": ranking(*ids)}, WEIGHTS, k=60
    )
    assert [r.id for r in one] == [r.id for r in two]


def test_a_single_ranking_keeps_its_order_and_scores() -> None:
    ranked = single_ranking("dense", ranking("b", "a"))
    assert [(r.id, r.score) for r in ranked] == [("b", 1.0), ("a", 0.5)]
