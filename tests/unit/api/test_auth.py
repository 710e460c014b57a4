"""Who gets in: keys, scopes, corpora, limits, and pages of other sites."""

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from lockstep.api.auth import OPEN_PATHS, is_loopback, is_own_name, require_safe
from lockstep.api.key_ring import KeyRing
from lockstep.api.problems import MEDIA_TYPE
from lockstep.corpus.api_key import Scope
from lockstep.corpus.api_keys import KeysInUse
from lockstep.errors import DatabaseUnavailable, InvalidSetting
from lockstep.settings import SecuritySettings, Settings

from .conftest import Keyed, KeyedApp

SEARCH = "/v1/corpora/docs/search"
DOCUMENTS = "/v1/corpora/docs/documents"
QUERY = {"query": "red river stone"}

# One request to each route, which a caller who may gets further with: what it is answered then.
ROUTES: dict[tuple[str, str], tuple[Scope, Any, int]] = {
    ("POST", SEARCH): (Scope.SEARCH, QUERY, 200),
    ("POST", "/v1/corpora/docs/feedback"): (
        Scope.SEARCH,
        {"search_id": "none", "document_id": "d"},
        404,
    ),
    ("GET", f"{DOCUMENTS}/doc-1"): (Scope.SEARCH, None, 200),
    ("GET", "/v1/corpora"): (Scope.SEARCH, None, 200),
    ("GET", "/v1/corpora/docs"): (Scope.SEARCH, None, 200),
    ("GET", "/v1/corpora/docs/versions"): (Scope.SEARCH, None, 200),
    ("POST", DOCUMENTS): (Scope.WRITE, {"documents": []}, 422),
    ("DELETE", DOCUMENTS): (Scope.WRITE, {"ids": ["none"]}, 200),
    ("POST", "/v1/corpora/docs/promote"): (Scope.ADMIN, {"version": 99}, 404),
    ("POST", "/v1/corpora/docs/rollback"): (Scope.ADMIN, {"reason": 1}, 422),
    ("GET", "/v1/corpora/docs/rollouts"): (Scope.ADMIN, None, 200),
    ("POST", "/v1/corpora/docs/trial"): (Scope.ADMIN, {"version": 99}, 422),
    ("GET", "/v1/corpora/docs/trial"): (Scope.ADMIN, None, 404),
    ("DELETE", "/v1/corpora/docs/trial"): (Scope.ADMIN, None, 404),
    ("GET", "/metrics"): (Scope.METRICS, None, 200),
}


def send(keyed: Keyed, key: str | None, route: tuple[str, str], body: Any = None) -> int:
    method, url = route
    return keyed.ask(key, method, url, json=body).status_code


@pytest.mark.parametrize("scope", Scope)
def test_each_scope_opens_its_routes_and_no_other(keyed: Keyed, scope: Scope) -> None:
    key = keyed.key("k", scope)

    statuses = {route: send(keyed, key, route, body) for route, (_, body, _) in ROUTES.items()}

    opens = {wanted: scope in (wanted, Scope.ADMIN) for wanted in Scope}
    assert statuses == {
        route: expected if opens[wanted] else 403 for route, (wanted, _, expected) in ROUTES.items()
    }


def _routes(app: FastAPI) -> list[APIRoute]:
    def under(routes: list[BaseRoute]) -> list[APIRoute]:
        found = []
        for route in routes:
            if isinstance(route, APIRoute):
                found.append(route)
            else:
                found.extend(under(getattr(getattr(route, "original_router", route), "routes", [])))
        return found

    return under(app.routes)


def _asks_for_a_scope(dependant: Dependant) -> bool:
    return any(
        getattr(each.call, "__qualname__", "").startswith("needs.") or _asks_for_a_scope(each)
        for each in dependant.dependencies
    )


def test_no_route_is_left_without_a_scope(keyed: Keyed) -> None:
    routes = _routes(keyed.app)
    assert len(routes) > len(ROUTES)

    unguarded = {route.path for route in routes if not _asks_for_a_scope(route.dependant)}

    assert unguarded == {"/healthz", "/readyz"}


def test_without_a_key_only_what_is_open_answers(keyed: Keyed) -> None:
    assert {send(keyed, None, route, body) for route, (_, body, _) in ROUTES.items()} == {401}
    assert {keyed.ask(None, "GET", path).status_code for path in OPEN_PATHS} == {200}
    for path in ("/", "/v1", "/nothing", "/docs/", "/healthz/", "/metrics/", "//healthz"):
        assert keyed.ask(None, "GET", path).status_code == 401


def _refusals(keyed: Keyed) -> dict[str, dict[str, str]]:
    known = keyed.key("known")
    gone = keyed.key("gone")
    keyed.revoke("gone")
    bearer = "Bearer "
    return {
        "missing": {},
        "no key": {"Authorization": bearer + "abc"},
        "unknown": {"Authorization": bearer + known[:17] + "0" * 64},
        "revoked": {"Authorization": bearer + gone},
        "basic": {"Authorization": "Basic " + "QTpC"},
        "two": {"Authorization": bearer + known, "X-Api-Key": gone},
        "cut": {"Authorization": bearer + known[:-1]},
        "too long": {"X-Api-Key": "lsk_" + "0" * 5000},
        "empty": {"X-Api-Key": ""},
        "of a cookie": {"Cookie": f"api_key={known}; Authorization={known}"},
        "overridden": {"X-Original-URL": "/healthz", "X-Forwarded-For": "127.0.0.1"},
    }


def test_every_refusal_is_the_same_word_for_word(keyed: Keyed) -> None:
    answers = {
        case: keyed.http.post(SEARCH, json=QUERY, headers={**headers, "X-Request-Id": "same"})
        for case, headers in _refusals(keyed).items()
    }

    assert {case: answer.status_code for case, answer in answers.items()} == dict.fromkeys(
        answers, 401
    )
    assert len({answer.text for answer in answers.values()}) == 1
    one = answers["missing"]
    assert one.headers["www-authenticate"] == 'Bearer realm="lockstep"'
    assert one.headers["content-type"] == MEDIA_TYPE
    assert one.json()["type"] == "urn:lockstep:problem:key-required"


def test_a_key_in_the_url_is_none(keyed: Keyed) -> None:
    key = keyed.key("k")
    for name in ("api_key", "key", "authorization", "x-api-key", "access_token"):
        assert keyed.http.post(SEARCH, params={name: key}, json=QUERY).status_code == 401


@pytest.mark.parametrize(
    "header", [("Authorization", "Bearer "), ("authorization", "bearer  "), ("X-API-KEY", "")]
)
def test_a_key_is_taken_from_either_header(keyed: Keyed, header: tuple[str, str]) -> None:
    name, before = header
    key = keyed.key("k")
    answer = keyed.http.post(SEARCH, json=QUERY, headers={name: before + key})
    assert answer.status_code == 200


def test_credentials_for_a_proxy_stand_beside_a_key(keyed: Keyed) -> None:
    headers = {"Authorization": "Basic QTpC", "X-Api-Key": keyed.key("k")}
    assert keyed.http.post(SEARCH, json=QUERY, headers=headers).status_code == 200


def test_who_is_refused_is_refused_before_the_body_is_read(keyed: Keyed) -> None:
    for content in (b"{", bytes(1 << 21), b"[" * 100_000):
        assert keyed.http.post(SEARCH, content=content).status_code == 401


def test_a_corpus_out_of_reach_may_exist_or_not(keyed: Keyed) -> None:
    key = keyed.key("k", Scope.ADMIN, corpora=["elsewhere"])
    for (method, url), (_, body, _) in ROUTES.items():
        if "/docs" not in url:
            continue
        there = keyed.ask(key, method, url, json=body, headers={"X-Request-Id": "same"})
        missing = keyed.ask(
            key,
            method,
            url.replace("/docs", "/nope"),
            json=body,
            headers={"X-Request-Id": "same"},
        )
        assert (there.status_code, missing.status_code) == (403, 403), url
        assert there.text.replace("docs", "nope") == missing.text
    assert keyed.ask(key, "GET", "/v1/corpora").json() == {"corpora": []}
    assert keyed.ask(key, "GET", "/metrics").status_code == 403  # they name every corpus
    assert keyed.ask(key, "GET", "/readyz").json() == {"corpora": []}


def test_a_writer_cannot_make_a_corpus_out_of_reach(keyed: Keyed) -> None:
    key = keyed.key("k", Scope.WRITE, corpora=["docs"])
    body = {"documents": [{"id": "a", "text": "a"}]}
    assert keyed.ask(key, "POST", "/v1/corpora/other/documents", json=body).status_code == 403
    search = keyed.key("s")
    names = [one["name"] for one in keyed.ask(search, "GET", "/v1/corpora").json()["corpora"]]
    assert "other" not in names


def test_health_tells_strangers_nothing_and_those_who_watch_everything(keyed: Keyed) -> None:
    def corpora(key: str | None) -> Any:
        answer = keyed.ask(key, "GET", "/readyz")
        assert answer.status_code == 200
        return answer.json()["corpora"]

    assert corpora(None) == corpora("lsk_nonsense") == corpora(keyed.key("s")) == []
    assert corpora(keyed.key("m", Scope.METRICS))[0]["corpus"] == "docs"
    assert corpora(keyed.key("a", Scope.ADMIN))[0]["corpus"] == "docs"
    some = keyed.key("some", Scope.ADMIN, corpora=["elsewhere"])
    assert corpora(some) == []


def test_metrics_can_be_opened(keyed_app: KeyedApp) -> None:
    keyed = keyed_app(open_metrics=True)
    assert keyed.ask(None, "GET", "/metrics").status_code == 200
    assert keyed.ask(None, "GET", "/v1/corpora").status_code == 401


def test_the_rate_of_a_key_is_held_and_said(keyed_app: KeyedApp) -> None:
    keyed = keyed_app(rate_per_s=0.01, rate_burst_s=200)
    slow, fast = keyed.key("slow"), keyed.key("fast", rate_per_s=0)

    answers = [keyed.ask(slow, "GET", "/v1/corpora") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert refused.headers["content-type"] == MEDIA_TYPE
    assert refused.json()["title"] == "Rate limited"
    assert keyed.ask(slow, "GET", "/healthz").status_code == 200
    assert {keyed.ask(fast, "GET", "/v1/corpora").status_code for _ in range(9)} == {200}


def test_each_search_of_a_batch_counts(keyed_app: KeyedApp) -> None:
    keyed = keyed_app(rate_per_s=0.01, rate_burst_s=1_000)  # ten at once
    key = keyed.key("k")

    batch = keyed.ask(key, "POST", f"{SEARCH}/batch", json={"searches": [QUERY] * 9})
    answers = [keyed.ask(key, "POST", SEARCH, json=QUERY).status_code for _ in range(2)]

    assert (batch.status_code, answers) == (200, [200, 429])


def test_each_text_that_is_embedded_counts(keyed_app: KeyedApp) -> None:
    keyed = keyed_app(rate_per_s=0.01, rate_burst_s=1_000)  # ten at once
    key = keyed.key("k")

    def status(texts: Any) -> int:
        body = {"model": "docs", "input": texts}
        return keyed.ask(key, "POST", "/v1/embeddings", json=body).status_code

    assert [status(["red"] * 8), status("red"), status(["red"] * 2), status("red")] == [
        *(200, 200, 200, 429),
    ]


class Silent(KeyRing):
    """A ring whose database has been away for too long."""

    def find(self, presented: str) -> Any:
        raise DatabaseUnavailable("The database has not answered.")


def test_keys_that_cannot_be_checked_are_503_and_health_goes_on(keyed: Keyed) -> None:
    key = keyed.key("k")
    keyed.app.state.running.__dict__["keys"] = Silent(keyed.keys.in_use)
    answer = keyed.ask(key, "POST", SEARCH, json=QUERY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert keyed.ask(key, "GET", "/healthz").status_code == 200


def test_auto_is_open_until_the_first_key_and_stays_closed_after_the_last(
    keyed_app: KeyedApp,
) -> None:
    keyed = keyed_app(require_key="auto")
    assert keyed.ask(None, "POST", SEARCH, json=QUERY).status_code == 200
    assert keyed.ask("not-ours", "POST", SEARCH, json=QUERY).status_code == 200
    assert keyed.ask("lsk_unknown", "POST", SEARCH, json=QUERY).status_code == 401
    keyed.key("first")
    assert keyed.ask(None, "POST", SEARCH, json=QUERY).status_code == 401
    keyed.revoke("first")
    assert keyed.ask(None, "POST", SEARCH, json=QUERY).status_code == 401


def test_false_lets_everybody_in_but_holds_a_key_to_what_it_is(keyed_app: KeyedApp) -> None:
    keyed = keyed_app(require_key=False)
    key = keyed.key("k")
    assert keyed.ask(None, "GET", "/v1/corpora/docs/rollouts").status_code == 200
    assert keyed.ask(key, "GET", "/v1/corpora/docs/rollouts").status_code == 403


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_page_of_another_site_cannot_use_an_open_server(keyed_app: KeyedApp, method: str) -> None:
    keyed = keyed_app(require_key=False, cors_origins=("https://shop.example",))
    url = "/v1/corpora/docs/rollback" if method == "POST" else "/v1/corpora"

    def status(origin: str) -> int:
        return keyed.ask(
            None, method, url, headers={"Origin": origin}, json={"reason": 1}
        ).status_code

    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "x"):
        assert status(origin) == 403
    allowed = 422 if method == "POST" else 200
    assert status("http://localhost") == status("https://shop.example") == allowed


REBOUND = {"Host": "evil.example:7333", "Origin": "http://evil.example:7333"}


def test_a_page_whose_name_leads_to_this_machine_cannot_use_an_open_server(
    keyed_app: KeyedApp,
) -> None:
    """To a browser it is one site before and after its name changed its address."""
    keyed = keyed_app(require_key=False)
    key = keyed.key("k", Scope.WRITE)

    deleted = keyed.ask(None, "DELETE", DOCUMENTS, headers=REBOUND, json={"ids": ["none"]})
    read = keyed.ask(None, "GET", "/v1/corpora", headers={"Host": "evil.example"})

    assert (deleted.status_code, read.status_code) == (403, 403)
    assert "'evil.example'" in read.json()["detail"]
    assert "trusted_hosts" in read.json()["next_step"]
    assert keyed.ask(None, "GET", "/healthz", headers=REBOUND).status_code == 200
    with_key = keyed.ask(key, "DELETE", DOCUMENTS, headers=REBOUND, json={"ids": ["none"]})
    assert with_key.status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:7333", 200),
        ("127.0.0.1:7333", 200),
        ("127.8.0.1", 200),
        ("[::1]:7333", 200),
        ("10.0.0.7:7333", 200),  # only names can be made to lead somewhere else
        ("Search.Example:80", 200),
        ("other.search.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example", 403),
        ("[evil.example]", 403),
        ("", 403),
        ("\xe4", 403),
    ],
)
def test_an_open_server_answers_to_names_that_it_is_known_by(
    keyed_app: KeyedApp, host: str, expected: int
) -> None:
    keyed = keyed_app(require_key=False, trusted_hosts=("search.example",))
    headers = {"Host": host.encode("latin-1")}
    assert keyed.ask(None, "GET", "/v1/corpora", headers=headers).status_code == expected


def test_an_open_server_answers_to_the_name_that_it_listens_on() -> None:
    assert is_own_name("search.lan:7333", "search.lan", ())
    assert not is_own_name("search.lan:7333", "0.0.0.0", ())


@pytest.mark.parametrize("host", ["*", "search.example:80", "http://search.example", "a/b", ""])
def test_a_trusted_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="trusted_hosts"):
        SecuritySettings(trusted_hosts=(host,))


def test_cors_is_off_by_default_and_on_for_those_named(keyed_app: KeyedApp) -> None:
    def preflight(keyed: Keyed, origin: str) -> Any:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        return keyed.http.options(SEARCH, headers=asked)

    closed = keyed_app()
    assert preflight(closed, "https://shop.example").status_code == 401
    named = keyed_app(cors_origins=("https://shop.example",))
    assert preflight(named, "https://shop.example").status_code == 200
    other = preflight(named, "https://evil.example")
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers
    refused = named.ask(None, "POST", SEARCH, headers={"Origin": "https://shop.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize("origin", ["*", "shop.example", "https://a/b", "https://*.example", ""])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="cors_origins"):
        SecuritySettings(cors_origins=(origin,))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_what_others_can_reach(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def _settings(host: str, require_key: Any) -> Settings:
    security = SecuritySettings(require_key=require_key)
    return Settings.model_construct(host=host, security=security)


def test_a_server_that_others_can_reach_does_not_start_without_a_key(keyed: Keyed) -> None:
    with pytest.raises(InvalidSetting, match=r"Host '0\.0\.0\.0'.*no API key") as refused:
        require_safe(_settings("0.0.0.0", "auto"), keyed.ring)
    assert "lockstep key create" in refused.value.next_step
    for host, choice in (("127.0.0.1", "auto"), ("0.0.0.0", True), ("0.0.0.0", False)):
        require_safe(_settings(host, choice), keyed.ring)
    keyed.key("k")
    require_safe(_settings("0.0.0.0", "auto"), keyed.ring)


def test_the_app_that_others_can_reach_asks_for_keys_before_there_is_one(
    client: TestClient,
) -> None:
    from dataclasses import replace

    from lockstep.api.app import create_app

    running = client.app.state.running  # type: ignore[attr-defined]
    settings = running.workspace.settings.model_copy(update={"host": "0.0.0.0"})
    app = create_app(settings)
    app.state.running = replace(running, keys=KeyRing(lambda _: KeysInUse([], (0, 0))))
    assert TestClient(app).post(SEARCH, json=QUERY).status_code == 401


def test_denied_attempts_to_change_something_leave_an_audit_line(
    keyed: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    key = keyed.key("shop")
    with caplog.at_level(logging.INFO, logger="lockstep.audit"):
        keyed.ask(key, "POST", "/v1/corpora/docs/promote", headers={"X-Request-Id": "r-1"})
    audited = [vars(r)["fields"] for r in caplog.records if r.name == "lockstep.audit"]
    (denied,) = [fields for fields in audited if fields["outcome"] == "denied"]
    assert denied == {
        "action": "use of admin",
        "outcome": "denied",
        "actor": "key shop",
        "corpus": "docs",
        "request_id": "r-1",
    }
