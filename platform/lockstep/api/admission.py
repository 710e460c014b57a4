"""Admission: more searches than the server can answer in time are refused at once.

A line that only grows would make every answer late. So a search waits for its turn only where that
is expected to take less than `max_wait_s`, by how long searches have taken lately; where it would
take longer, the answer is 503 with Retry-After, before the body is even read. No turn is given to
a request whose body has not come, and none waits twice as long as `max_wait_s`, whatever was
expected.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.api.limits import PLAIN_BODY_BYTES
from lockstep.api.problems import ProblemResponse, plain_problem, problem_of, respond
from lockstep.errors import Overloaded

# What costs an encoding and a search.
_COSTLY = re.compile(r"/v1/(corpora/[^/]+/search(/batch)?|embeddings)")
# How much the last search counts in the average time of one.
_NEWEST = 0.05
_FIRST_GUESS_S = 0.01
# What was let in and waits so many times `max_wait_s` is refused after all. Of a line that is as
# long as it may be, half wait somewhat longer than was expected, and are worth an answer.
_PATIENCE = 2.0
# From the head of a request to the end of its body, which is small.
BODY_WAIT_S = 10.0


class Line:
    """Lets `places` at a time go on, first come, first served."""

    def __init__(self, places: int, max_wait_s: float) -> None:
        self._places = places
        self._max_wait_s = max_wait_s
        self._turn_s = _FIRST_GUESS_S  # how long a turn lasts, on average
        self._waiting: deque[anyio.Event] = deque()
        self.on_change: Callable[[], None] = lambda: None
        self.on_refusal: Callable[[], None] = lambda: None
        self.busy = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def require_short(self) -> None:
        """Raise Overloaded where one more would wait too long for its turn."""
        if self.busy < self._places:
            return
        wait_s = (len(self._waiting) + 1) * self._turn_s / self._places
        if wait_s > self._max_wait_s:
            self.on_refusal()
            raise Overloaded(
                f"The server is busy: a search would wait {wait_s:.1f} s for its turn, and at most "
                f"{self._max_wait_s:g} s are allowed.",
                next_step="Send it again a little later, or add servers.",
            )

    def begins_at_once(self) -> bool:
        """Take a turn, if nobody has to be waited for."""
        if self.busy >= self._places:
            return False
        self.busy += 1
        self.on_change()
        return True

    async def begin(self) -> None:
        """Wait for a turn and take it; whoever is cancelled leaves the line.

        Raises Overloaded where searches take much longer than was expected.
        """
        if self.begins_at_once():
            return
        called = anyio.Event()
        self._waiting.append(called)
        self.on_change()
        try:
            with anyio.fail_after(_PATIENCE * self._max_wait_s):
                await called.wait()
        except BaseException as error:
            self._leave(called)
            if isinstance(error, TimeoutError):
                self.on_refusal()
                raise Overloaded(
                    "The server is busy: the search has waited for its turn for "
                    f"{_PATIENCE * self._max_wait_s:g} s, and longer is not allowed.",
                    next_step="Send it again a little later, or add servers.",
                ) from error
            raise

    def _leave(self, called: anyio.Event) -> None:
        if called.is_set():
            self.pass_on()
        else:
            self._waiting.remove(called)
            self.on_change()

    def end(self, took_s: float) -> None:
        """Give a turn back that took so long."""
        self._turn_s += _NEWEST * (took_s - self._turn_s)
        self.pass_on()

    def pass_on(self) -> None:
        """Give a turn back to whoever is next."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self.busy -= 1
        self.on_change()


class Admission:
    """Middleware that lines up costly requests; one whose caller hangs up leaves the line."""

    def __init__(self, app: ASGIApp, line: Line) -> None:
        self._app = app
        self._line = line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _COSTLY.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            self._line.require_short()
            heard = await _body(receive)
            begun = heard and (self._line.begins_at_once() or await self._has_begun(receive))
        except Overloaded as error:
            await respond(problem_of(error))(scope, receive, send)
            return
        except TimeoutError:
            await _too_slow()(scope, receive, send)
            return
        except asyncio.CancelledError:  # a server that ends does so to what it has no time for
            await respond(problem_of(_stopping()))(scope, receive, send)
            return
        if not begun:
            return
        started = time.perf_counter()
        try:
            await self._app(scope, _replayed(heard, receive), send)
        finally:
            self._line.end(time.perf_counter() - started)

    async def _has_begun(self, receive: Receive) -> bool:
        """Wait for a turn; False where the caller hangs up before. Raises Overloaded."""
        begun = False
        refused: Overloaded | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_hang_up, receive, group.cancel_scope)
                try:
                    await self._line.begin()
                    begun = True
                except Overloaded as error:  # from within, the group would wrap it
                    refused = error
                group.cancel_scope.cancel()
        except BaseException:
            if begun:  # and cancelled before it could be used
                self._line.pass_on()
            raise
        if refused is not None:
            raise refused
        return begun


async def _body(receive: Receive) -> deque[Message]:
    """What makes up the body, or more than any may be; empty where the caller hangs up before.

    Raises TimeoutError where it does not come.
    """
    heard: deque[Message] = deque()
    size, more = 0, True
    async with asyncio.timeout(BODY_WAIT_S):
        while more and size <= PLAIN_BODY_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return deque()
            heard.append(message)
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
    return heard


def _too_slow() -> ProblemResponse:
    detail = f"The body did not come within {BODY_WAIT_S:g} s. Send it again, whole."
    return ProblemResponse(plain_problem(408, detail), {"Connection": "close"})


def _stopping() -> Overloaded:
    return Overloaded(
        "The server stops, and the search had not had its turn by then.",
        next_step="Send it again: to another server, or once this one is back.",
    )


async def _hang_up(receive: Receive, waiting: anyio.CancelScope) -> None:
    """Only who listens to a caller learns that it hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass  # of a body that is larger than any may be
    waiting.cancel()


def _replayed(heard: deque[Message], receive: Receive) -> Receive:
    async def replayed() -> Message:
        return heard.popleft() if heard else await receive()

    return replayed
