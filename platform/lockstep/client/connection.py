"""What both kinds of client share: where the server is, and how its answers are read."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from lockstep import __version__
from lockstep.client.answers import Problem
from lockstep.client.calls import Call
from lockstep.client.errors import ServerUnreachable, UnexpectedAnswer, api_error
from lockstep.client.retries import RetryOptions, retry_options
from lockstep.errors import InvalidInput

T = TypeVar("T")

_JSON = {"Content-Type": "application/json"}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True)
class Connection:
    """Raises InvalidInput where url or key cannot be used."""

    url: str
    api_key: str | None = field(repr=False)
    timeout_s: float  # of a call, retries included
    retries: int

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise InvalidInput(f"URL '{self.url}' is no address of a server; expected http://...")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InvalidInput("The API key holds characters that no key has; expected lsk_...")
        if self.timeout_s <= 0 or self.retries < 0:
            raise InvalidInput(
                f"timeout_s is {self.timeout_s} and retries {self.retries}; expected more than 0, "
                "and 0 or more."
            )

    @property
    def headers(self) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"User-Agent": f"lockstep-client/{__version__}", **key}

    def limit_s(self, call: Call[Any]) -> float:
        return self.timeout_s + call.more_s

    def retrying(self, call: Call[Any]) -> RetryOptions:
        limit_s = self.limit_s(call)
        return retry_options(retries=self.retries, timeout_s=limit_s, idempotent=call.idempotent)

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """What either kind of httpx client sends. Raises InvalidInput where it is not JSON."""
        content = None if call.body is None else _json(call.body)
        return {
            "method": call.method,
            "url": self.url.rstrip("/") + call.path,
            "params": call.params,
            "headers": self.headers if content is None else {**self.headers, **_JSON},
            "content": content,
        }

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raises ServerUnreachable for what goes wrong on the way."""
        try:
            yield
        except (httpx.TransportError, TimeoutError) as error:
            what = str(error) or "it took too long"
            unreachable = ServerUnreachable(
                f"The server at {self.url} did not answer: {what}.",
                next_step="Start it (lockstep serve), or name another address.",
            )
            unreachable.maybe_taken = not isinstance(error, _NOT_SENT)
            raise unreachable from error

    def read(self, call: Call[T], response: httpx.Response) -> T:
        """Raises ApiError, or UnexpectedAnswer."""
        if not response.is_success:
            raise api_error(_problem(response), _retry_after_s(response.headers))
        try:
            return call.read(response.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            raise UnexpectedAnswer(
                f"{self.url} answered {call.method} {call.path} in a way that is not understood: "
                f"{where}: {first['msg']}.",
                next_step="Check that it is a Lockstep server, and its version.",
            ) from error


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"The request cannot be written as JSON: {error}.",
            next_step="Give texts, finite numbers, true, false, None, lists and dicts alone.",
        ) from error


def _is_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


def _problem(response: httpx.Response) -> Problem:
    """The problem details; made from the status where something on the way answered."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        kind = response.headers.get("content-type", "no content")
        detail = f"{response.url.host} answered {response.status_code} with {kind}."
        problem = Problem(
            status=response.status_code,
            title=response.reason_phrase or f"Status {response.status_code}",
            detail=detail,
        )
    request_id = problem.request_id or response.headers.get("x-request-id")
    return problem.model_copy(update={"status": response.status_code, "request_id": request_id})


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After, which is seconds or a date; None where there is none that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
