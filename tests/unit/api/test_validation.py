"""What is wrong with a field of several kinds is told of the kind that was sent."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

SEARCH = "/v1/corpora/docs/search"
RECENCY = {"kind": "recency", "field": "a", "half_life_days": 1, "weight": 1}

TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "facet": (
        {"facets": [{"feild": "x"}]},
        "facets.0.feild: Unknown field 'feild'; expected some "
        "of field, limit. Did you mean 'field'?",
    ),
    "no facet": ({"facets": [5]}, "facets.0: Input should be text, or an object"),
    "facet's limit": (
        {"facets": ["a", {"field": "b", "limit": "x"}]},
        "facets.1.limit: Input should be a valid integer",
    ),
    "no kind": (
        {"boosts": [{"knd": "recency"}]},
        "boosts.0: Field 'kind' is required; expected 'recency' or 'popularity'. "
        "Is 'knd' meant to be it?",
    ),
    "another kind": (
        {"boosts": [{"kind": "magic"}]},
        "boosts.0: Field 'kind' is 'magic'; expected 'recency', 'popularity'",
    ),
    "boost": (
        {"boosts": [{**RECENCY, "weight": "1"}]},
        "boosts.0.weight: Input should be a valid number",
    ),
    "boost lacks": (
        {"boosts": [{"kind": "recency", "field": "a", "weight": 1}]},
        "boosts.0.half_life_days: Field required",
    ),
    "rerank": ({"rerank": {"modl": "ce"}}, "rerank.modl: Unknown field 'modl'"),
    "no rerank": ({"rerank": 5}, "rerank: Input should be an object, or true or false"),
    "highlight": ({"highlight": {"sentences": "2"}}, "highlight.sentences: Input should be a"),
    "version": (
        {"index_version": 2**31},
        "index_version: Input should be less than or equal to 2147483647",
    ),
    "version's name": (
        {"index_version": "v" * 129},
        "index_version: String should have at most 128 characters",
    ),
    "no version": (
        {"index_version": 1.5},
        "index_version: Input should be a whole number, or text",
    ),
    "no object": ({"group_by": "lang"}, "group_by: Input should be an object"),
}


@pytest.mark.parametrize(("fields", "says"), TOLD.values(), ids=TOLD)
def test_a_search_is_told_what_is_wrong(
    client: TestClient, fields: dict[str, Any], says: str
) -> None:
    answer = client.post(SEARCH, json={"query": "red", **fields}).json()
    assert answer["detail"].startswith(says), answer
    assert len(answer["errors"]) == 1


def test_the_search_of_a_batch_is_named(client: TestClient) -> None:
    body = {"searches": [{"query": "a"}, {"query": "a", "facets": [{"feild": "x"}]}]}
    detail = client.post(f"{SEARCH}/batch", json=body).json()["detail"]
    assert detail.startswith("searches.1.facets.0.feild: Unknown field")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"query": ""}, "searches[1]: The query is empty"),
        ({"query": "a", "filter": {"mus": []}}, "searches[1]: The filter holds 'mus'"),
    ],
)
def test_a_search_of_a_batch_that_cannot_be_meant_is_named(
    client: TestClient, wrong: dict[str, Any], says: str
) -> None:
    answer = client.post(f"{SEARCH}/batch", json={"searches": [{"query": "a"}, wrong]})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)


@pytest.mark.parametrize(
    ("method", "url", "says"),
    [
        (
            "POST",
            "documents?wiat=indexed",
            "Unknown query parameter 'wiat'; expected some of wait,",
        ),
        ("GET", "rollouts?limt=3", "Unknown query parameter 'limt'; expected some of limit."),
        ("POST", "search?limit=3", "Unknown query parameter 'limit'; expected none."),
        ("GET", "versions?odd=1", "expected none."),
    ],
)
def test_an_unknown_query_parameter_is_refused(
    client: TestClient, method: str, url: str, says: str
) -> None:
    body = {"documents": [{"id": "never", "text": "red"}]} if "documents" in url else {"query": "a"}
    answer = client.request(method, f"/v1/corpora/docs/{url}", json=body)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]
    if "limt" in url:
        assert answer.json()["next_step"] == "Did you mean 'limit'?"


def test_known_query_parameters_and_probes_pass(client: TestClient) -> None:
    assert client.get("/v1/corpora/docs/rollouts?limit=3").status_code == 200
    assert client.get("/healthz?from=balancer").status_code == 200


def test_a_large_search_is_not_told_of_documents(client: TestClient) -> None:
    answer = client.post(SEARCH, json={"query": "x" * (2 << 20)})
    assert answer.status_code == 413
    assert "document" not in answer.json()["detail"]
    assert "fewer searches" in answer.json()["detail"]


def test_a_forced_promotion_is_asked_for_its_reason_without_options(client: TestClient) -> None:
    answer = client.post("/v1/corpora/docs/promote", json={"force": True}).json()
    assert "needs a reason" in answer["detail"]
    assert "--" not in answer["next_step"]


INPUTS: dict[str, tuple[Any, str]] = {
    "many": (["a"] * 3_000, "input: List should have at most 256 items after validation, not"),
    "empty": ([""], "input.0: String should have at least 1 character"),
    "tokens": ([1, 2], "input.0: Input should be a valid string (and 1 more)"),
    "long": ("x" * 70_000, "input: String should have at most 65536 characters"),
    "number": (5, "input: Input should be text, or a list"),
    "none": (None, "input: Input should be text, or a list"),
}


@pytest.mark.parametrize(("given", "says"), INPUTS.values(), ids=INPUTS)
def test_embeddings_are_told_what_is_wrong(client: TestClient, given: Any, says: str) -> None:
    answer = client.post("/v1/embeddings", json={"model": "docs", "input": given}).json()
    assert answer["detail"].startswith(says), answer
