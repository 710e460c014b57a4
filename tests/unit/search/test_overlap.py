"""How much two rankings agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.search.overlap import jaccard, rank_biased_overlap

# By the package rbo 0.1.3; 0.9 of the second row is what a swap of the first two must cost.
REFERENCE = [
    ("abcdefg", "zcavwxy", 0.9, 0.288217),
    ("abcdefg", "bacdefg", 0.9, 0.9),
    ("abc", "acbde", 0.9, 0.955),
    ("abcdefghij", "jihgfedcba", 0.9, 0.511608),
    ("ab", "cdeabf", 0.9, 0.241299),
    ("ab", "cdeabf", 0.5, 0.038542),
    ("abcde", "a", 0.98, 1.0),
]

rankings = st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=12).map(
    lambda ids: [str(one) for one in ids]
)


@pytest.mark.parametrize(("one", "other", "p", "expected"), REFERENCE)
def test_rbo_has_the_values_of_another_implementation(
    one: str, other: str, p: float, expected: float
) -> None:
    assert rank_biased_overlap(list(one), list(other), p) == pytest.approx(expected, abs=1e-6)


@given(rankings, rankings, st.floats(0.3, 0.95))
def test_rbo_is_the_sum_that_it_extrapolates(one: list[str], other: list[str], p: float) -> None:
    short, long = sorted((one, other), key=len)
    s, depth = len(short), len(long)

    def agreement(d: int) -> float:
        """Beyond the shorter ranking its agreement goes on, beyond both what is seen there."""
        common = len(set(short[:d]) & set(long[:d]))
        at_s = len(set(short) & set(long[:s]))
        if d <= s:
            return common / d
        if d <= depth:
            return (common + at_s * (d - s) / s) / d
        return agreement(depth)

    expected = sum((1 - p) * p ** (d - 1) * agreement(d) for d in range(1, depth + 1))
    expected += p**depth * agreement(depth)  # the rest of the infinite sum
    assert rank_biased_overlap(one, other, p) == pytest.approx(expected)
    assert rank_biased_overlap(other, one, p) == pytest.approx(expected)


def test_rankings_without_anything() -> None:
    assert rank_biased_overlap([], []) == 1.0 == jaccard([], [])
    assert rank_biased_overlap(["a"], []) == 0.0 == jaccard(["a"], [])
    with pytest.raises(ValueError, match="p is 1"):
        rank_biased_overlap(["a"], ["a"], p=1)


def test_jaccard_looks_at_the_first_ten_and_at_no_order() -> None:
    one = list("abcdefghijklm")
    assert jaccard(one, [*reversed(one[:10]), "x"]) == 1.0
    assert jaccard(["a", "b"], ["b", "c"]) == pytest.approx(1 / 3)
