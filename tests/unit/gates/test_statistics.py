"""Paired comparisons say what is so, and no more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.gates.statistics import p95_ratio, paired


def draws(mean: float, deviation: float, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, count)


def test_equals_differ_by_nothing() -> None:
    values = draws(0.5, 0.2, 50)
    found = paired(values, values)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_a_clear_gain_has_an_interval_above_zero_and_a_small_p() -> None:
    live = draws(0.4, 0.1, 100)
    found = paired(live + draws(0.1, 0.05, 100, seed=1), live)
    assert 0.08 < found.low < found.difference < found.high < 0.12
    assert found.p_value < 0.001


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        difference = draws(0.02, 0.2, 80, seed)
        found = paired(difference, np.zeros(80))
        held += found.low <= 0.02 <= found.high
    assert held >= 88  # 95 expected; fewer than 88 would come once in 500


def test_noise_alone_is_not_significant() -> None:
    values = [paired(draws(0, 0.2, 60, seed), np.zeros(60)).p_value for seed in range(40)]
    assert sum(value < 0.05 for value in values) <= 6


def test_the_queries_needed_follow_the_textbook() -> None:
    found = paired(draws(0.0, 0.2, 4000), np.zeros(4000))
    # (1.96 + 0.84)^2 * 0.2^2 / 0.01^2 = 3140, for a true difference of nothing
    needed = found.needed(0.01 - found.difference)
    assert needed == pytest.approx(3140, rel=0.05)


def test_a_loss_beyond_the_margin_needs_no_more_queries() -> None:
    assert paired(draws(-0.1, 0.05, 50), np.zeros(50)).needed(0.01) is None


@given(shift=st.floats(-1, 1), count=st.integers(2, 30))
@settings(max_examples=25)
def test_the_difference_lies_inside_its_interval(shift: float, count: int) -> None:
    found = paired(draws(shift, 0.1, count), np.zeros(count))
    assert found.low <= found.difference <= found.high


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="expected one, not empty"):
        paired(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="expected one, not empty"):
        paired(np.zeros(0), np.zeros(0))


def test_twice_as_slow_is_told_from_noise() -> None:
    live = np.abs(draws(10, 1, 200))
    slow = p95_ratio(2 * np.abs(draws(10, 1, 200, seed=1)), live)
    assert 1.7 < slow.low < slow.ratio < slow.high < 2.3
    same = p95_ratio(np.abs(draws(10, 1, 200, seed=2)), live)
    assert same.low < 1.1


@pytest.mark.parametrize(("queries", "expected"), [(1, 1.0), (2, 0.5), (4, 0.125)])
def test_the_same_change_everywhere_proves_no_more_than_flipped_signs_say(
    queries: int, expected: float
) -> None:
    found = paired(np.full(queries, 0.5), np.zeros(queries))
    assert found.p_value == pytest.approx(expected)
