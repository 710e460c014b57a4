"""The order that a scorer makes of hits, and which of them it gets to see."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lockstep.errors import InvalidInput, SearchUnsupported
from lockstep.search.request import Hit, SearchRequest
from lockstep.search.rerank import RerankChoice
from lockstep.search.reranking import reranked, scorer_for

HITS = [Hit(f"p{n}", f"d{n}", 1 / (n + 1), "", f"text {n}", {}) for n in range(6)]
REQUEST = SearchRequest("red", limit=2, rerank=RerankChoice("ce", candidates=4))


class Given:
    """Gives the scores it was given, and remembers what it was asked."""

    name = "given@1"

    def __init__(self, *scores: float) -> None:
        self.given = scores
        self.asked: list[tuple[str, list[str]]] = []

    def scores(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        self.asked.append((query, [hit.id for hit in hits]))
        return self.given


def test_the_first_candidates_stand_in_the_order_of_their_new_scores() -> None:
    scorer = Given(0.1, 0.9, -3.0, 0.5)
    hits = reranked(scorer, REQUEST, HITS)
    assert scorer.asked == [("red", ["p0", "p1", "p2", "p3"])]
    assert [(hit.id, hit.score) for hit in hits] == [
        ("p1", 0.9), ("p3", 0.5), ("p0", 0.1), ("p2", -3.0),
    ]  # fmt: skip
    assert {hit.rerank for hit in hits} == {None}


def test_equal_scores_keep_the_order_there_was() -> None:
    hits = reranked(Given(0.5, 0.7, 0.5, 0.7), REQUEST, HITS)
    assert [hit.id for hit in hits] == ["p1", "p3", "p0", "p2"]


def test_explain_tells_where_a_hit_was() -> None:
    first, *_ = reranked(Given(0.0, 0.0, 0.0, 2.0), replace(REQUEST, explain=True), HITS)
    assert first.rerank == {"rank_before": 4, "score_before": 0.25, "score": 2.0}


def test_nothing_is_scored_where_nothing_is_found_or_asked() -> None:
    scorer = Given()
    assert reranked(scorer, REQUEST, []) == []
    assert reranked(None, SearchRequest("red"), HITS) == HITS
    assert scorer.asked == []


def test_nothing_reranks_that_nobody_asked_for_or_that_is_not_there() -> None:
    nothing: Any = None
    assert scorer_for(nothing, nothing, None, SearchRequest("red")) is None
    with pytest.raises(SearchUnsupported, match="Nothing loads rerankers here"):
        scorer_for(nothing, nothing, None, REQUEST)


@pytest.mark.parametrize("fields", [{"model": " "}, {"model": "x" * 129}])
def test_a_model_has_a_name(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"rerank\.model has (0|129) characters"):
        RerankChoice(**fields)


@pytest.mark.parametrize("candidates", [0, 201])
def test_candidates_have_bounds(candidates: int) -> None:
    with pytest.raises(InvalidInput, match=f"rerank.candidates is {candidates}; expected 1 to 200"):
        RerankChoice(candidates=candidates)


def test_a_page_lies_inside_of_the_candidates() -> None:
    with pytest.raises(InvalidInput, match=r"is 4; expected at least offset \+ limit, 5"):
        replace(REQUEST, offset=3)
    with pytest.raises(InvalidInput, match="Both rerank and like"):
        SearchRequest(like="a", rerank=RerankChoice("ce"))
