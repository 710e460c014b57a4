"""How much two answers agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.search.overlap import jaccard, rank_biased_overlap

RANKINGS = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8)


def test_the_same_answer_agrees_wholly() -> None:
    assert rank_biased_overlap("abc", "abc") == pytest.approx(1)
    assert jaccard("abc", "cba") == 1
    assert rank_biased_overlap("", "") == jaccard("", "") == 1


def test_disjoint_answers_do_not_agree() -> None:
    assert rank_biased_overlap("abc", "xyz") == jaccard("abc", "xyz") == 0
    assert rank_biased_overlap("", "abc") == 0


@pytest.mark.parametrize(
    ("one", "other", "p", "expected"),
    [
        # By hand, after equation 32: (1 - p) / p * sum of agreements, and the rest.
        ("ab", "ba", 0.5, 0.5 / 0.5 * (0 / 1 * 0.5 + 2 / 2 * 0.25) + 2 / 2 * 0.25),
        ("ab", "ac", 0.5, 0.5 / 0.5 * (1 / 1 * 0.5 + 1 / 2 * 0.25) + 1 / 2 * 0.25),
        # A shorter ranking: X = 1, 1, 1 at depths 1 to 3, s = 1, l = 3.
        (
            "a",
            "abc",
            0.5,
            (0.5 + 1 / 2 * 0.25 + 1 / 3 * 0.125 + (1 / 2 * 0.25 + 2 / 3 * 0.125))
            + (0 / 3 + 1 / 1) * 0.125,
        ),
    ],
)
def test_the_published_formula(one: str, other: str, p: float, expected: float) -> None:
    assert rank_biased_overlap(one, other, p=p) == pytest.approx(expected)
    assert rank_biased_overlap(other, one, p=p) == pytest.approx(expected)


def test_the_first_places_count_most() -> None:
    top, bottom = rank_biased_overlap("abcde", "bacde"), rank_biased_overlap("abcde", "abced")
    assert top < bottom < 1


@given(RANKINGS, RANKINGS)
def test_both_lie_between_0_and_1_and_do_not_care_for_order(
    one: list[str], other: list[str]
) -> None:
    for measure in (jaccard, rank_biased_overlap):
        assert 0 <= measure(one, other) <= 1 + 1e-9
        assert measure(one, other) == pytest.approx(measure(other, one))
