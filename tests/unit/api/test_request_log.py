"""Every request has a name and one line, which says nothing of what was asked."""

import asyncio
import logging
import re
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lockstep.api.request_log import RequestLog
from lockstep.corpus.api_key import Scope

from .conftest import Keyed

SEARCH = "/v1/corpora/docs/search"
SECRET_WORDS = "embarrassing words"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, logger="lockstep.access")

    def taken() -> list[dict[str, Any]]:
        found = [vars(r)["fields"] for r in caplog.records if r.name == "lockstep.access"]
        caplog.clear()
        return found

    return taken


def test_a_search_leaves_one_line_without_its_words(
    keyed: Keyed, lines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    key = keyed.key("shop")
    caplog.clear()
    keyed.ask(
        key,
        "POST",
        SEARCH,
        json={"query": SECRET_WORDS},
    )
    assert SECRET_WORDS.split()[0] not in caplog.text
    assert key not in caplog.text
    (line,) = lines()
    assert line.pop("ms") > 0
    assert line == {
        "method": "POST",
        "route": "/v1/corpora/{corpus}/search",
        "status": 200,
        "corpus": "docs",
        "key": "shop",
    }


def test_a_query_string_is_not_logged(
    keyed: Keyed, lines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    key = keyed.key("shop")
    caplog.clear()
    sent = {"q": SECRET_WORDS, "api_key": key}
    assert keyed.ask(key, "POST", SEARCH, json={"query": "red"}, params=sent).status_code == 422
    assert SECRET_WORDS.split()[0] not in caplog.text
    assert key not in caplog.text
    assert len(lines()) == 1


@pytest.mark.parametrize(
    ("method", "url", "route"),
    [
        (
            "GET",
            "/v1/corpora/docs/documents/private%20id",
            "/v1/corpora/{corpus}/documents/{document_id:any}",
        ),
        ("GET", "/nothing/private", "other"),
        ("BREW", "/v1/corpora", "other"),
    ],
)
def test_a_refusal_leaves_a_line_too(
    keyed: Keyed, lines: Any, method: str, url: str, route: str
) -> None:
    keyed.ask(None, method, url)
    (line,) = lines()
    assert (line["status"], line["route"]) == (401, route)
    assert "private" not in str(line)
    assert line["method"] == ("GET" if method == "GET" else "other")


def test_a_corpus_that_cannot_be_one_is_not_logged(client: TestClient, lines: Any) -> None:
    client.get("/v1/corpora/Forged%0aline")
    (line,) = lines()
    assert "corpus" not in line


def test_probes_are_logged_for_those_who_look(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="lockstep.access")
    for path in ("/healthz", "/readyz", "/metrics"):
        client.get(path)
    assert [r for r in caplog.records if r.name == "lockstep.access"] == []


@pytest.mark.parametrize("given", ["a", "A-b_c.d:e/f+g=", "0" * 128])
def test_a_clients_id_is_taken(client: TestClient, given: str) -> None:
    answer = client.get("/v1/corpora", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "0" * 129, "with space", "new\tline", "é", "<b>"])
def test_else_one_is_made(client: TestClient, given: str | None) -> None:
    headers = [] if given is None else [(b"X-Request-Id", given.encode("latin-1"))]
    answer = client.get("/v1/corpora", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_every_kind_of_answer_carries_it(keyed: Keyed) -> None:
    key = keyed.key("k", Scope.ADMIN)

    @keyed.app.get("/v1/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret")

    asked: dict[tuple[str, str, str | None], int] = {
        ("GET", "/healthz", None): 200,
        ("POST", SEARCH, None): 401,
        ("POST", SEARCH, key): 415,
        ("GET", "/v1/corpora/none", key): 404,
        ("PUT", SEARCH, key): 405,
        ("GET", "/v1/broken", key): 500,
    }
    for (method, url, sent), status in asked.items():
        answer = keyed.ask(sent, method, url, headers={"X-Request-Id": f"r-{status}"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, f"r-{status}")
        if status >= 400:
            assert answer.json()["request_id"] == f"r-{status}"


def test_what_a_request_does_is_done_in_the_name_of_its_key(
    keyed: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    key = keyed.key("night-shift", Scope.WRITE)
    url = "/v1/corpora/docs/documents"
    keyed.ask(key, "POST", url, json={"documents": [{"id": "audited", "text": "short-lived"}]})
    caplog.set_level(logging.INFO, logger="lockstep.audit")
    caplog.clear()
    keyed.ask(key, "DELETE", url, json={"ids": ["audited"]}, headers={"X-Request-Id": "r-9"})

    (record,) = [r for r in caplog.records if r.name == "lockstep.audit"]
    assert vars(record)["fields"] == {
        "action": "delete documents",
        "outcome": "done",
        "actor": "key night-shift",
        "corpus": "docs",
        "target": "1 documents",
        "request_id": "r-9",
    }


def test_who_hangs_up_before_an_answer_leaves_a_line_of_its_own(lines: Any) -> None:
    async def unanswered(*_: Any) -> None:
        return

    app = SimpleNamespace(state=SimpleNamespace(routes=[]))
    scope = {"type": "http", "method": "POST", "path": SEARCH, "headers": [], "app": app}
    asyncio.run(RequestLog(unanswered)(scope, unanswered, unanswered))  # type: ignore[arg-type]
    (line,) = lines()
    assert line["status"] == 499
