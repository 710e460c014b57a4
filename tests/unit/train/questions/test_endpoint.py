"""The chat endpoint, against a real HTTP server that behaves as badly as servers do."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Cut, Hang, Reply, ScriptedServer

from lockstep.errors import ChatUnavailable, InvalidInput, InvalidSetting, LockstepError
from lockstep_indexer.train.questions.asking import Asked, Asker
from lockstep_indexer.train.questions.budget import Budget, estimated_tokens
from lockstep_indexer.train.questions.cache import AnswerCache
from lockstep_indexer.train.questions.endpoint import Answer, ChatEndpoint, SpendCapReached
from lockstep_indexer.train.questions.prompt import Prompt

KEY = "sk-very-secret"
TWO = Prompt(count=2)


def said(text: str, *, usage: Any = None, finish: str = "stop") -> Reply:
    """A chat completion; without `usage`, of an endpoint that does not count."""
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"message": message, "finish_reason": finish}]}
    return Reply(body=body if usage is None else {**body, "usage": usage})


def questions(*texts: str) -> str:
    return json.dumps({"questions": texts})


GOOD = said(
    questions("what is a?", "what is b?"), usage={"prompt_tokens": 90, "completion_tokens": 10}
)


def endpoint(url: str, **more: Any) -> ChatEndpoint:
    return ChatEndpoint(url + "/v1", "llm", KEY, timeout_s=5.0, first_wait_s=0.01, **more)


def budget(requests: int = 100, tokens: int = 1_000_000) -> Budget:
    return Budget(requests, tokens)


def asked(one: ChatEndpoint, spent: Budget) -> Answer:
    async def ask() -> Answer:
        async with one.client() as client:
            return await one.ask(client, "a prompt", spent)

    return asyncio.run(ask())


def test_a_request_is_what_such_endpoints_take() -> None:
    with ScriptedServer(GOOD) as server:
        spent = budget()
        answer = asked(endpoint(server.url), spent)
    [request] = server.requests
    assert request.line.startswith("POST /v1/chat/completions ")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body["messages"] == [{"role": "user", "content": "a prompt"}]
    assert (request.body["model"], request.body["max_tokens"]) == ("llm", 1024)
    assert (answer.prompt_tokens, spent.tokens, spent.estimated, spent.requests) == (90, 100, 0, 1)


def test_half_a_character_in_an_answer_can_be_kept(tmp_path: Path) -> None:
    with ScriptedServer(said("why \ud83d?")) as server:
        answer = asked(endpoint(server.url), budget())
    with AnswerCache(tmp_path / "answers.db") as cache:
        cache.put(TWO, "passage", "llm", answer)
        assert cache.get(TWO, "passage", "llm") == answer


def test_what_may_pass_is_tried_again() -> None:
    """Too many requests, an error, a cut connection, silence, another service's page."""
    steps = (
        Reply(429, {}, {"Retry-After": "0"}),
        Reply(503, "busy"),
        Cut(),
        Hang(),
        Reply(200, "<p>"),
    )
    with ScriptedServer(*steps, GOOD) as server:
        one = endpoint(server.url, attempts=6)
        one.timeout_s = 0.3
        spent = budget()
        assert asked(one, spent).completion_tokens == 10
    assert len(server.requests) == spent.requests == 6


def test_retry_after_is_waited_for_unless_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    later = datetime.now(UTC)
    headers = {
        "7": (7.0, 7.1),
        "soon": (0.0, 0.1),
        format_datetime(later + timedelta(seconds=60)): (50.0, 61.0),
    }
    for header, (least, most) in headers.items():
        busy = Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": header})
        with ScriptedServer(busy, GOOD) as server, monkeypatch.context() as patched:
            patched.setattr("lockstep_indexer.train.questions.endpoint.sleep", sleep)
            asked(endpoint(server.url), budget())
        assert least <= waits[-1] <= most
    for header in ("900", format_datetime(later + timedelta(seconds=900))):
        busy = Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": header})
        with ScriptedServer(busy) as server:
            with pytest.raises(ChatUnavailable, match="429 slow down"):
                asked(endpoint(server.url), budget())
            assert len(server.requests) == 1


def test_what_will_not_pass_is_said_at_once_and_without_the_key() -> None:
    refusals: list[tuple[int, type[LockstepError], str]] = [
        (401, InvalidSetting, "refuses the API key"),
        (403, InvalidSetting, "refuses the API key"),
        (404, InvalidSetting, "knows no such address or model 'llm'"),
    ]
    for status, kind, words in refusals:
        body = {"error": {"message": f"no {KEY}"}}
        with ScriptedServer(Reply(status, body)) as server:
            with pytest.raises(kind, match=words) as caught:
                asked(endpoint(server.url), budget())
            assert len(server.requests) == 1
            assert KEY not in str(caught.value)
            assert "***" in str(caught.value)
    with pytest.raises(ChatUnavailable, match="does not answer"):
        asked(endpoint(server.url, attempts=2), budget())  # it is gone by now
    assert KEY not in repr(endpoint(server.url))


@pytest.mark.parametrize(
    ("url", "model", "words"),
    [
        ("", "llm", "URL is none"),
        ("ftp://x", "llm", "URL is none"),
        ("http://x", "", "No language"),
    ],
)
def test_settings_that_name_no_endpoint_are_refused(url: str, model: str, words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        ChatEndpoint(url, model)


def test_an_endpoint_that_takes_another_limit_gets_it() -> None:
    other = Reply(400, {"error": {"message": "use 'max_completion_tokens' instead"}})
    with ScriptedServer(other, GOOD) as server:
        asked(endpoint(server.url), budget())
    assert "max_completion_tokens" in server.requests[1].body
    assert "max_tokens" not in server.requests[1].body


def test_a_budget_is_never_passed() -> None:
    with ScriptedServer(said("x" * 400)) as server:
        few = budget(requests=2)
        asked(endpoint(server.url), few)
        asked(endpoint(server.url), few)
        with pytest.raises(SpendCapReached):
            asked(endpoint(server.url), few)
        assert (few.reached, few.estimated, few.tokens) == ("2 requests", few.tokens, 2 * 104)
        assert few.tokens == 2 * (estimated_tokens("a prompt") + estimated_tokens("x" * 400))
        poor = budget(tokens=1000)
        with pytest.raises(SpendCapReached):
            asked(endpoint(server.url), poor)  # it could answer with 1,024
        assert (poor.reached, poor.requests) == ("1,000 tokens", 0)
    assert len(server.requests) == 2
    with pytest.raises(InvalidInput, match="max_tokens is 0"):
        Budget(1, 0)


def ask(
    server: ScriptedServer, folder: Path, passages: list[str], spent: Budget, concurrency: int = 3
) -> Asked:
    with AnswerCache(folder / "answers.db") as cache:
        return Asker(endpoint(server.url), cache, TWO, spent, concurrency).ask(passages)


def test_answers_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    with ScriptedServer(GOOD) as server:
        first = ask(server, tmp_path, ["one", "two"], budget(requests=1))
        assert len(first.answers) == 1
        again = ask(server, tmp_path, ["one", "two", "three"], budget())
        assert (len(again.answers), again.cached) == (3, 1)
        assert len(server.requests) == 3
        assert ask(server, tmp_path, ["one", "two", "three"], budget()).cached == 3
        assert len(server.requests) == 3


def test_nonsense_is_asked_for_once_more_and_then_kept_as_it_is(tmp_path: Path) -> None:
    with ScriptedServer(said("I cannot do that.")) as server:
        found = ask(server, tmp_path, ["one"], budget())
        assert (len(server.requests), found.answers[0].text) == (2, "I cannot do that.")
    with ScriptedServer(said("Well."), GOOD) as server:
        found = ask(server, tmp_path, ["another"], budget())
        assert found.answers[0].text == questions("what is a?", "what is b?")


def test_one_refused_passage_stops_nothing_and_many_do(tmp_path: Path) -> None:
    refused = Reply(400, {"error": {"message": "too long"}})
    with ScriptedServer(refused, GOOD) as server:
        found = ask(server, tmp_path, ["one", "two", "three"], budget())
        assert (found.refused, len(found.answers)) == (1, 2)
    with (
        ScriptedServer(refused) as server,
        pytest.raises(ChatUnavailable, match="refused 5 passages and answered none: 400 too"),
    ):
        ask(server, tmp_path, [f"passage {n}" for n in range(9)], budget())


def test_a_failure_in_mid_run_keeps_what_was_answered(tmp_path: Path) -> None:
    passages = [f"passage {n}" for n in range(9)]
    with (
        ScriptedServer(GOOD, GOOD, Reply(401, {"error": "revoked"})) as server,
        pytest.raises(InvalidSetting, match="revoked"),
    ):
        ask(server, tmp_path, passages, budget(), concurrency=1)
    with ScriptedServer(GOOD) as server:
        assert ask(server, tmp_path, passages, budget()).cached == 2
