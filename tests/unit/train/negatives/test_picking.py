"""Rankings, shares and margins, without a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from lockstep.errors import InvalidInput
from lockstep_indexer.train.negatives.lexical import LexicalRanker
from lockstep_indexer.train.negatives.picking import limit, picked, quotas, ranked
from lockstep_indexer.train.negatives.settings import Mining, Source

MODEL, BM25 = Source.MODEL, Source.BM25


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=1, max_size=30),
    st.sets(st.integers(0, 29)),
    st.integers(0, 5),
    st.integers(1, 30),
)
def test_ranks_are_those_of_a_plain_sort(
    scores: list[float], barred: set[int], skip: int, depth: int
) -> None:
    closed = np.array(sorted(place for place in barred if place < len(scores)), dtype=np.intp)
    found = ranked(np.array(scores, np.float32), closed, skip=skip, depth=depth, floor=0.0)
    order = sorted(set(range(len(scores))) - barred, key=lambda place: (-scores[place], place))
    assert found.tolist() == [place for place in order[skip:depth] if scores[place] > 0]


def test_a_margin_is_a_share_of_the_size_of_the_score() -> None:
    assert limit(0.8, 0.05) == pytest.approx(0.76)
    assert limit(-2.0, 0.05) == pytest.approx(-2.1)  # of raw scores: lower is further away


@given(st.integers(1, 7), st.floats(0, 1), st.integers(1, 200))
def test_shares_are_kept_over_many_pairs(negatives: int, share: float, turns: int) -> None:
    mining = Mining(negatives=negatives, shares={MODEL: share, BM25: 1 - share})
    given_ = [quotas(mining, turn) for turn in range(turns)]
    assert all(sum(each.values()) == negatives for each in given_)
    assert all(count >= 0 for each in given_ for count in each.values())
    by_model = sum(each.get(MODEL, 0) for each in given_)
    assert abs(by_model - share * negatives * turns) <= 1


def test_a_place_is_taken_once_and_a_dry_source_is_made_up_for() -> None:
    mining = Mining(negatives=4)
    wanted = {MODEL: 2, BM25: 2}
    both = picked({MODEL: [1, 2, 3], BM25: [2, 1, 4, 5]}, wanted, mining, 0)
    assert both == [(MODEL, 1), (MODEL, 2), (BM25, 4), (BM25, 5)]
    dry = picked({MODEL: [1, 2, 3, 6], BM25: [3]}, wanted, mining, 0)
    assert dry == [(MODEL, 1), (MODEL, 2), (BM25, 3), (MODEL, 6)]


def test_bm25_scores_are_those_of_rank_bm25() -> None:
    random = np.random.default_rng(5)
    words = ["flow", "wing", "heat", "layer", "shock", "plate", "the", "cone", "jet", "tube"]
    texts = [" ".join(random.choice(words, size=random.integers(1, 30))) for _ in range(60)]
    queries = ["shock wing", "heat heat plate", "jet of nothing known", "the", ""]
    ranker = LexicalRanker(texts)
    reference = BM25Okapi([ranker.terms(text) for text in texts])
    expected = [reference.get_scores(ranker.terms(query)) for query in queries]
    np.testing.assert_allclose(ranker.scores(queries), expected, rtol=1e-5, atol=1e-6)


def test_texts_without_a_word_score_nothing() -> None:
    assert LexicalRanker(["the", "..."]).scores(["wing"]).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shares": {MODEL: 0.7, BM25: 0.7}}, "add up to 1.4; expected 1"),
        ({"shares": {MODEL: 1.5, BM25: -0.5}}, "The share of model is 1.5; expected from 0 to 1"),
        ({"shares": {MODEL: float("nan")}}, "The share of model is nan"),
        ({"skip": 98, "depth": 100}, "The ranks from 99 to 100 hold 2 candidates; 4 negatives"),
        ({"skip": -1}, "The skip is -1; expected 0 or more"),
        ({"margin": 1.0}, "The margin is 1; expected from 0 to below 1"),
        ({"reranker_margin": -0.1}, "The reranker margin is -0.1"),
        ({"negatives": 0}, "The negatives is 0; expected 1 to 64"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Mining(**wrong)  # type: ignore[arg-type]  # as the command line would
