"""The search route: what it answers and what it refuses."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.problems import MEDIA_TYPE
from lockstep.api.running import Running
from lockstep.api.schemas.search import BatchView, SearchView
from lockstep.search.cursor import Cursor
from lockstep.testing import tiny_reranker

URL = "/v1/corpora/docs/search"
QUERY = {"query": "red river stone"}


def test_an_answer_names_its_generation_and_times(client: TestClient) -> None:
    answer = client.post(URL, json=QUERY).json()

    assert set(answer) == {
        "hits",
        "index_version",
        "model_version",
        "took_ms",
        "arm",
        "search_id",
        "next_cursor",
        "explain",
        "facets",
        "reranker",
    }
    assert (answer["arm"], answer["search_id"]) == ("live", None)  # nothing is logged by default
    assert (answer["index_version"], answer["model_version"]) == ("docs--v0002", "tiny@2")
    assert set(answer["took_ms"]) == {"encode", "search", "rerank", "highlight", "total"}
    assert len(answer["hits"]) == 10
    assert set(answer["hits"][0]) == {
        "id",
        "document_id",
        "score",
        "title",
        "text",
        "metadata",
        "highlights",
        "explain",
        "index_version",
        "boosts",
        "rerank",
    }


# Every part that an answer may have; only version 3 can count the field.
EVERYTHING: dict[str, Any] = {
    **QUERY,
    "explain": True,
    "highlight": True,
    "facets": ["parity"],
    "boosts": [{"kind": "popularity", "field": "parity", "midpoint": 1.0, "weight": 0.5}],
    "filter": {"must": [{"key": "parity", "range": {"gte": 0}}]},
}


def test_an_answer_is_what_its_schema_says(client: TestClient) -> None:
    answer = client.post(URL, json={**EVERYTHING, "index_version": 3})
    batch = {"searches": [EVERYTHING, QUERY], "index_version": 3}
    answers = client.post(f"{URL}/batch", json=batch)

    assert answer.headers["content-type"] == "application/json"
    parts = answer.json()
    assert all(parts[name] for name in ("hits", "next_cursor", "explain", "facets"))
    assert all(parts["hits"][0][name] for name in ("highlights", "explain", "boosts"))
    for body, view in ((answer, SearchView), (answers, BatchView)):
        assert view.model_validate(body.json()).model_dump(mode="json") == body.json()


def test_an_answer_names_what_reranked(client: TestClient, tmp_path: Path) -> None:
    running: Running = client.app.state.running  # type: ignore[attr-defined]
    running.workspace.models.add("ce", tiny_reranker(tmp_path / "ce"))
    body = {**QUERY, "limit": 5, "explain": True, "rerank": {"model": "ce", "candidates": 20}}

    answer = client.post(URL, json=body).json()

    assert SearchView.model_validate(answer).model_dump(mode="json") == answer
    assert answer["reranker"] == "ce@1"
    assert answer["took_ms"]["rerank"] > 0
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert [hit["rerank"]["score"] for hit in answer["hits"]] == scores
    assert 'stage="rerank"' in client.get("/metrics").text
    batch = client.post(f"{URL}/batch", json={"searches": [body]}).json()["answers"]
    assert batch[0]["hits"] == answer["hits"]
    pinned = client.post(URL, json={**body, "index_version": 2}).json()
    assert pinned["hits"] == answer["hits"]


@pytest.mark.parametrize("pin", [3, "docs--v0003"])
def test_a_pin_searches_that_version_with_its_own_model(client: TestClient, pin: int | str) -> None:
    answer = client.post(URL, json={**QUERY, "index_version": pin}).json()

    assert (answer["index_version"], answer["model_version"]) == ("docs--v0003", "tiny@3")
    assert answer["hits"]


def test_pages_join_without_gap_or_overlap(client: TestClient) -> None:
    def page(limit: int, offset: int = 0) -> list[str]:
        hits = client.post(URL, json={**QUERY, "limit": limit, "offset": offset}).json()["hits"]
        return [hit["id"] for hit in hits]

    assert page(7) + page(13, 7) == page(20)


# What a body says, and what dense and BM25 then weigh.
FUSIONS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "default": ({}, [0.8, 0.2]),
    "convex": ({"method": "convex", "weights": {"dense": 2, "lexical": 2}}, [0.5, 0.5]),
    "dbsf": ({"method": "dbsf"}, [1, 1]),
    "rrf": ({"method": "rrf", "k": 10, "weights": {"lexical": 2}}, [1, 2]),
}
each_fusion = pytest.mark.parametrize(("fusion", "weights"), FUSIONS.values(), ids=FUSIONS)


@each_fusion
def test_explain_says_what_each_ranking_adds(
    client: TestClient, fusion: dict[str, Any], weights: list[float]
) -> None:
    body = {**QUERY, "explain": True, "limit": 25, "fusion": fusion}  # of one step
    hits = client.post(URL, json=body).json()["hits"]

    for hit in hits:
        places = hit["explain"].values()
        assert set().union(*places) == {"rank", "score", "normalised", "weight", "contribution"}
        assert hit["score"] == pytest.approx(sum(place["contribution"] for place in places))
    best = next(hit["explain"] for hit in hits if len(hit["explain"]) == 2)
    assert [best[name]["weight"] for name in ("dense", "lexical")] == pytest.approx(weights)


@each_fusion
def test_the_same_request_gives_the_same_bits(
    client: TestClient, fusion: dict[str, Any], weights: list[float]
) -> None:
    body = {**QUERY, "explain": True, "limit": 50, "fusion": fusion}
    answers = [client.post(URL, json=body).json()["hits"] for _ in range(5)]

    assert answers[0]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("method", ["convex", "dbsf", "rrf"])
def test_fusion_weights_of_nought_leave_a_ranking_out(client: TestClient, method: str) -> None:
    def ids(**body: Any) -> list[str]:
        hits = client.post(URL, json={**QUERY, "limit": 5, **body}).json()["hits"]
        return [hit["id"] for hit in hits]

    fusion = {"method": method, "weights": {"dense": 1, "lexical": 0}}
    assert ids(fusion=fusion) == ids(mode="dense")


def test_a_filter_holds_for_every_hit(client: TestClient) -> None:
    condition = {"must": [{"key": "parity", "match": {"value": 1}}]}

    hits = client.post(URL, json={**QUERY, "filter": condition, "limit": 50}).json()["hits"]

    assert {hit["metadata"]["parity"] for hit in hits} == {1}


def test_all_that_can_be_asked_for_together(client: TestClient) -> None:
    body = {
        **QUERY,
        "limit": 4,
        "group_by": {"field": "parity", "size": 2},
        "diversity": {"relevance": 0.7, "candidates": 20},
        "highlight": {"sentences": 1, "by_meaning": True},
        "score_threshold": 0.01,
        "explain": True,
        "filter": {"must": [{"key": "parity", "match": {"any": [0, 1]}}]},
    }
    answer = client.post(URL, json=body).json()
    assert sorted(hit["metadata"]["parity"] for hit in answer["hits"]) == [0, 0, 1, 1]
    for hit in answer["hits"]:
        (sentence,) = hit["highlights"]
        assert hit["text"][sentence["start"] : sentence["end"]] == sentence["text"]
    assert 0 < answer["explain"]["matching_filter"] <= answer["explain"]["passages"]
    assert answer["took_ms"]["highlight"] > 0


def test_a_cursor_goes_on_with_no_other_version(client: TestClient) -> None:
    body = {**QUERY, "limit": 5}
    first = client.post(URL, json=body).json()
    body["cursor"] = first["next_cursor"]
    plain = client.post(URL, json=body).json()
    for same in (2, "docs--v0002"):
        page = client.post(URL, json={**body, "index_version": same}).json()
        assert page["hits"] == plain["hits"]
    for other in (3, "docs--v0003"):
        refused = client.post(URL, json={**body, "index_version": other})
        assert (refused.status_code, refused.json()["detail"]) == (
            422,
            "index_version is 3, but the cursor goes on with version 2.",
        )


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"\xff", b'[2,5,"",1e400]', b"[" * 200])
def test_a_cursor_that_is_made_up_is_refused_as_a_cut_one_is(
    client: TestClient, body: bytes
) -> None:
    check = hashlib.blake2b(body, digest_size=8, person=b"lockstep-cursor").digest()
    cursor = base64.urlsafe_b64encode(check + body).decode().rstrip("=")
    refused = client.post(URL, json={**QUERY, "cursor": cursor})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "The cursor is not one that a search has given.",
    )


@pytest.mark.parametrize(
    "now", ["0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999"]
)
def test_a_list_goes_on_from_any_moment(client: TestClient, now: str) -> None:
    boost = {"kind": "recency", "field": "published", "half_life_days": 1, "weight": 1, "now": now}
    body = {**QUERY, "limit": 5, "boosts": [boost]}
    first = client.post(URL, json=body).json()
    second = client.post(URL, json={**body, "cursor": first["next_cursor"]}).json()
    both = client.post(URL, json={**body, "limit": 10}).json()
    assert first["hits"] + second["hits"] == both["hits"]


@pytest.mark.parametrize("now", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_no_year_of_utc_holds_is_refused(client: TestClient, now: str) -> None:
    boost = {"kind": "recency", "field": "published", "half_life_days": 1, "weight": 1, "now": now}
    refused = client.post(URL, json={**QUERY, "boosts": [boost]})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        f"The now of a boost is {now}; expected a time that in UTC is in the years 1 to 9999.",
    )


def test_a_list_goes_on_by_its_cursor(client: TestClient) -> None:
    body = {**QUERY, "limit": 5}
    first = client.post(URL, json=body).json()
    second = client.post(URL, json={**body, "cursor": first["next_cursor"]}).json()
    plain = client.post(URL, json={**QUERY, "limit": 10}).json()
    assert first["hits"] + second["hits"] == plain["hits"]
    other = client.post(URL, json={**body, "limit": 6, "cursor": first["next_cursor"]})
    assert (other.status_code, other.json()["detail"]) == (
        422,
        "The cursor belongs to another search.",
    )
    broken = client.post(URL, json={**body, "cursor": first["next_cursor"][:-9]})
    assert "not one that a search has given" in broken.json()["detail"]
    expired = client.post(URL, json={**body, "cursor": Cursor(2, 5, "", 1).to_text()})
    assert (expired.status_code, expired.json()["title"]) == (410, "Cursor expired")


def test_more_like_a_document(client: TestClient) -> None:
    answer = client.post(URL, json={"like": "doc-3"}).json()
    found = [hit["document_id"] for hit in answer["hits"]]
    assert found
    assert "doc-3" not in found
    absent = client.post(URL, json={"like": "nothing"})
    assert absent.status_code == 404
    both = client.post(URL, json={"like": "doc-3", **QUERY})
    assert (both.status_code, both.json()["detail"]) == (
        422,
        "Both query and like are given; expected one of them.",
    )


def test_a_batch_is_answered_by_one_version(client: TestClient) -> None:
    searches = [QUERY, {"like": "doc-3"}, {**QUERY, "mode": "lexical", "limit": 2}]
    answers = client.post(f"{URL}/batch", json={"searches": searches}).json()["answers"]
    alone = [client.post(URL, json=search).json() for search in searches]
    assert [a["hits"] for a in answers] == [a["hits"] for a in alone]
    assert {a["index_version"] for a in answers} == {"docs--v0002"}
    pinned = client.post(f"{URL}/batch", json={"searches": searches, "index_version": 3}).json()
    assert {a["index_version"] for a in pinned["answers"]} == {"docs--v0003"}


@pytest.mark.parametrize(
    ("searches", "detail"),
    [
        ([], "searches"),
        ([QUERY] * 101, "searches"),
        ([{**QUERY, "index_version": 2}], "searches[0].index_version is given"),
        ([QUERY, {**QUERY, "cursor": "x"}], "searches[1].cursor is given"),
        ([{"query": ""}], "The query is empty"),
    ],
)
def test_a_batch_that_cannot_be_meant_is_refused(
    client: TestClient, searches: list[dict[str, Any]], detail: str
) -> None:
    answer = client.post(f"{URL}/batch", json={"searches": searches})
    assert answer.status_code == 422
    assert detail in answer.text


def test_grouping_gives_each_document_once(client: TestClient) -> None:
    def ids(group: bool) -> list[str]:
        body = {**QUERY, "limit": 100, "group_by_document": group}
        return [hit["document_id"] for hit in client.post(URL, json=body).json()["hits"]]

    assert len(ids(True)) == len(set(ids(True)))
    assert len(ids(False)) > len(set(ids(False)))


REFUSED = {
    "no query": ({}, "The query is empty"),
    "empty": ({"query": " "}, "The query is empty"),
    "type": ({**QUERY, "limit": "10"}, "limit: "),
    "bool for int": ({**QUERY, "limit": True}, "limit: "),
    "window": ({**QUERY, "limit": 1000, "offset": 1}, "at most 1000 together"),
    "mode": ({**QUERY, "mode": "fuzzy"}, "mode: "),
    "rerank by nothing": ({**QUERY, "rerank": True}, "docs--v0002 has no late interaction vectors"),
    "rerank by an encoder": ({**QUERY, "rerank": {"model": "tiny@2"}}, "tiny@2 is an encoder"),
    "rerank few": ({**QUERY, "rerank": {"candidates": 9}}, "at least offset + limit, 10"),
    "rerank none": (
        {**QUERY, "rerank": {"candidates": 0}},
        "rerank.candidates is 0",
    ),
    "rerank field": ({**QUERY, "rerank": {"modle": "ce"}}, "Did you mean 'model'?"),
    "rerank like": ({"like": "doc-1", "rerank": {"model": "ce"}}, "Both rerank and like"),
    "highlight": ({**QUERY, "highlight": {"sentences": 0}}, "highlight.sentences is 0"),
    "group": ({**QUERY, "group_by": {"field": "a", "size": 0}}, "group_by.size is 0"),
    "group's field": ({**QUERY, "group_by": {"feild": "a"}}, "Did you mean 'field'?"),
    "diversity": ({**QUERY, "diversity": {"relevance": 2}}, "diversity.relevance is 2"),
    "threshold": ({**QUERY, "score_threshold": "high"}, "score_threshold: "),
    "cursor": ({**QUERY, "cursor": "x" * 600}, "cursor: "),
    "fusion": (
        {**QUERY, "fusion": {"method": "best"}},
        "fusion.method: Input should be 'convex', 'dbsf' or 'rrf'",
    ),
    "weights": ({**QUERY, "fusion": {"weights": {"bm25": 1}}}, "expected some of dense, lexical"),
    "k": ({**QUERY, "fusion": {"method": "rrf", "k": 0}}, "fusion.k is 0"),
    "no k": ({**QUERY, "fusion": {"method": "dbsf", "k": 9}}, "method is dbsf, which has no k"),
    "no weight": ({**QUERY, "fusion": {"weights": {"dense": 0, "lexical": 0}}}, "are both 0"),
    "prefilter": ({**QUERY, "prefilter": {"candidates": 9}}, "docs--v0002 has no prefilter"),
    "prefilter true": ({**QUERY, "prefilter": True}, "docs--v0002 has no prefilter"),
    "filter": ({**QUERY, "filter": {"must": [{"key": "parity", "match": 1}]}}, "must"),
    "dropped": ({**QUERY, "index_version": 1}, "v1 of 'docs' is dropped"),
    "list": ([], "body: "),
}


@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_cannot_be_meant_is_refused(
    client: TestClient, body: Any, says: str
) -> None:
    response = client.post(URL, json=body)

    assert response.status_code == 422
    assert response.headers["content-type"] == MEDIA_TYPE
    assert says in response.json()["detail"]


MISSING = {
    "corpus": ("/v1/corpora/nope/search", QUERY, "There is no corpus 'nope'"),
    "number": (URL, {**QUERY, "index_version": 9}, "no index version v9"),
    "reranker": (URL, {**QUERY, "rerank": {"model": "nope"}}, "No reranker is 'nope'"),
    "collection": (URL, {**QUERY, "index_version": "x"}, "no index version 'x'"),
}


@pytest.mark.parametrize(("url", "body", "says"), MISSING.values(), ids=MISSING)
def test_a_name_that_names_nothing_is_not_found(
    client: TestClient, url: str, body: Any, says: str
) -> None:
    response = client.post(url, json=body)

    assert response.status_code == 404
    assert says in response.json()["detail"]


BROKEN = {
    "not JSON": (b'{"query": ', 422, "body: This is not JSON"),
    "not UTF-8": (b'{"query": "\xff"}', 400, "cannot be read as JSON"),
    "too deep": (b"[" * 100_000, 400, "cannot be read as JSON"),
    "surrogate": (b'{"query": "\\ud800"}', 422, "lone surrogate"),
    "surrogate name": (b'{"query": "a", "\\ud800": 1}', 422, "Unknown field '?'"),
    "surrogate filter": (
        b'{"query": "a", "filter": {"must": [{"key": "a", "match": {"value": "\\ud800"}}]}}',
        422,
        "",
    ),
    "NaN": (b'{"query": "a", "fusion": {"weights": {"dense": NaN}}}', 422, "fusion.weights"),
    "nothing": (b"", 422, "body: Field required"),
}


@pytest.mark.parametrize(("content", "status", "says"), BROKEN.values(), ids=BROKEN)
def test_a_body_that_cannot_be_read_is_refused(
    client: TestClient, content: bytes, status: int, says: str
) -> None:
    response = client.post(URL, content=content, headers={"content-type": "application/json"})

    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert says in response.json()["detail"]


def test_a_body_of_another_type_is_refused(client: TestClient) -> None:
    response = client.post(URL, content=b'{"query": "a"}', headers={"content-type": "text/plain"})

    assert response.status_code == 415
    assert "'text/plain'; expected application/json" in response.json()["detail"]


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    [
        *("limit", "offset", "mode", "filter", "prefilter", "fusion", "explain", "index_version"),
        *("facets", "boosts", "like", "group_by", "score_threshold", "diversity", "highlight"),
        *("cursor", "rerank", "x"),
    ]
)


@given(query=st.text(), fields=st.dictionaries(_FIELDS, _JSON, max_size=3))
def test_no_request_makes_the_server_fail(
    client: TestClient, query: str, fields: dict[str, Any]
) -> None:
    response = client.post(URL, json={"query": query, **fields})

    assert response.status_code in (200, 404, 422), response.text
