"""What can be stored as a document, and when two have the same content."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.corpus.documents import MAX_METADATA_DEPTH, Document
from lockstep.errors import InvalidDocument


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth - 1):
        inner = {"in": inner}
    return inner


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "empty id"),
        ({"id": 7}, "type int"),
        ({"id": "é" * 257}, "514 bytes"),
        ({"id": "a\x00"}, "has an id with a NUL"),
        ({"id": "a\udc80"}, "lone surrogate"),
        ({"text": ""}, "empty text"),
        ({"text": " \n\t"}, "empty text"),
        ({"text": None}, "text of type NoneType"),
        ({"text": "a\x00b"}, "NUL"),
        ({"text": "\ud83d"}, "lone surrogate"),
        ({"title": 1}, "title of type int"),
        ({"title": "x" * 4097}, "4097 bytes"),
        ({"metadata": []}, "type list"),
        ({"metadata": {"a": math.nan}}, "not JSON"),
        ({"metadata": {"a": [math.inf]}}, "not JSON"),
        ({"metadata": {"a": object()}}, "not JSON"),
        ({"metadata": {"a": "\ud800"}}, "not JSON"),
        ({"metadata": {1: "a"}}, "key that is not text"),
        ({"metadata": {"a": 2**63}}, "64 bits"),
        ({"metadata": {"a": [{"b": -(2**63) - 1}]}}, "64 bits"),
        ({"metadata": nested(MAX_METADATA_DEPTH + 1)}, "deeper than 32"),
        ({"metadata": nested(100_000)}, "deeper than 32"),
    ],
)
def test_what_cannot_be_stored_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidDocument, match=reason) as caught:
        Document(**{"id": "a", "text": "text"} | fields)
    caught.value.message.encode()  # can be printed, whatever was in the document


def test_limits_are_within_what_is_allowed() -> None:
    Document("é" * 256, "x", "x" * 4096, nested(MAX_METADATA_DEPTH))


def test_metadata_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(InvalidDocument, match="deeper than 32"):
        Document("a", "text", metadata=loop)


def test_the_content_hash_is_of_the_content_alone() -> None:
    one = Document("a", "text", "title", {"x": 1, "y": 2})
    assert one.content_hash == Document("b", "text", "title", {"y": 2, "x": 1}).content_hash
    others = [
        Document("a", "text ", "title", {"x": 1, "y": 2}),
        Document("a", "text", "", {"x": 1, "y": 2}),
        Document("a", "text", "title", {"x": 1, "y": "2"}),
    ]
    assert len({one.content_hash, *(other.content_hash for other in others)}) == 4


unicode = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | unicode,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode, inner, max_size=3),
    max_leaves=8,
)


@given(unicode, unicode.filter(str.strip), st.dictionaries(unicode, json_values, max_size=3))
def test_json_and_back_has_the_same_hash(
    document_id: str, text: str, metadata: dict[str, Any]
) -> None:
    document = Document(document_id[:100], text, metadata=metadata)
    content = json.loads(document.canonical_json)
    assert Document(document_id[:100], **content).content_hash == document.content_hash
