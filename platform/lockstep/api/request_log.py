"""A name for every request, and one log line for each: never what was asked, nor of whom."""

import logging
import re
import time
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.actor import request_id
from lockstep.api.metrics import HUNG_UP, METHODS, route_of

logger = logging.getLogger("lockstep.access")

HEADER = b"x-request-id"
_TAKEN = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_CORPUS = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# Asked every few seconds by machines: their lines are for whoever looks for them.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestLog:
    """Middleware that names each request and logs it once it is answered.

    The client's X-Request-Id is taken where it is short and plain. The answer carries the id, so do
    problem details and every log line that the request causes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = _name_of(scope)
        # Left set at the end: the answer to an error that nobody foresaw is made after that.
        request_id.set(name)
        header = (HEADER, name.encode())
        status: int | None = None
        answered_at: float | None = None

        async def noting(message: Message) -> None:
            nonlocal status, answered_at
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)
            answered_at = time.perf_counter()

        started = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
            status = status or HUNG_UP
        finally:
            _log(scope, status or 500, (answered_at or time.perf_counter()) - started)


def _name_of(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == HEADER]
    if len(given) == 1 and _TAKEN.fullmatch(given[0]):
        taken: bytes = given[0]
        return taken.decode("ascii")
    return uuid4().hex


def _log(scope: Scope, status: int, seconds: float) -> None:
    route = route_of(scope)
    level = logging.DEBUG if route in _QUIET and status < 400 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields: dict[str, object] = {
        "method": scope["method"] if scope["method"] in METHODS else "other",
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 3),
    }
    corpus = scope.get("path_params", {}).get("corpus", "")
    if _CORPUS.fullmatch(corpus):  # what else stands there may be anything
        fields["corpus"] = corpus
    caller = scope.get("state", {}).get("caller")
    if caller is not None and caller.key is not None:
        fields["key"] = caller.key.name
    told = " ".join(f"{name}={fields[name]}" for name in ("corpus", "key") if name in fields)
    words = f"{fields['method']} {route} {status} {seconds * 1000:.1f} ms {told}".rstrip()
    logger.log(level, "%s", words, extra={"fields": fields})
