"""Cursors: the next page of a list, from the index version that gave the first."""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lockstep.errors import CursorExpired, InvalidInput
from lockstep.search.boosts import MAX_BOOSTS, Boost, RecencyBoost
from lockstep.search.request import MAX_WINDOW, SearchRequest
from lockstep.search.rerank import MAX_REF_CHARS

LIFETIME_S = 15 * 60
MAX_CURSOR_CHARS = 512
MAX_NUMBER = 2**31 - 1  # of an index version
# By how much the clocks of two servers may differ. What would live longer than a cursor does is
# none: it could live for ever.
_CLOCKS_APART_S = 30
_CHECK_BYTES = 8
_FIELDS = 7
SEED_BITS = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_FIRST, _LAST = (
    (end.replace(tzinfo=UTC) - _EPOCH) // _TICK for end in (datetime.min, datetime.max)
)


@dataclass(frozen=True)
class Draft:
    """What an interleaved list is made of, beside the live version. Raises ValueError."""

    candidate: int  # number of the index version
    seed: int  # of the coin

    def __post_init__(self) -> None:
        _require(_is_count(self.candidate, MAX_NUMBER))
        _require(type(self.seed) is int and 0 <= self.seed < 2**SEED_BITS)


@dataclass(frozen=True)
class Resumed:
    """The request of the next page, and what answers it."""

    request: SearchRequest
    number: int  # of the index version
    draft: Draft | None = None  # where the list is an interleaved one


@dataclass(frozen=True)
class Cursor:
    """Where a list goes on. It belongs to one request: `digest` says to which.

    Raises ValueError where no search gives such values.
    """

    number: int  # of the index version
    offset: int
    digest: str
    expires_at: int  # seconds since 1970
    nows: Sequence[int] = ()  # of the boosts of the first page, microseconds since 1970
    reranker: str | None = None  # of the first page, by its version
    draft: Draft | None = None  # where the first page was interleaved

    def __post_init__(self) -> None:
        # An evaluation's temporary index has no number: 0.
        _require(type(self.number) is int and 0 <= self.number <= MAX_NUMBER)
        _require(_is_count(self.offset, MAX_WINDOW - 1))
        _require(isinstance(self.digest, str))
        _require(_is_count(self.expires_at, _LAST))
        _require(isinstance(self.nows, list | tuple) and len(self.nows) <= MAX_BOOSTS)
        _require(all(type(now) is int and _FIRST <= now <= _LAST for now in self.nows))
        _require(self.reranker is None or _is_ref(self.reranker))

    def to_text(self) -> str:
        fields: list[Any] = [self.number, self.offset, self.digest, self.expires_at]
        draft = astuple(self.draft) if self.draft is not None else None
        fields += [list(self.nows), self.reranker, draft]
        body = json.dumps(fields, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_check(body) + body).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> "Cursor":
        """Raises InvalidInput where it is no cursor, CursorExpired where its time is over."""
        try:
            cursor = cls._read(text)
            left_s = cursor.expires_at - time.time()
            _require(left_s <= LIFETIME_S + _CLOCKS_APART_S)
        # A reader of JSON may meet more levels than it can follow.
        except (ValueError, RecursionError) as error:
            raise _no_cursor() from error
        if left_s < 0:
            raise CursorExpired(
                f"The cursor has expired: it lives for {LIFETIME_S // 60} minutes.",
                next_step="Search again without it, from the first page.",
            )
        return cursor

    @classmethod
    def _read(cls, text: str) -> "Cursor":
        """Raises ValueError, or RecursionError."""
        _require(len(text) <= MAX_CURSOR_CHARS and text.isascii())
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        _require(check == _check(body))
        fields = json.loads(body)
        _require(_is_list(fields, _FIELDS))
        if fields[-1] is not None:
            _require(_is_list(fields[-1], 2))
            fields[-1] = Draft(*fields[-1])
        return cls(*fields)


def resume(request: SearchRequest, text: str) -> Resumed:
    """The request of the next page, and what it is for.

    Raises InvalidInput where the cursor belongs to another search, CursorExpired where it is old.
    """
    cursor = Cursor.from_text(text)
    whole = replace(request, cursor=None)
    if cursor.digest != _digest(whole):
        raise InvalidInput(
            "The cursor belongs to another search.",
            next_step="Send the same search as before with it, or leave it out.",
        )
    if not _fits(cursor, whole):
        raise _no_cursor()
    left = min(whole.limit, _end(whole) - cursor.offset)  # the last page may be a shorter one
    boosts = _as_of(whole, cursor.nows)
    resumed = replace(whole, offset=cursor.offset, limit=left, boosts=boosts)
    if resumed.rerank is not None and cursor.reranker is not None:
        resumed = replace(resumed, rerank=replace(resumed.rerank, kept=cursor.reranker))
    return Resumed(resumed, cursor.number, cursor.draft)


def next_page(
    request: SearchRequest,
    number: int,
    reranker: str | None = None,
    draft: Draft | None = None,
) -> str | None:
    """The cursor that follows this page; None where no search reaches that far."""
    if request.window >= _end(request):
        return None
    digest = _digest(replace(request, offset=0))
    nows = [(boost.moment - _EPOCH) // _TICK for boost in _recencies(request)]
    expires_at = int(time.time()) + LIFETIME_S
    return Cursor(number, request.window, digest, expires_at, nows, reranker, draft).to_text()


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


def _fits(cursor: Cursor, request: SearchRequest) -> bool:
    """Whether a list of this request can go on like that."""
    reaches = cursor.offset < _end(request)
    reranks = cursor.reranker is None or request.rerank is not None
    return reaches and reranks and len(cursor.nows) == len(_recencies(request))


def _end(request: SearchRequest) -> int:
    """How far a list can go: what a step reorders ends with its candidates."""
    return min([MAX_WINDOW, *request.choices])


def _check(body: bytes) -> bytes:
    """Tells a cursor from what a client has cut or typed.

    It keeps no secret, and need not: whoever makes a cursor up gains nothing that a request could
    not ask for as well. What a caller may see is part of the request, never of the cursor.
    """
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES, person=b"lockstep-cursor").digest()


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("It is no cursor.")


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most  # and no bool, which is an int as well


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _is_ref(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_REF_CHARS and value.isprintable()


def _no_cursor() -> InvalidInput:
    return InvalidInput(
        "The cursor is not one that a search has given.",
        next_step="Send `next_cursor` of the answer before as it is, or leave it out to begin at "
        "the first page.",
    )
