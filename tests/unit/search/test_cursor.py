"""Cursors: round trips, damage, age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import CursorExpired, InvalidInput
from lockstep.search.cursor import LIFETIME_S, Cursor, digest, next_cursor
from lockstep.search.request import SearchRequest


def test_a_cursor_comes_back_as_it_was() -> None:
    cursor = next_cursor(3, 20, digest(SearchRequest("red")))
    again = Cursor.from_text(cursor.to_text())
    assert (again.number, again.offset, again.digest) == (3, 20, cursor.digest)


def test_it_belongs_to_one_request() -> None:
    assert digest(SearchRequest("red")) == digest(SearchRequest("red"))
    assert digest(SearchRequest("red")) != digest(SearchRequest("red", filter={"must": []}))
    assert digest(SearchRequest("\ud800")) != digest(SearchRequest("red"))


def test_its_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Cursor(1, 10, "d", expires_at=1000.0).to_text()
    with pytest.raises(CursorExpired, match=f"lives for {LIFETIME_S // 60} minutes"):
        Cursor.from_text(text)


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not one that a search has given"):
        Cursor.from_text(text)


@given(st.data())
def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    text = next_cursor(1, 10, "0123456789").to_text()
    at = data.draw(st.integers(0, len(text) - 2))  # the last one may hold unused bits
    other = data.draw(st.sampled_from("abcXYZ019-_").filter(lambda c: c != text[at]))
    with pytest.raises(InvalidInput):
        Cursor.from_text(text[:at] + other + text[at + 1 :])
