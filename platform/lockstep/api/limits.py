"""The largest requests that the server takes: their bodies, and what comes before."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.api.problems import ProblemResponse, plain_problem
from lockstep.settings import Settings

MIN_BODY_BYTES = 16 << 20
# Of every other body than documents: what is parsed takes many times its size in memory.
PLAIN_BODY_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 16


def max_body_bytes(settings: Settings) -> int:
    """Enough for any one document: JSON may write each byte of a text as six."""
    return max(MIN_BODY_BYTES, 6 * settings.max_document_bytes)


class BodyLimit:
    """Answers 413 to a body that is too large, without reading the rest of it.

    Documents may have `max_bytes`; all else that much or PLAIN_BODY_BYTES, whichever is less.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        documents = scope["path"].endswith("/documents")
        limit = self._max_bytes if documents else min(self._max_bytes, PLAIN_BODY_BYTES)
        detail = _detail(limit, documents=documents)
        if _declared_bytes(scope) > limit:
            response = ProblemResponse(plain_problem(413, detail), {"Connection": "close"})
            await response(scope, receive, send)
        else:
            await self._app(scope, _counted(receive, limit, detail), send)


class HeaderLimit:
    """Answers 431 where first line and headers have more than MAX_HEADER_BYTES.

    The server has read them by then, and knows no limit of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (size := _header_bytes(scope)) > MAX_HEADER_BYTES:
            detail = (
                f"The first line and the headers have {size:,} bytes; at most "
                f"{MAX_HEADER_BYTES:,} bytes are taken. Send shorter ones."
            )
            response = ProblemResponse(plain_problem(431, detail), {"Connection": "close"})
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _counted(receive: Receive, limit: int, detail: str) -> Receive:
    """A body sent in chunks does not say its size before."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, detail, {"Connection": "close"})
        return message

    return counted


def _detail(limit: int, *, documents: bool) -> str:
    less = (
        "Send fewer documents at once; `lockstep ingest` reads files of any size."
        if documents
        else "Send less at once: fewer searches or texts, or a shorter filter."
    )
    return f"The body is larger than {limit:,} bytes. {less}"


def _header_bytes(scope: Scope) -> int:
    url = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    return url + sum(len(name) + len(value) for name, value in scope["headers"])


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
