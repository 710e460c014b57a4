"""Admission: more searches than the server can answer in time are refused at once.

A line that only grows would make every answer late. So a search waits for its turn only where that
is expected to take less than `max_wait_s`, by how long searches have taken lately; where it would
take longer, the answer is 503 with Retry-After, before the body is even parsed.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.api.problems import problem_of, respond
from lockstep.errors import Overloaded

# What costs an encoding and a search.
_COSTLY = re.compile(r"/v1/(corpora/[^/]+/search(/batch)?|embeddings)")
# How much the last search counts in the average time of one.
_NEWEST = 0.05
_FIRST_GUESS_S = 0.01
# Of a body that is sent while its search waits, what is taken in.
_HEARD_BYTES = 1 << 20


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
        """Wait for a turn and take it; whoever is cancelled leaves the line."""
        if self.begins_at_once():
            return
        called = anyio.Event()
        self._waiting.append(called)
        self.on_change()
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self.pass_on()
            else:
                self._waiting.remove(called)
                self.on_change()
            raise

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
        except Overloaded as error:
            await respond(problem_of(error))(scope, receive, send)
            return
        heard: deque[Message] = deque()
        try:
            begun = self._line.begins_at_once() or await self._has_begun(receive, heard)
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

    async def _has_begun(self, receive: Receive, heard: deque[Message]) -> bool:
        """Wait for a turn; False where the caller hangs up before."""
        begun = False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_listen, receive, heard, group.cancel_scope)
                await self._line.begin()
                begun = True
                group.cancel_scope.cancel()
        except BaseException:
            if begun:  # and cancelled before it could be used
                self._line.pass_on()
            raise
        return begun


def _stopping() -> Overloaded:
    return Overloaded(
        "The server stops, and the search had not had its turn by then.",
        next_step="Send it again: to another server, or once this one is back.",
    )


async def _listen(receive: Receive, heard: deque[Message], waiting: anyio.CancelScope) -> None:
    """Only who reads what a caller sends learns that it hangs up; what is heard is kept."""
    size = 0
    while size < _HEARD_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            waiting.cancel()
            return
        heard.append(message)
        size += len(message.get("body", b""))


def _replayed(heard: deque[Message], receive: Receive) -> Receive:
    async def replayed() -> Message:
        return heard.popleft() if heard else await receive()

    return replayed
