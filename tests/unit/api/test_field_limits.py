"""Every field has a size, and a misspelt one is told the nearest right one."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from lockstep.api import limits
from lockstep.store.filters import MAX_PARTS, MAX_TEXT_BYTES, MAX_VALUES

CORPUS = "/v1/corpora/docs"
QUERY = {"query": "red"}


def _must(**condition: Any) -> dict[str, Any]:
    return {**QUERY, "filter": {"must": [condition]}}


TOO_MUCH: dict[str, tuple[str, str, Any, str]] = {
    "query": ("POST", "search", {"query": "x" * 16_385}, "16385 bytes"),
    "query bytes": ("POST", "search", {"query": "é" * 8_193}, "16386 bytes"),
    "version": ("POST", "search", {**QUERY, "index_version": 2**70}, "index_version"),
    "version 0": ("POST", "search", {**QUERY, "index_version": 0}, "index_version"),
    "version name": ("POST", "search", {**QUERY, "index_version": "v" * 129}, "index_version"),
    "traffic key": ("POST", "search", {**QUERY, "traffic_key": "k" * 513}, "traffic_key"),
    "limit": ("POST", "search", {**QUERY, "limit": 2**70}, "limit"),
    "offset": ("POST", "search", {**QUERY, "offset": -1}, "offset"),
    "weight": ("POST", "search", {**QUERY, "fusion": {"weights": {"dense": 1e9}}}, "weights"),
    "prefilter": ("POST", "search", {**QUERY, "prefilter": {"candidates": 2**70}}, "prefilter"),
    "conditions": (
        "POST",
        "search",
        {**QUERY, "filter": {"should": [{"is_null": {"key": "a"}}] * (MAX_PARTS // 2)}},
        "more than 1,000 parts",
    ),
    "values": (
        "POST",
        "search",
        _must(key="a", match={"any": [1] * MAX_VALUES}),
        "10,000 values",
    ),
    "ids": ("POST", "search", _must(has_id=["a"] * MAX_VALUES), "10,000 values"),
    "text": (
        "POST",
        "search",
        _must(key="a", match={"text": "x" * (MAX_TEXT_BYTES + 1)}),
        "more than 16,384 bytes",
    ),
    "key": ("POST", "search", _must(key="k" * (MAX_TEXT_BYTES + 1), match={"value": 1}), "16,384"),
    "name": ("POST", "search", {**QUERY, "filter": {"x" * 20_000: []}}, "16,384"),
    "search id": ("POST", "feedback", {"search_id": "x" * 65, "document_id": "d"}, "search_id"),
    "clicked": ("POST", "feedback", {"search_id": "x", "document_id": "d" * 513}, "document_id"),
    "id": ("POST", "documents", {"documents": [{"id": "i" * 513, "text": "a"}]}, "512"),
    "title": (
        "POST",
        "documents",
        {"documents": [{"id": "i", "text": "a", "title": "t" * 4097}]},
        "4096",
    ),
    "metadata": (
        "POST",
        "documents",
        {"documents": [{"id": "i", "text": "a", "metadata": {"a": [[]] * 3000}}]},
        "bytes",
    ),
    "documents": (
        "POST",
        "documents",
        {"documents": [{"id": "i", "text": "a"}] * 1001},
        "at most 1000 items",
    ),
    "deleted id": ("DELETE", "documents", {"ids": ["i" * 513]}, "512"),
    "deleted ids": ("DELETE", "documents", {"ids": ["i"] * 1001}, "at most 1000 items"),
    "reason": ("POST", "promote", {"version": 99, "reason": "r" * 2001}, "reason"),
    "promoted": ("POST", "promote", {"version": 2**70}, "version"),
    "reason back": ("POST", "rollback", {"reason": "r" * 2001}, "reason"),
    "tried": ("POST", "trial", {"version": 2**31, "shadow": 1}, "version"),
    "share": ("POST", "trial", {"version": 3, "shadow": 1e300}, "shadow"),
}


@pytest.mark.parametrize(("method", "route", "body", "says"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_more_than_a_field_holds_is_refused(
    client: TestClient, method: str, route: str, body: Any, says: str
) -> None:
    answer = client.request(method, f"{CORPUS}/{route}", json=body)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]
    assert len(answer.text) < 2_000  # what was too long does not come back


def test_a_header_has_a_size(client: TestClient) -> None:
    answer = client.post(f"{CORPUS}/search", json=QUERY, headers={"X-Traffic-Key": "k" * 513})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("route", "body", "meant"),
    [
        ("search", {"qurey": "red"}, "query"),
        ("search", {**QUERY, "Limit": 1}, "limit"),
        ("search", {**QUERY, "index-version": 1}, "index_version"),
        ("documents", {"documents": [{"id": "a", "txt": "a"}]}, "text"),
        ("promote", {"verison": 1}, "version"),
    ],
)
def test_a_misspelt_field_is_told_the_nearest_right_one(
    client: TestClient, route: str, body: Any, meant: str
) -> None:
    detail = client.post(f"{CORPUS}/{route}", json=body).json()["detail"]
    assert f"Did you mean '{meant}'?" in detail


def test_what_is_like_no_field_is_told_them_all(client: TestClient) -> None:
    detail = client.post(f"{CORPUS}/search", json={**QUERY, "zzz" * 1000: 1}).json()["detail"]
    assert "Did you mean" not in detail
    assert "expected some of query" in detail
    assert len(detail) < 500


def test_only_documents_may_be_large(client: TestClient) -> None:
    body = bytes(limits.PLAIN_BODY_BYTES + 1)
    headers = {"content-type": "application/json"}
    for route in ("search", "feedback", "promote"):
        answer = client.post(f"{CORPUS}/{route}", content=body, headers=headers)
        assert answer.status_code == 413
        assert "1,048,576 bytes" in answer.json()["detail"]
    assert client.post(f"{CORPUS}/documents", content=body, headers=headers).status_code == 400
