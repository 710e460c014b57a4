"""The largest request body that the server reads."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.api.problems import ProblemResponse, plain_problem
from lockstep.settings import Settings

MIN_BODY_BYTES = 16 << 20


def max_body_bytes(settings: Settings) -> int:
    """Enough for any one document: JSON may write each byte of a text as six."""
    return max(MIN_BODY_BYTES, 6 * settings.max_document_bytes)


class BodyLimit:
    """Answers 413 to a body of more than `max_bytes`, without reading the rest of it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared_bytes(scope) > self._max_bytes:
            response = ProblemResponse(plain_problem(413, self._detail()), {"Connection": "close"})
            await response(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        """A body sent in chunks does not say its size before."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._detail(), {"Connection": "close"})
            return message

        return counted

    def _detail(self) -> str:
        return (
            f"The body is larger than {self._max_bytes:,} bytes. "
            "Send fewer documents at once; `lockstep ingest` reads files of any size."
        )


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
