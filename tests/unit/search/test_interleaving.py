"""Team-draft interleaving, and what clicks say."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.corpus.query_log import Shown
from lockstep.index.trials import Arm
from lockstep.search.interleaving import Preference, team_draft

rankings = st.lists(st.integers(0, 15), unique=True, max_size=10).map(
    lambda ids: [str(one) for one in ids]
)


@given(rankings, rankings, st.integers(0, 12), st.integers())
def test_every_document_comes_once_and_in_a_team_that_found_it(
    live: list[str], candidate: list[str], length: int, seed: int
) -> None:
    drafted = team_draft(live, candidate, length=length, coin=random.Random(seed))

    ids = [one.id for one in drafted]
    assert len(ids) == len(set(ids)) == min(length, len(set(live) | set(candidate)))
    for one in drafted:
        assert one.id in (live if one.team is Arm.LIVE else candidate)


@given(rankings, rankings, st.integers())
def test_every_prefix_is_balanced_while_both_have_something_to_pick(
    live: list[str], candidate: list[str], seed: int
) -> None:
    drafted = team_draft(live, candidate, length=10, coin=random.Random(seed))

    for end in range(len(drafted) + 1):
        before = {one.id for one in drafted[:end]}
        if end < len(drafted) and (before >= set(live) or before >= set(candidate)):
            break
        teams = [one.team for one in drafted[:end]]
        assert abs(teams.count(Arm.LIVE) - teams.count(Arm.CANDIDATE)) <= 1


@given(rankings, rankings, st.integers())
def test_each_pick_is_the_best_that_its_team_has_left(
    live: list[str], candidate: list[str], seed: int
) -> None:
    taken: set[str] = set()
    for one in team_draft(live, candidate, length=10, coin=random.Random(seed)):
        ranking = live if one.team is Arm.LIVE else candidate
        assert one.id == next(each for each in ranking if each not in taken)
        taken.add(one.id)


def test_the_coin_gives_both_the_first_place_equally_often() -> None:
    coin = random.Random(1)
    first = [team_draft(["a"], ["b"], length=1, coin=coin)[0].team for _ in range(400)]
    assert 160 < first.count(Arm.LIVE) < 240


def shown(*clicked: str) -> Shown:
    return Shown(["a", "b", "c"], ["live", "candidate", "candidate"], frozenset(clicked))


def test_clicks_are_credited_to_the_team_with_more_of_them() -> None:
    answers = [shown("a"), shown("b"), shown("b", "c", "a"), shown("a", "c")]

    preference = Preference.of(answers)

    assert (preference.wins, preference.losses, preference.ties) == (2, 1, 1)
    assert preference.share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("wins", "losses", "says"),
    [
        (0, 0, "too few clicks to tell: 0 so far, 783 more needed"),
        (5, 5, "too few clicks to tell: 10 so far, 773 more needed"),
        (60, 30, "too few clicks to tell: 60 of 90 for the candidate, 693 more needed"),
        (0, 782, "too few clicks to tell: 782 of 782 for the live version, 1 more needed"),
        (450, 333, "people prefer the candidate"),
        (333, 450, "people prefer the live version"),
        (500, 500, "no preference that matters"),
    ],
)
def test_a_preference_in_words(wins: int, losses: int, says: str) -> None:
    assert Preference(wins, losses, ties=0).verdict == says


def test_equals_are_hardly_ever_told_apart_however_often_one_looks() -> None:
    """Until there are as many clicks as planned, a look at each of them shows no preference."""
    coin = random.Random(4)
    preferred = 0
    for _ in range(20):
        wins = losses = 0
        while wins + losses < 800:
            wins, losses = (wins + 1, losses) if coin.random() < 0.5 else (wins, losses + 1)
            looks = (wins + losses) % 40 == 0 or wins + losses > 780
            if looks and "prefer " in Preference(wins, losses, ties=0).verdict:
                preferred += 1
                break
    assert preferred <= 3


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    # Their own table of 1934 gives 0.12 to 0.74 for 4 of 10.
    low, high = Preference(4, 6, ties=3).interval or (0, 0)
    assert (round(low, 2), round(high, 2)) == (0.12, 0.74)
