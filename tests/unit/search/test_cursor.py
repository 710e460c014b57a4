"""Cursors: round trips, damage, age."""

import base64
import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import CursorExpired, InvalidInput
from lockstep.search.boosts import RecencyBoost
from lockstep.search.cursor import LIFETIME_S, Cursor, Draft, Resumed, next_page, resume
from lockstep.search.diversity import DiversityChoice
from lockstep.search.request import SearchRequest
from lockstep.search.rerank import RerankChoice


def test_the_next_page_is_of_the_same_search_and_version() -> None:
    request = SearchRequest("red", limit=20, filter={"must": []})
    text = next_page(request, 3)
    assert text is not None
    assert resume(replace(request, cursor=text), text) == Resumed(replace(request, offset=20), 3)
    second = next_page(replace(request, offset=20), 3)
    assert second is not None
    assert resume(request, second) == Resumed(replace(request, offset=40), 3)


def test_a_list_goes_on_from_the_moment_of_its_first_page() -> None:
    first, later = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
    request = SearchRequest("red", boosts=[RecencyBoost("published", 30, 0.5, first)])
    text = next_page(request, 3)
    assert text is not None
    asked_later = replace(request, boosts=[RecencyBoost("published", 30, 0.5, later)])
    resumed = resume(asked_later, text).request
    assert resumed.boosts == tuple(request.boosts)
    heavier = replace(request, boosts=[RecencyBoost("published", 30, 0.6, first)])
    with pytest.raises(InvalidInput, match="belongs to another search"):
        resume(heavier, text)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server's clock shows the time of Tokyo."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_moment_without_a_zone_is_utc_on_every_page() -> None:
    boost = RecencyBoost("published", 1, 1.0, datetime(2026, 3, 1, 12))
    request = SearchRequest("red", boosts=[boost])
    text = next_page(request, 3)
    assert text is not None
    resumed = resume(request, text).request
    assert resumed.boosts[0].function == boost.function
    assert boost.moment == datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_any_moment_that_a_boost_takes_is_kept_to_the_microsecond(now: datetime) -> None:
    try:
        boost = RecencyBoost("published", 1, 1.0, now)
    except InvalidInput:
        assert now.year in (1, 9999)
        return
    request = SearchRequest("red", boosts=[boost] * 2)
    text = next_page(request, 3)
    assert text is not None
    resumed = resume(request, text).request
    assert [each.function for each in resumed.boosts] == [boost.function] * 2


@pytest.mark.parametrize(
    "other", [{"query": "blue"}, {"limit": 10}, {"filter": None}, {"scope": {"must": []}}]
)
def test_a_cursor_belongs_to_one_search(other: dict[str, Any]) -> None:
    request = SearchRequest("red", limit=20, filter={"must": []})
    text = next_page(request, 3)
    assert text is not None
    with pytest.raises(InvalidInput, match="belongs to another search"):
        resume(replace(request, **other), text)


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({"limit": 500}, [500, 500]),
        ({"limit": 600}, [600, 400]),
        ({"limit": 5, "rerank": RerankChoice("ce", candidates=12)}, [5, 5, 2]),
        ({"limit": 7, "diversity": DiversityChoice(candidates=20)}, [7, 7, 6]),
        ({"limit": 6, "diversity": DiversityChoice(candidates=12)}, [6, 6]),
    ],
)
def test_the_last_page_holds_what_is_left(fields: dict[str, Any], limits: list[int]) -> None:
    first = SearchRequest("red", **fields)
    pages = [first]
    while (text := next_page(pages[-1], 1)) is not None:
        pages.append(resume(first, text).request)
    assert [page.limit for page in pages] == limits
    assert [page.offset for page in pages] == [sum(limits[:n]) for n in range(len(limits))]


def test_its_time_ends() -> None:
    text = Cursor(1, 10, "d", expires_at=1000).to_text()
    with pytest.raises(CursorExpired, match=f"lives for {LIFETIME_S // 60} minutes"):
        Cursor.from_text(text)


def forged(body: bytes) -> str:
    """The check keeps no secret: anybody can make one up."""
    check = hashlib.blake2b(body, digest_size=8, person=b"lockstep-cursor").digest()
    return base64.urlsafe_b64encode(check + body).decode().rstrip("=")


REQUEST = SearchRequest(
    "red", limit=20, boosts=[RecencyBoost("published", 1, 1.0, datetime(2026, 3, 1, tzinfo=UTC))]
)


def made_up(at: int, value: Any) -> str:
    """A cursor of REQUEST, but for one value; `...` leaves it out."""
    text = next_page(REQUEST, 3)
    assert text is not None
    fields = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[8:])
    fields[at : at + 1] = [] if value is ... else [value]
    return forged(json.dumps(fields).encode())


def test_what_is_made_up_as_a_search_makes_it_is_taken() -> None:
    next_request = replace(REQUEST, offset=40, boosts=tuple(REQUEST.boosts))
    assert resume(REQUEST, made_up(1, 40)) == Resumed(next_request, 3)
    assert resume(REQUEST, made_up(6, [4, 7])).draft == Draft(candidate=4, seed=7)


BODIES = ["[]", "[1,2]", "null", "5", "{", '"abcd"', '{"a":1}', "", "[" * 300, "[" * 99 + "]" * 99]


@pytest.mark.parametrize("body", [*(body.encode() for body in BODIES), b"\xff", b"[1,\xff]"])
def test_a_body_that_is_made_up_is_no_cursor(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not one that a search has given"):
        resume(REQUEST, forged(body))


NO_INT: list[Any] = ["a", None, 1.5, True, False, [], {}, [1], math.nan, math.inf, ...]
NO_COUNT: list[Any] = [*NO_INT, -1, 0, 10**30]


UNGIVEN: list[tuple[int, list[Any]]] = [
    (0, [*NO_INT, -1, 10**30, 2**31]),
    (1, [*NO_COUNT, 1000, 5_000]),
    (2, [None, 1, 1.5, True, [], {}, ...]),
    (3, [*NO_COUNT, 4 * 10**9, 10**320]),
    (4, ["a", "", None, 1, 1.5, True, {"a": 1}, [], [1, 2], [1] * 99, ...]),
    (4, [[value] for value in [*NO_INT[:-1], 10**18, -(10**18), 10**30, -(10**30)]]),
    (5, [1, True, [], {}, "", "a" * 129, "a\n", "\ud800", "ce@1", ...]),
    (6, ["more", 1, True, {}, [], [1], [1, 2, 3], [0, 1], [1, -1], [1, 2**32], ["a", 1], ...]),
    (7, ["more"]),
]


@pytest.mark.parametrize(
    ("at", "value"), [(at, value) for at, values in UNGIVEN for value in values]
)
def test_a_value_that_no_search_gives_is_refused(at: int, value: Any) -> None:
    with pytest.raises(InvalidInput, match="not one that a search has given"):
        resume(REQUEST, made_up(at, value))


def test_the_clocks_of_two_servers_may_differ_a_little() -> None:
    made = made_up(3, int(time.time()) + LIFETIME_S + 10)
    assert resume(REQUEST, made).number == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(JSON)
def test_no_body_but_a_cursors_is_taken(body: Any) -> None:
    with pytest.raises(InvalidInput, match="not one that a search has given"):
        Cursor.from_text(forged(json.dumps(body).encode()))


@given(st.integers(0, 7), JSON)
def test_any_value_is_taken_or_refused(at: int, value: Any) -> None:
    with suppress(InvalidInput, CursorExpired):
        resume(REQUEST, made_up(at, value))


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not one that a search has given"):
        Cursor.from_text(text)


@given(st.data())
def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    text = Cursor(1, 10, "0123456789", int(time.time()) + 60).to_text()
    at = data.draw(st.integers(0, len(text) - 2))  # the last one may hold unused bits
    other = data.draw(st.sampled_from("abcXYZ019-_").filter(lambda c: c != text[at]))
    with pytest.raises(InvalidInput):
        Cursor.from_text(text[:at] + other + text[at + 1 :])
