"""What a client raises, and what it keeps to itself."""

import pickle

import pytest
from scripted_server import Reply, ScriptedServer

from lockstep import errors
from lockstep.client import (
    AccessRefused,
    ApiError,
    AsyncClient,
    Client,
    Conflicting,
    Missing,
    RequestInvalid,
    UnexpectedAnswer,
)

from .conftest import ANSWER, Ask

PROBLEM = {
    "type": "urn:lockstep:problem:corpus-not-found",
    "title": "Corpus not found",
    "status": 404,
    "detail": "There is no corpus 'dcos'.",
    "next_step": "See which there are: lockstep status",
    "request_id": "r-1",
    "invented_later": [1],
}


def test_an_error_carries_the_problem_details(ask: Ask) -> None:
    with ScriptedServer(Reply(404, PROBLEM)) as server, pytest.raises(Missing) as raised:
        ask(server.url)
    error = raised.value
    assert (error.status, error.title) == (404, "Corpus not found")
    assert (error.detail, error.next_step) == (PROBLEM["detail"], PROBLEM["next_step"])
    assert error.request_id == "r-1"
    assert error.problem.model_extra == {"invented_later": [1]}
    assert str(error) == "There is no corpus 'dcos'. See which there are: lockstep status"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.problem) == (Missing, error.problem)


@pytest.mark.parametrize(
    ("status", "kind", "core"),
    [
        (401, AccessRefused, errors.AccessDenied),
        (403, AccessRefused, errors.AccessDenied),
        (409, Conflicting, errors.Conflict),
        (413, RequestInvalid, errors.InvalidInput),
        (422, RequestInvalid, errors.InvalidInput),
        (500, ApiError, errors.LockstepError),
    ],
)
def test_the_status_decides_the_class(
    status: int, kind: type[ApiError], core: type[Exception]
) -> None:
    with (
        ScriptedServer(Reply(status, {"status": status, "title": "No"})) as server,
        Client(server.url) as client,
        pytest.raises(core) as raised,
    ):
        client.corpora()
    assert type(raised.value) is kind


def test_what_is_no_problem_is_told_by_its_status(ask: Ask) -> None:
    page = Reply(502, "<html>", {"Content-Type": "text/html", "X-Request-Id": "proxy-9"})
    with (
        ScriptedServer(page) as server,
        pytest.raises(ApiError, match="502 with text/html") as raised,
    ):
        ask(server.url)
    assert (raised.value.status, raised.value.request_id) == (502, "proxy-9")


@pytest.mark.parametrize("body", ["<html>", "[]", '{"hits": []}', ""])
def test_another_server_is_found_out(ask: Ask, body: str) -> None:
    with ScriptedServer(Reply(200, body)) as server, pytest.raises(UnexpectedAnswer) as raised:
        ask(server.url)
    assert "POST /v1/corpora/docs/search" in str(raised.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_cannot_work_is_refused_at_once(kind: type[Client] | type[AsyncClient]) -> None:
    for url in ("localhost:7333", "ftp://a", "http://", "http://a:b", ""):
        with pytest.raises(errors.InvalidInput, match="no address"):
            kind(url)
    with pytest.raises(errors.InvalidInput, match="API key") as raised:
        kind("http://a", "lsk_secret\n")
    assert "secret" not in str(raised.value)
    with pytest.raises(errors.InvalidInput, match="timeout_s is 0"):
        kind("http://a", timeout_s=0)


def test_the_key_is_sent_and_not_shown() -> None:
    with ScriptedServer(Reply(body=ANSWER)) as server, Client(server.url, "lsk_secret") as client:
        client.search("docs", "tea")
    assert "secret" not in repr(vars(client))
    assert server.requests[0].headers["Authorization"] == "Bearer lsk_secret"
