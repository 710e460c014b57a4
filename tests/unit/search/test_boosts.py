"""Boosts: how they are asked for, and what they make of scores."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from generations import generation

from lockstep.errors import InvalidInput, SearchUnsupported
from lockstep.search.boosts import (
    Boost,
    Boosted,
    PopularityBoost,
    RecencyBoost,
    apply_boosts,
    require_computable,
)
from lockstep.search.fusion import single_ranking
from lockstep.search.request import SearchRequest
from lockstep.store.payload_functions import Decay, PayloadFunction, Saturation
from lockstep.store.port import Candidate, Reader

VIEWS = PopularityBoost("views", 100, 0.5)
NEW = RecencyBoost("published", 30, 0.25, datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Answering:
    """Stands where a reader does; the contract tests show that real ones compute the values."""

    values: list[dict[str, float]]

    def evaluate(
        self, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        assert len(functions) == len(self.values)
        return self.values


def boosted(
    scores: dict[str, float],
    boosts: Sequence[Boost],
    values: list[dict[str, float]],
    *,
    cosine: bool = False,
) -> Boosted:
    reader = cast(Reader, Answering(values))
    ranked = single_ranking("dense", [Candidate(*each) for each in scores.items()])
    result = apply_boosts(reader, boosts, ranked, cosine=cosine)
    assert result is not None
    return result


def test_a_score_grows_by_the_weighted_sum() -> None:
    result = boosted(
        {"a": 0.5, "b": 0.4, "c": 0.3}, [VIEWS, NEW], [{"b": 1.0, "c": 0.5}, {"c": 1.0}]
    )
    scores = {each.id: each.score for each in result.ranked}
    assert scores == pytest.approx({"b": 0.6, "a": 0.5, "c": 0.45})
    assert list(scores) == ["b", "a", "c"]
    explained = result.explain("c")
    assert explained["base"] == 0.3
    assert [part["value"] for part in explained["parts"]] == [0.5, 1.0]
    raised = 1 + sum(part["contribution"] for part in explained["parts"])
    assert scores["c"] == explained["base"] * raised
    assert [part["value"] for part in result.explain("a")["parts"]] == [0.0, 0.0]


def test_equal_scores_stand_in_id_order() -> None:
    result = boosted({"c": 0.2, "b": 0.1, "a": 0.2}, [PopularityBoost("n", 1, 1)], [{"b": 1.0}])
    assert [each.id for each in result.ranked] == ["a", "b", "c"]


def test_a_cosine_below_nought_is_no_base() -> None:
    result = boosted({"a": -0.5, "b": -0.6}, [VIEWS], [{"b": 1.0}], cosine=True)
    assert [each.id for each in result.ranked] == ["b", "a"]
    assert [each.score for each in result.ranked] == pytest.approx([0.3, 0.25])
    unchanged = boosted({"a": 0.5, "b": -0.6}, [VIEWS], [{}], cosine=True)
    assert [each.id for each in unchanged.ranked] == ["a", "b"]
    assert boosted({"a": -0.1}, [VIEWS], [{"a": 1.0}]).ranked[0].score == 0.0


def test_now_is_this_minute_and_utc_unless_it_says_otherwise() -> None:
    now = RecencyBoost("when", 1, 1).now
    assert (now.second, now.microsecond, now.tzinfo) == (0, 0, UTC)
    naive = RecencyBoost("when", 1, 1, datetime(2026, 1, 1))
    zoned = RecencyBoost("when", 1, 1, datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert naive.function == zoned.function == Decay("metadata.when", 86_400.0, 1767225600.0)
    assert VIEWS.function == Saturation("metadata.views", 100)


@pytest.mark.parametrize("weight", [-0.1, 100.1, float("nan"), float("inf"), True, "1", None])
def test_a_weight_is_from_0_to_100(weight: Any) -> None:
    with pytest.raises(InvalidInput, match="The weight of a boost is"):
        PopularityBoost("views", 1, weight)


@pytest.mark.parametrize("scale", [0, -1, 1e20, 10**400, float("nan"), float("inf"), True, "1"])
def test_a_half_life_and_a_midpoint_are_above_nought(scale: Any) -> None:
    with pytest.raises(InvalidInput, match="half_life_days"):
        RecencyBoost("when", scale, 1)
    with pytest.raises(InvalidInput, match="midpoint"):
        PopularityBoost("views", scale, 1)


@pytest.mark.parametrize("name", ["", "a b", "tags[]", "a[].b", "$score", "a\n", 5, None])
def test_a_boost_is_of_one_field(name: Any) -> None:
    with pytest.raises(InvalidInput, match="of kind popularity"):
        PopularityBoost(name, 1, 1)


@pytest.mark.parametrize(
    "boosts", [VIEWS, [{"field": "views"}], {VIEWS}, "views", [VIEWS] * 11, None]
)
def test_boosts_are_a_short_list_of_boosts(boosts: Any) -> None:
    with pytest.raises(InvalidInput, match="boosts"):
        SearchRequest("query", boosts=boosts)


def test_now_is_a_time() -> None:
    with pytest.raises(InvalidInput, match="expected a time"):
        RecencyBoost("when", 1, 1, cast(datetime, "2026-01-01"))


def test_an_index_of_another_type_is_refused() -> None:
    built = generation({"views": "keyword", "published": "datetime"})
    require_computable(built, [NEW, PopularityBoost("other", 1, 1)])
    with pytest.raises(SearchUnsupported, match="type keyword of 'views'") as refused:
        require_computable(built, [VIEWS])
    assert "A field has one type: boost by another field" in refused.value.next_step
    command = "reindex docs --model tiny@1 --index published:datetime --index views:integer"
    assert refused.value.next_step.endswith(command)


@pytest.mark.parametrize("now", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_out_of_range_is_refused(now: str) -> None:
    with pytest.raises(InvalidInput, match=rf"is {re.escape(now)}; .* the years 1 to 9999"):
        RecencyBoost("published", 1, 1.0, datetime.fromisoformat(now))
