"""What is tried again, what is not, and when it is enough."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from scripted_server import Cut, Hang, Reply, ScriptedServer

from lockstep.client import ApiError, Client, ServerBusy, ServerUnreachable
from lockstep.errors import Unavailable

from .conftest import ANSWER, Ask

FOUND = Reply(body=ANSWER)
SWAP_FAILED = Reply(500, {"status": 500, "title": "No", "detail": "No."})


def busy(retry_after: str, status: int = 503) -> Reply:
    problem = {"status": status, "title": "Busy", "detail": "Not now."}
    return Reply(status, problem, {"Retry-After": retry_after})


@pytest.mark.parametrize("status", [429, 503])
def test_what_is_refused_for_now_is_asked_again(ask: Ask, status: int) -> None:
    with ScriptedServer(busy("0", status), busy("0", status), FOUND) as server:
        assert ask(server.url).hits[0].document_id == "a"
    assert len(server.requests) == 3
    assert {request.body["query"] for request in server.requests} == {"tea"}


def test_the_wait_is_what_the_server_asks_for_and_a_little_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("lockstep.client.retries._LONGEST_WAIT_S", 5.0)
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    with (
        ScriptedServer(busy("7"), busy(in_an_hour), busy("soon"), FOUND) as server,
        Client(server.url, timeout_s=10_000) as client,
    ):
        client.search("docs", "tea")
    numbered, dated, unreadable = waits
    assert 7 <= numbered < 8
    assert 3590 < dated < 3602
    assert 0 <= unreadable < 2
    assert numbered != 7  # spread


def test_a_wait_beyond_the_deadline_is_not_begun(ask: Ask) -> None:
    with ScriptedServer(busy("3600")) as server, pytest.raises(ServerBusy) as raised:
        ask(server.url)
    assert len(server.requests) == 1
    assert raised.value.retry_after_s == 3600


def test_after_the_last_retry_the_problem_is_told(ask: Ask) -> None:
    with ScriptedServer(busy("0")) as server, pytest.raises(ServerBusy, match=r"Not now\."):
        ask(server.url, retries=2)
    assert len(server.requests) == 3


def test_a_server_that_says_nothing_is_given_up(ask: Ask) -> None:
    with (
        ScriptedServer(Hang()) as server,
        pytest.raises(ServerUnreachable, match=r"timed out|too long"),
    ):
        ask(server.url, timeout_s=0.3)
    assert len(server.requests) == 1


def test_a_cut_connection_is_tried_again_where_twice_does_no_harm(ask: Ask) -> None:
    with ScriptedServer(Cut(), FOUND) as server:
        assert ask(server.url).hits
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["promote", "rollback"])
@pytest.mark.parametrize("trouble", [Cut(), busy("0")], ids=["cut", "503"])
def test_a_swap_that_may_have_begun_is_not_repeated(
    ask: Ask, method: str, trouble: Reply | Cut
) -> None:
    with (
        ScriptedServer(trouble, SWAP_FAILED) as server,
        pytest.raises((ServerUnreachable, ServerBusy)) as raised,
    ):
        ask(server.url, method, "docs")
    assert len(server.requests) == 1
    assert getattr(raised.value, "maybe_taken", True)


def test_a_swap_that_was_refused_unseen_is_repeated(ask: Ask) -> None:
    with ScriptedServer(busy("0", 429), SWAP_FAILED) as server, pytest.raises(ApiError) as raised:
        ask(server.url, "rollback", "docs")
    assert (len(server.requests), raised.value.status) == (2, 500)


def test_a_swap_that_never_left_is_repeated() -> None:
    tried = []

    def send(request: httpx.Request) -> httpx.Response:
        tried.append(request)
        if len(tried) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(500, json=SWAP_FAILED.body)

    with (
        Client("http://nowhere.test", transport=httpx.MockTransport(send)) as client,
        pytest.raises(ApiError),
    ):
        client.rollback("docs")
    assert len(tried) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 502, 507])
def test_all_else_is_final(ask: Ask, status: int) -> None:
    with ScriptedServer(Reply(status, {"status": status, "title": "No"})) as server:
        with pytest.raises(ApiError) as raised:
            ask(server.url)
        assert raised.value.status == status
    assert len(server.requests) == 1


def test_the_deadline_holds_for_all_attempts_together(ask: Ask) -> None:
    # The last attempt may get an answer, or run out of time.
    with ScriptedServer(busy("0")) as server, pytest.raises(Unavailable):
        ask(server.url, timeout_s=0.5, retries=1000)
    assert 1 <= len(server.requests) < 500


def test_an_attempt_gets_what_is_left_of_the_call() -> None:
    given: list[float] = []

    def send(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"]["read"])
        return httpx.Response(503, json={"status": 503, "title": "Busy"})

    with (
        Client("http://a.test", timeout_s=3, retries=1, transport=httpx.MockTransport(send)) as (
            client
        ),
        pytest.raises(ServerBusy),
    ):
        client.corpora()
    first, second = given
    assert 0 < second < first <= 3
