"""Cursors: the next page of a list, from the index version that gave the first."""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lockstep.errors import CursorExpired, InvalidInput
from lockstep.search.boosts import Boost, RecencyBoost
from lockstep.search.request import MAX_WINDOW, SearchRequest

LIFETIME_S = 15 * 60
MAX_CURSOR_CHARS = 512
_CHECK_BYTES = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Cursor:
    """Where a list goes on. It belongs to one request: `digest` says to which."""

    number: int  # of the index version
    offset: int
    digest: str
    expires_at: float  # seconds since 1970
    nows: Sequence[int] = ()  # of the boosts of the first page, microseconds since 1970
    reranker: str | None = None  # of the first page, by its version

    def to_text(self) -> str:
        fields = [self.number, self.offset, self.digest, round(self.expires_at), *self.nows]
        fields += [self.reranker] if self.reranker is not None else []
        body = json.dumps(fields, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_check(body) + body).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> "Cursor":
        """Raises InvalidInput where it is no cursor, CursorExpired where its time is over."""
        cursor = cls._read(text)
        if cursor is None:
            raise InvalidInput(
                "The cursor is not one that a search has given.",
                next_step="Send `next_cursor` of the answer before as it is, or leave it out to "
                "begin at the first page.",
            )
        if time.time() > cursor.expires_at:
            raise CursorExpired(
                f"The cursor has expired: it lives for {LIFETIME_S // 60} minutes.",
                next_step="Search again without it, from the first page.",
            )
        return cursor

    @classmethod
    def _read(cls, text: str) -> "Cursor | None":
        if len(text) > MAX_CURSOR_CHARS or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check != _check(body):
            return None
        number, offset, digest, expires_at, *nows = json.loads(body)
        reranker = nows.pop() if nows and isinstance(nows[-1], str) else None
        return cls(number, offset, digest, expires_at, nows, reranker)


def resume(request: SearchRequest, text: str) -> tuple[SearchRequest, int]:
    """The request of the next page, and the number of the index version that it is for.

    Raises InvalidInput where the cursor belongs to another search, CursorExpired where it is old.
    """
    cursor = Cursor.from_text(text)
    whole = replace(request, cursor=None)
    if cursor.digest != _digest(whole):
        raise InvalidInput(
            "The cursor belongs to another search.",
            next_step="Send the same search as before with it, or leave it out.",
        )
    resumed = replace(whole, offset=cursor.offset, boosts=_as_of(whole, cursor.nows))
    if resumed.rerank is not None and cursor.reranker is not None:
        resumed = replace(resumed, rerank=replace(resumed.rerank, kept=cursor.reranker))
    return resumed, cursor.number


def next_page(request: SearchRequest, number: int, reranker: str | None = None) -> str | None:
    """The cursor that follows this page; None where no search reaches that far."""
    if request.window + request.limit > min([MAX_WINDOW, *request.choices]):
        return None
    digest = _digest(replace(request, offset=0))
    nows = [(boost.moment - _EPOCH) // _TICK for boost in _recencies(request)]
    expires_at = time.time() + LIFETIME_S
    return Cursor(number, request.window, digest, expires_at, nows, reranker).to_text()


def _recencies(request: SearchRequest) -> list[RecencyBoost]:
    return [boost for boost in request.boosts if isinstance(boost, RecencyBoost)]


def _as_of(request: SearchRequest, nows: Sequence[int]) -> tuple[Boost, ...]:
    """The boosts as the first page had them: a list goes on from one moment."""
    left = iter(nows)
    return tuple(
        replace(boost, now=_EPOCH + next(left) * _TICK)
        if isinstance(boost, RecencyBoost)
        else boost
        for boost in request.boosts
    )


def _digest(request: SearchRequest) -> str:
    """What tells one search from another; its `repr` shows all that it asks for."""
    timeless = replace(request, boosts=_as_of(request, [0] * len(request.boosts)))
    return hashlib.blake2b(repr(timeless).encode(errors="replace"), digest_size=12).hexdigest()


def _check(body: bytes) -> bytes:
    """Tells a cursor from what a client has cut or typed; it keeps no secret."""
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES, person=b"lockstep-cursor").digest()
