"""Attempts of a key with a filter to see more than its filter lets through, on a real index.

Half of the documents belong to each of two tenants, told apart by `parity`. The tenant here is 0:
no answer of any kind may hold, count or confirm a document of the other one.
"""

import json
from typing import Any

import pytest
from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.api.caller import Caller
from lockstep.corpus.api_key import Scope, new_key
from lockstep.corpus.documents import Document
from lockstep.corpus.query_log import LoggedSearch, new_search_id
from lockstep.errors import DocumentNotFound
from lockstep.search.request import SearchRequest

from .conftest import Keyed

SEARCH = "/v1/corpora/docs/search"
MINE = {"must": [{"key": "parity", "match": {"value": 0}}]}
THEIRS = {"key": "parity", "match": {"value": 1}}
QUERY = {"query": "red river stone number 7", "limit": 100}

Json = dict[str, Any]


@pytest.fixture
def tenant(keyed: Keyed) -> str:
    return keyed.key("tenant", Scope.SEARCH, filter=MINE)


def _search(keyed: Keyed, key: str, **body: Any) -> list[Json]:
    answer = keyed.ask(key, "POST", SEARCH, json={**QUERY, **body})
    assert answer.status_code == 200, answer.text
    hits: list[Json] = answer.json()["hits"]
    return hits


def _is_refused_as_lagging(answer: Response) -> bool:
    """Of the candidate, which other tests leave behind by what they write."""
    if answer.status_code == 403:
        assert "behind the live one" in answer.json()["detail"]
        return True
    assert answer.status_code == 200, answer.text
    return False


WIDENING: dict[str, Json] = {
    "no filter": {},
    "null": {"filter": None},
    "empty": {"filter": {}},
    "empty clauses": {"filter": {"must": [], "should": [], "must_not": []}},
    "theirs": {"filter": {"must": [THEIRS]}},
    "should": {"filter": {"should": [THEIRS, {"key": "parity", "match": {"value": 0}}]}},
    "should of everything": {"filter": {"should": [{"must": []}, THEIRS]}},
    "object for a clause": {"filter": {"should": THEIRS}},
    "not mine": {"filter": {"must_not": [MINE]}},
    "not not": {"filter": {"must_not": [{"must_not": [THEIRS]}]}},
    "min_should 0": {"filter": {"min_should": {"conditions": [THEIRS], "min_count": 0}}},
    "min_should 1": {"filter": {"min_should": {"conditions": [THEIRS, MINE], "min_count": 1}}},
    "their ids": {"filter": {"must": [{"has_id": ["doc-1", "doc-3", "doc-5"]}]}},
    "their ids, or": {"filter": {"should": [{"has_id": ["doc-1", "doc-7"]}, {"must": []}]}},
    "every vector": {"filter": {"should": [{"has_vector": "dense"}]}},
    "is_empty": {"filter": {"should": [{"is_empty": {"key": "nothing"}}]}},
    "is_null": {"filter": {"must_not": [{"is_null": {"key": "parity"}}]}},
    "except": {"filter": {"must": [{"key": "parity", "match": {"except": [0]}}]}},
    "range": {"filter": {"must": [{"key": "parity", "range": {"gte": 0}}]}},
    "values_count": {"filter": {"should": [{"key": "parity", "values_count": {"gte": 0}}]}},
    "nested": {
        "filter": {"should": [{"nested": {"key": "parity", "filter": {"must": []}}}, THEIRS]}
    },
    "same key, other value": {"filter": {"must": [MINE, THEIRS]}},
    "pin of the live version": {"index_version": 2},
    "pin of the candidate": {"index_version": 3},
    "pin by name": {"index_version": "docs--v0003", "filter": {"should": [THEIRS]}},
    "dense": {"mode": "dense"},
    "lexical": {"mode": "lexical", "query": "doc 1 number 1 revision 0"},
    "their words": {"query": "number 7 revision 0", "mode": "lexical"},
    "passages": {"group_by_document": False},
    "no prefilter": {"prefilter": False},
    "deep": {"limit": 500, "offset": 0},
    "second page": {"limit": 20, "offset": 20},
    "explained": {"explain": True},
    "traffic key": {"traffic_key": "theirs"},
}


@pytest.mark.parametrize("body", WIDENING.values(), ids=WIDENING)
def test_no_search_finds_what_is_anothers(keyed: Keyed, tenant: str, body: Json) -> None:
    everything = keyed.key("everything")
    theirs = _search(keyed, everything, filter={"must": [THEIRS]})
    assert theirs  # the same words find them for whoever may

    answer = keyed.ask(tenant, "POST", SEARCH, json={**QUERY, **body})
    if not _is_refused_as_lagging(answer):
        assert [hit for hit in answer.json()["hits"] if hit["metadata"]["parity"] != 0] == []


@pytest.mark.parametrize("body", WIDENING.values(), ids=WIDENING)
def test_no_facet_counts_what_is_anothers(keyed: Keyed, tenant: str, body: Json) -> None:
    asked = {"query": "red", **body, "index_version": 3, "limit": 1, "facets": ["parity"]}
    everyone = keyed.ask(keyed.key("everything"), "POST", SEARCH, json={**asked, "filter": None})
    assert everyone.json()["facets"] == {
        "parity": [{"value": 0, "count": 30}, {"value": 1, "count": 30}]
    }

    answer = keyed.ask(tenant, "POST", SEARCH, json=asked)
    if not _is_refused_as_lagging(answer):
        counts = answer.json()["facets"]["parity"]
        assert [count for count in counts if count["value"] != 0] == []


def test_a_tenant_finds_all_that_is_theirs(keyed: Keyed, tenant: str) -> None:
    everything = keyed.key("everything")
    assert [hit["id"] for hit in _search(keyed, tenant)] == [
        hit["id"] for hit in _search(keyed, everything, filter=MINE)
    ]
    assert len(_search(keyed, tenant, mode="dense")) == 30


_conditions: st.SearchStrategy[Json] = st.sampled_from(
    [
        THEIRS,
        {"key": "parity", "match": {"any": [0, 1]}},
        {"key": "parity", "range": {"gte": 1}},
        {"has_id": ["doc-1", "doc-2", "doc-3"]},
        {"is_empty": {"key": "parity"}},
        {"is_null": {"key": "missing"}},
        {"has_vector": "bm25"},
        {"key": "parity", "is_empty": False},
    ]
)
_clauses = st.sampled_from(["must", "should", "must_not"])
_filters = st.recursive(
    st.dictionaries(_clauses, st.lists(_conditions, max_size=3), max_size=3),
    lambda inner: st.dictionaries(
        _clauses, st.lists(st.one_of(_conditions, inner), max_size=3), max_size=3
    ),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(wanted=_filters)
def test_no_combination_of_conditions_finds_what_is_anothers(
    keyed: Keyed, tenant: str, wanted: Json
) -> None:
    hits = _search(keyed, tenant, filter=wanted, mode="lexical", query="red green blue tall")
    assert {hit["metadata"]["parity"] for hit in hits} <= {0}


RAW = {
    "two filters": b'{"query": "red", "filter": {"must": []}, "filter": {"should": []}}',
    "filter, then none": b'{"query": "red", "filter": {"must": []}, "filter": null}',
    "escaped name": b'{"query": "red", "fi\\u006cter": {"should": []}}',
}


@pytest.mark.parametrize("content", RAW.values(), ids=RAW)
def test_json_that_says_a_thing_twice_widens_nothing(
    keyed: Keyed, tenant: str, content: bytes
) -> None:
    headers = {"content-type": "application/json"}
    answer = keyed.ask(tenant, "POST", SEARCH, content=content, headers=headers)
    assert {hit["metadata"]["parity"] for hit in answer.json()["hits"]} == {0}


@pytest.mark.parametrize(
    "name", ["key_filter", "caller", "confined", "scopes", "key", "_", "restriction", "trusted"]
)
def test_no_field_and_no_parameter_stands_for_the_key(keyed: Keyed, tenant: str, name: str) -> None:
    assert keyed.ask(tenant, "POST", SEARCH, json={**QUERY, name: None}).status_code == 422
    asked = keyed.ask(tenant, "POST", SEARCH, json=QUERY, params={name: "{}"})
    assert asked.status_code == 422
    headers = {f"X-{name.strip('_') or 'a'}": "{}"}
    answer = keyed.ask(tenant, "POST", SEARCH, json=QUERY, headers=headers)
    assert {hit["metadata"]["parity"] for hit in answer.json()["hits"]} == {0}


def test_a_hostile_filter_is_refused_without_a_word_on_the_keys_own(
    keyed: Keyed, tenant: str
) -> None:
    deep: Json = {"must": []}
    for _ in range(17):
        deep = {"must": [deep]}
    for hostile in (
        deep,
        {"must": [deep]},
        {"must": [{"key": "parity", "match": 1}]},
        {"must": [{"key": "a", "match": {"value": "\ud800"}}]},
        {"should": [THEIRS] * 2000},
        {"must": [{"has_id": [str(n) for n in range(20_000)]}]},
        {"must": [{"key": 'parity"]; drop', "match": {"value": 1}}]},
        {"must": [{"key": "x" * 20_000, "match": {"value": 1}}]},
    ):
        answer = keyed.ask(
            tenant,
            "POST",
            SEARCH,
            content=json.dumps({**QUERY, "filter": hostile}),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code in (200, 422)
        said = answer.text
        if answer.status_code == 200:
            assert {hit["metadata"]["parity"] for hit in answer.json()["hits"]} <= {0}
        else:
            assert "must[1]" not in said
            assert '"value": 0' not in said


def test_the_other_tenants_documents_are_not_there(keyed: Keyed, tenant: str) -> None:
    def read(document_id: str) -> tuple[int, Any]:
        answer = keyed.ask(
            tenant,
            "GET",
            f"/v1/corpora/docs/documents/{document_id}",
            headers={"X-Request-Id": "same"},
        )
        return answer.status_code, answer.json()

    assert read("doc-2")[0] == 200
    status, hidden = read("doc-3")
    missing_status, missing = read("doc-30001")
    assert (status, missing_status) == (404, 404)
    assert json.dumps(hidden).replace("doc-3", "x") == json.dumps(missing).replace("doc-30001", "x")
    for trick in ("doc-2/../doc-3", "doc-3%00", "doc-3/", "./doc-3", "doc-3?parity=0"):
        assert read(trick)[0] in (404, 422)


def test_a_document_that_changed_hands_is_not_shown_before_the_index_knows(keyed: Keyed) -> None:
    running = keyed.app.state.running
    serving, store = running.workspace.serving, running.workspace.store
    caller = Caller(new_key("tenant", [Scope.SEARCH], filter=MINE)[0])
    known = running.workspace.corpora.get("docs", "doc-2")
    caller.require_content(serving, store, "docs", known)

    changed = Document(known.id, "what is theirs now", known.title, {"parity": 1})
    caller.require_document(serving, store, "docs", changed.id)  # the index still has the old one
    with pytest.raises(DocumentNotFound):
        caller.require_content(serving, store, "docs", changed)


ELSEWHERE = [
    ("GET", "/v1/corpora", None),
    ("GET", "/v1/corpora/docs", None),
    ("GET", "/v1/corpora/docs/versions", None),
    ("GET", "/v1/corpora/docs/rollouts", None),
    ("GET", "/v1/corpora/docs/trial", None),
    ("POST", "/v1/corpora/docs/trial", {"shadow": 1}),
    ("DELETE", "/v1/corpora/docs/trial", None),
    ("POST", "/v1/corpora/docs/promote", {"version": 3}),
    ("POST", "/v1/corpora/docs/rollback", None),
    ("POST", "/v1/corpora/docs/documents", {"documents": [{"id": "doc-3", "text": "mine"}]}),
    ("DELETE", "/v1/corpora/docs/documents", {"ids": ["doc-3"]}),
    ("GET", "/metrics", None),
]


@pytest.mark.parametrize(("method", "url", "body"), ELSEWHERE)
def test_what_counts_or_changes_documents_is_closed_to_a_filter(
    keyed: Keyed, tenant: str, method: str, url: str, body: Json | None
) -> None:
    assert keyed.ask(tenant, method, url, json=body).status_code == 403


def test_a_route_that_says_nothing_about_filters_is_closed_to_them(keyed: Keyed) -> None:
    """What is added later is closed until somebody has thought about it."""
    from lockstep.api.caller import ReadCaller

    @keyed.app.get("/v1/later")
    def later(_: ReadCaller) -> None: ...

    assert keyed.ask(keyed.key("plain"), "GET", "/v1/later").status_code == 200
    tenant = keyed.key("tenant", Scope.SEARCH, filter=MINE)
    assert keyed.ask(tenant, "GET", "/v1/later").status_code == 403


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/v1/corpora/docs/documents/doc-2/../../../metrics"),
        ("GET", "/healthz/../v1/corpora"),
        ("GET", "/docs/..%2fmetrics"),
        ("GET", "//v1/corpora"),
        ("GET", "/v1/corpora/"),
        ("GET", "/v1/corpora/docs%2Frollouts"),
        ("POST", "/v1/corpora/docs/search/"),
        ("HEAD", "/v1/corpora"),
        ("PUT", "/v1/corpora/docs/promote"),
        ("OPTIONS", "/v1/corpora/docs/rollouts"),
    ],
)
def test_no_way_of_writing_a_path_leads_around(
    keyed: Keyed, tenant: str, method: str, url: str
) -> None:
    assert keyed.ask(tenant, method, url).status_code in (403, 404, 405)
    assert keyed.ask(None, method, url).status_code in (401, 403, 404)


def test_a_method_is_what_it_says(keyed: Keyed, tenant: str) -> None:
    headers = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    url = "/v1/corpora/docs/documents/doc-2"
    assert keyed.ask(tenant, "GET", url, headers=headers).json()["id"] == "doc-2"


@pytest.mark.parametrize("like", ["doc-1", "doc-7", "nothing"])
def test_a_document_of_others_has_no_likeness(keyed: Keyed, tenant: str, like: str) -> None:
    refused = keyed.ask(tenant, "POST", SEARCH, json={"like": like})
    assert refused.status_code == 404
    assert refused.json()["detail"] == f"Index docs--v0002 has no document '{like}'."
    mine = keyed.ask(tenant, "POST", SEARCH, json={"like": "doc-2", "limit": 100}).json()
    assert {hit["metadata"]["parity"] for hit in mine["hits"]} == {0}


def test_a_batch_and_what_explain_counts_stay_within_the_filter(keyed: Keyed, tenant: str) -> None:
    searches = [{**QUERY, **body, "explain": True} for body in WIDENING.values()]
    searches = [s for s in searches if s.keys().isdisjoint({"index_version", "traffic_key"})]
    answer = keyed.ask(tenant, "POST", f"{SEARCH}/batch", json={"searches": searches})
    assert answer.status_code == 200, answer.text
    total = keyed.ask(tenant, "POST", SEARCH, json={**QUERY, "explain": True}).json()["explain"]
    for one in answer.json()["answers"]:
        assert {hit["metadata"]["parity"] for hit in one["hits"]} <= {0}
        assert one["explain"]["passages"] == total["passages"]
        assert (one["explain"]["matching_filter"] or 0) <= total["passages"]


def test_a_cursor_of_others_does_not_carry_their_filter(keyed: Keyed, tenant: str) -> None:
    free = keyed.key("free", Scope.SEARCH)
    body = {**QUERY, "limit": 5}
    cursor = keyed.ask(free, "POST", SEARCH, json=body).json()["next_cursor"]
    refused = keyed.ask(tenant, "POST", SEARCH, json={**body, "cursor": cursor})
    assert refused.status_code == 422
    own = keyed.ask(tenant, "POST", SEARCH, json=body).json()["next_cursor"]
    page = keyed.ask(tenant, "POST", SEARCH, json={**body, "cursor": own}).json()
    assert {hit["metadata"]["parity"] for hit in page["hits"]} == {0}


def test_feedback_on_a_search_of_others_is_not_found(keyed: Keyed, tenant: str) -> None:
    body = {"search_id": "0" * 32, "document_id": "doc-3"}
    assert keyed.ask(tenant, "POST", "/v1/corpora/docs/feedback", json=body).status_code == 404


def test_feedback_on_a_document_of_others_is_not_found(keyed: Keyed, tenant: str) -> None:
    """Whoever hands an id of a search on must not hand on what it showed."""
    shown = ["doc-2", "doc-3"]
    search = LoggedSearch(new_search_id(), "docs", "red", "hybrid", 2, "live", shown, 1.0)
    keyed.app.state.running.workspace.query_log.write([search])

    def send(key: str, document_id: str) -> Any:
        body = {"search_id": search.id, "document_id": document_id}
        return keyed.ask(key, "POST", "/v1/corpora/docs/feedback", json=body)

    hidden, missing = send(tenant, "doc-3"), send(tenant, "doc-30001")
    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert hidden.json()["detail"] == missing.json()["detail"].replace("doc-30001", "doc-3")
    assert send(tenant, "doc-2").status_code == 204
    assert send(keyed.key("everything"), "doc-3").status_code == 204


def test_the_refusal_names_all_that_is_open_to_a_filter(keyed: Keyed, tenant: str) -> None:
    refused = keyed.ask(tenant, "GET", "/v1/corpora").json()
    for what in ("search", "batches", "embed", "read", "feedback"):
        assert what in refused["detail"]


def test_a_confined_request_is_the_same_in_all_else() -> None:
    caller = Caller(new_key("tenant", [Scope.SEARCH], filter=MINE)[0])
    request = SearchRequest("red", limit=3, offset=4, explain=True, group_by_document=False)
    confined = caller.confined(request)
    assert confined.scope == MINE
    for name in vars(request):
        if name != "scope":
            assert getattr(confined, name) == getattr(request, name)
