"""Admission: turns in order, refusals at once, callers that hang up."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from lockstep.api.admission import Admission, Line
from lockstep.api.limits import PLAIN_BODY_BYTES
from lockstep.errors import Overloaded

Message = MutableMapping[str, Any]
PATH = "/v1/corpora/docs/search"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Caller:
    """One request: what it sends, and what it is answered."""

    def __init__(self, path: str = PATH, body: bytes = b"{}", *, whole: bool = True) -> None:
        self.scope = {"type": "http", "path": path}
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.answered = anyio.Event()
        self._sends, self._hears = anyio.create_memory_object_stream[Message](10)
        self._sends.send_nowait({"type": "http.request", "body": body, "more_body": not whole})

    def hang_up(self) -> None:
        self._sends.send_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._hears.receive()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            self.answered.set()

    def close(self) -> None:
        self._sends.close()
        self._hears.close()


class App:
    """Answers when it is told to, with what it has heard."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.go_on = anyio.Event()

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.bodies.append((await receive())["body"])
        await self.go_on.wait()
        if self.bodies[-1] == b"broken":
            raise ValueError("broken")
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def settled() -> None:
    await anyio.wait_all_tasks_blocked()


async def test_turns_are_taken_in_order_and_bodies_arrive_whole() -> None:
    app, line = App(), Line(places=1, max_wait_s=60)
    admission = Admission(app, line)
    callers = [Caller(body=str(number).encode()) for number in range(3)]
    async with anyio.create_task_group() as group:
        for caller in callers:
            group.start_soon(admission, caller.scope, caller.receive, caller.send)
            await settled()
        assert (app.bodies, line.busy, line.waiting) == ([b"0"], 1, 2)
        app.go_on.set()
    assert app.bodies == [b"0", b"1", b"2"]
    assert [caller.status for caller in callers] == [200, 200, 200]
    assert (line.busy, line.waiting) == (0, 0)
    for caller in callers:
        caller.close()


async def test_who_would_wait_too_long_is_refused_at_once() -> None:
    app, line = App(), Line(places=1, max_wait_s=0.0)
    admission = Admission(app, line)
    first, second, elsewhere = Caller(), Caller(), Caller("/healthz")
    async with anyio.create_task_group() as group:
        group.start_soon(admission, first.scope, first.receive, first.send)
        await settled()
        await admission(second.scope, second.receive, second.send)
        assert second.status == 503
        assert second.headers[b"retry-after"] == b"1"
        group.start_soon(admission, elsewhere.scope, elsewhere.receive, elsewhere.send)
        await settled()
        assert len(app.bodies) == 2  # what costs little never waits
        app.go_on.set()
    for caller in (first, second, elsewhere):
        caller.close()


async def test_a_body_that_does_not_come_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockstep.api.admission.BODY_WAIT_S", 0.2)
    app, line = App(), Line(places=1, max_wait_s=60)
    admission = Admission(app, line)
    app.go_on.set()
    slow, gone, whole = Caller(whole=False), Caller(whole=False), Caller()
    async with anyio.create_task_group() as group:
        for caller in (slow, gone):
            group.start_soon(admission, caller.scope, caller.receive, caller.send)
        await settled()
        assert line.busy == 0
        await admission(whole.scope, whole.receive, whole.send)
        gone.hang_up()
    assert (slow.status, gone.status, whole.status) == (408, None, 200)
    assert slow.headers[b"connection"] == b"close"
    assert app.bodies == [b"{}"]
    for caller in (slow, gone, whole):
        caller.close()


async def test_a_body_larger_than_any_may_be_is_the_limits_to_refuse() -> None:
    app, line = App(), Line(places=1, max_wait_s=60)
    app.go_on.set()
    caller = Caller(body=b" " * (PLAIN_BODY_BYTES + 1), whole=False)
    await Admission(app, line)(caller.scope, caller.receive, caller.send)
    assert [len(body) for body in app.bodies] == [PLAIN_BODY_BYTES + 1]
    caller.close()


async def test_nobody_waits_longer_than_is_allowed_whatever_was_expected() -> None:
    app, line = App(), Line(places=1, max_wait_s=0.2)
    admission = Admission(app, line)
    refusals: list[None] = []
    line.on_refusal = lambda: refusals.append(None)
    first, second = Caller(), Caller()
    async with anyio.create_task_group() as group:
        group.start_soon(admission, first.scope, first.receive, first.send)
        await settled()
        await admission(second.scope, second.receive, second.send)
        assert (second.status, second.headers[b"retry-after"]) == (503, b"1")
        assert (line.busy, line.waiting, len(refusals)) == (1, 0, 1)
        app.go_on.set()
    assert (first.status, line.busy) == (200, 0)
    for caller in (first, second):
        caller.close()


async def test_who_hangs_up_leaves_the_line_and_costs_nothing() -> None:
    app, line = App(), Line(places=1, max_wait_s=60)
    admission = Admission(app, line)
    first, gone, last = Caller(body=b"first"), Caller(body=b"gone"), Caller(body=b"last")
    async with anyio.create_task_group() as group:
        for caller in (first, gone, last):
            group.start_soon(admission, caller.scope, caller.receive, caller.send)
            await settled()
        gone.hang_up()
        await settled()
        assert line.waiting == 1
        app.go_on.set()
    assert app.bodies == [b"first", b"last"]
    assert gone.status is None
    for caller in (first, gone, last):
        caller.close()


async def test_who_still_waits_when_the_server_ends_is_told_to_come_again() -> None:
    """The server cancels what it could not finish in time."""
    app, line = App(), Line(places=1, max_wait_s=60)
    admission = Admission(app, line)
    first, waiting = Caller(), Caller()
    async with anyio.create_task_group() as group:
        group.start_soon(admission, first.scope, first.receive, first.send)
        await settled()
        task = asyncio.create_task(admission(waiting.scope, waiting.receive, waiting.send))
        await settled()
        task.cancel("timeout graceful shutdown exceeded")
        await task
        assert (waiting.status, waiting.headers[b"retry-after"]) == (503, b"1")
        assert line.waiting == 0
        app.go_on.set()
    for caller in (first, waiting):
        caller.close()


@pytest.mark.parametrize("steps", range(5))
async def test_a_turn_comes_back_from_who_is_cancelled_as_it_is_given(steps: int) -> None:
    app, line = App(), Line(places=1, max_wait_s=60)
    app.go_on.set()
    assert line.begins_at_once()
    caller = Caller()
    task = asyncio.create_task(Admission(app, line)(caller.scope, caller.receive, caller.send))
    await settled()
    line.end(took_s=0.1)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert line.busy == 0
    caller.close()


async def test_a_turn_comes_back_from_a_search_that_fails() -> None:
    app, line = App(), Line(places=1, max_wait_s=60)
    app.go_on.set()
    caller = Caller(body=b"broken")
    with pytest.raises(ValueError, match="broken"):
        await Admission(app, line)(caller.scope, caller.receive, caller.send)
    assert line.busy == 0
    caller.close()


async def test_the_wait_is_expected_by_how_long_turns_have_taken() -> None:
    line = Line(places=2, max_wait_s=1.0)
    for _ in range(200):
        line.begins_at_once()
        line.end(took_s=4.0)
    line.require_short()
    assert line.begins_at_once()
    assert line.begins_at_once()
    with pytest.raises(Overloaded, match=r"would wait 2\.0 s for its turn, and at most 1 s"):
        line.require_short()


def test_a_full_server_refuses_searches_and_answers_all_else(client: TestClient) -> None:
    line: Line = client.app.state.line  # type: ignore[attr-defined]
    busy, line.busy, line._max_wait_s = line.busy, 10_000, 0.0
    try:
        refused = client.post(PATH, json={"query": "red"})
        assert (refused.status_code, refused.json()["title"]) == (503, "Overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["X-Request-Id"] == refused.json()["request_id"]
        assert client.get("/v1/corpora/docs").status_code == 200
        assert "lockstep_searches_refused_total 1.0" in client.get("/metrics").text
    finally:
        line.busy, line._max_wait_s = busy, 1.0
    assert client.post(PATH, json={"query": "red"}).status_code == 200
