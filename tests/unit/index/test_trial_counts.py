"""Counts that add up over servers, and the limits that are read from them."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import InvalidInput
from lockstep.index.trial_counts import Counts, Mean, Times
from lockstep.index.trial_limits import reason_to_stop
from lockstep.index.trials import Exposure

EXPOSURE = Exposure(canary=0.1, max_error_share=0.02, max_latency_ratio=2.0)


def counts(
    *, answered: int = 0, failed: int = 0, ms: float = 10.0, live_ms: float = 10.0
) -> Counts:
    made = Counts()
    noise = random.Random(5)
    for _ in range(answered):
        made.candidate.answer(ms * noise.uniform(0.8, 1.2))
        made.live.answer(live_ms * noise.uniform(0.8, 1.2))
    made.candidate.failed = failed
    return made


@given(st.lists(st.floats(0.1, 10_000), min_size=1, max_size=200))
def test_quantiles_are_off_by_no_more_than_a_step(times: list[float]) -> None:
    made = Times()
    for one in times:
        made.add(one)

    exact = np.percentile(times, 95, method="inverted_cdf")
    assert made.quantile(0.95) == pytest.approx(exact, rel=0.026)
    low, high = made.bounds(0.95, 0.99)
    assert low <= (made.quantile(0.95) or 0) <= high


def test_the_bounds_of_a_quantile_hold_as_often_as_they_say() -> None:
    """A thousand samples of a known distribution: each bound misses about one in a hundred."""
    draws = np.random.default_rng(3)
    true_p95 = np.exp(1.6448536)
    low_misses = high_misses = 0
    for _ in range(1000):
        made = Times()
        for value in np.exp(draws.normal(size=200)):
            made.add(float(value))
        low, high = made.bounds(0.95, 0.99)
        low_misses += low > true_p95 * 1.026
        high_misses += high < true_p95 / 1.026
    assert low_misses <= 20
    assert high_misses <= 20


def test_counts_survive_json_and_add_up() -> None:
    one, other = counts(answered=20, failed=1), counts(answered=30, ms=99)
    one.jaccard.add(0.5)
    other.jaccard.add(0.7)
    one.dropped = 3

    total = Counts.from_json(json.loads(json.dumps(one.to_json()))).plus(other)

    assert (total.candidate.answered, total.candidate.failed, total.dropped) == (50, 1, 3)
    assert total.candidate.times.count == 50
    assert total.jaccard.value == pytest.approx(0.6)


def test_the_interval_of_a_mean_is_that_of_students_t() -> None:
    mean = Mean()
    for value in (0.1, 0.2, 0.3, 0.4):
        mean.add(value)
    low, high = mean.interval() or (0, 0)
    assert [low, high] == pytest.approx([0.0446, 0.4554], abs=1e-4)


@pytest.mark.parametrize(
    ("figures", "stops"),
    [
        ({"failed": 4}, False),  # too few to decide anything
        ({"failed": 5}, True),
        ({"answered": 4, "failed": 1}, False),  # one may be bad luck
        ({"answered": 990, "failed": 10}, False),  # 1 % where 2 % are allowed
        ({"answered": 970, "failed": 30}, False),  # 3 %: not surely above 2 %
        ({"answered": 950, "failed": 50}, True),
        ({"answered": 49, "ms": 500}, False),
        ({"answered": 60, "ms": 500}, True),
        ({"answered": 1000, "ms": 19}, False),
        ({"answered": 1000, "ms": 25}, True),
    ],
)
def test_a_trial_stops_once_a_limit_is_passed_for_sure(
    figures: dict[str, float], stops: bool
) -> None:
    reason = reason_to_stop(counts(**figures), EXPOSURE)  # type: ignore[arg-type]

    assert (reason is not None) is stops, reason


def test_each_versions_part_of_interleaved_answers_is_held_against_the_others() -> None:
    made = Counts()
    for _ in range(60):
        made.interleaved.answer(510.0)
        made.ours.add(10.0)
        made.theirs.add(500.0)

    reason = reason_to_stop(Counts.from_json(made.to_json()), Exposure(interleave=1.0))

    assert reason is not None
    assert "The candidate's p95 is 4" in reason or "The candidate's p95 is 5" in reason
    assert made.candidate.times.count == made.live.times.count == 0


def test_equal_versions_are_stopped_in_hardly_any_of_many_trials() -> None:
    """Looked at after each of 400 answers, as servers do."""
    draws = np.random.default_rng(11)
    stopped = 0
    for _ in range(40):
        made = Counts()
        for number in range(400):
            made.live.answer(float(np.exp(draws.normal()) * 10))
            if draws.random() < 0.01:
                made.candidate.failed += 1
            else:
                made.candidate.answer(float(np.exp(draws.normal()) * 10))
            if number % 10 == 0 and reason_to_stop(made, EXPOSURE):
                stopped += 1
                break
    assert stopped <= 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "without any share"),
        ({"canary": 1.5}, "canary share is 1.5"),
        ({"canary": 0.96}, "at most 0.95"),
        ({"canary": 0.6, "interleave": 0.6}, "more than 1 together"),
        ({"canary": 0.5, "max_latency_ratio": 0.5}, "max_latency_ratio is 0.5"),
        ({"canary": float("nan")}, "canary share is nan"),
    ],
)
def test_an_exposure_that_cannot_be_meant_is_refused(fields: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Exposure(**fields)
