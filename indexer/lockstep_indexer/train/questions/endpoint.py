"""A chat endpoint as OpenAI's API has them: one question, one answer, with patience."""

import random
from asyncio import sleep
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.stop import stop_base

from lockstep.errors import ChatUnavailable, InvalidSetting
from lockstep_indexer.train.questions.budget import Budget, estimated_tokens

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
# Longer than this nobody waits: the run stops, and goes on when it is started again.
_LONGEST_RETRY_AFTER_S = 120.0
_OTHER_LIMIT = "max_completion_tokens"
_SHOWN = 300  # characters of what an endpoint says


class SpendCapReached(Exception):
    """The next request would pass a cap."""


class RequestRefused(Exception):
    """The endpoint does not take this one request; others may fare better."""


class _TryAgain(Exception):
    """What may pass: the endpoint is busy, broken or out of reach."""

    def __init__(self, why: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Answer:
    """What a language model said. Tokens are the endpoint's count, else estimated."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut_off: bool  # by `max_answer_tokens`


@dataclass
class ChatEndpoint:
    """Asks `url`/chat/completions. Raises InvalidSetting for what cannot be an endpoint."""

    url: str  # such as https://host/v1
    model: str
    api_key: str | None = field(default=None, repr=False)
    max_answer_tokens: int = 1024
    timeout_s: float = 60.0
    attempts: int = 5
    first_wait_s: float = _FIRST_WAIT_S
    _limit_name: str = "max_tokens"  # some endpoints take another one only

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidSetting(
                "The chat endpoint's URL is none; expected something like https://host/v1.",
                next_step="Set LOCKSTEP_CHAT_URL, or give --url.",
            )
        if not self.model:
            raise InvalidSetting(
                "No language model is named for the chat endpoint.",
                next_step="Set LOCKSTEP_CHAT_MODEL, or give --llm.",
            )
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InvalidSetting("chat_api_key holds characters that no key has.")

    @property
    def host(self) -> str:
        """How messages and lineages name it: without what a URL may hold of secrets."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return httpx.AsyncClient(headers=headers, timeout=self.timeout_s)

    async def ask(self, client: httpx.AsyncClient, prompt: str, budget: Budget) -> Answer:
        """One answer, after as many tries as it takes and `attempts` allows.

        Raises InvalidSetting where key, model or address are refused, ChatUnavailable where it does
        not answer, RequestRefused, and SpendCapReached before what the budget does not allow.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(self.attempts) | _TooLongToWait(),
            wait=self._wait_s,
            sleep=sleep,
            reraise=True,
        )
        try:
            return await retrying(self._once, client, prompt, budget)
        except _TryAgain as error:
            raise ChatUnavailable(
                f"The chat endpoint {self.host} does not answer: {error}.",
                next_step="What it has answered is kept: run the same command again later.",
            ) from error

    async def _once(self, client: httpx.AsyncClient, prompt: str, budget: Budget) -> Answer:
        most = estimated_tokens(prompt) + self.max_answer_tokens
        if not budget.hold(most):
            raise SpendCapReached
        used, reported = 0, True
        try:
            answer, reported = self._read(await self._post(client, prompt), prompt)
            used = answer.prompt_tokens + answer.completion_tokens
        except httpx.TimeoutException as error:
            # It may have read the prompt, and be paid for it.
            used, reported = estimated_tokens(prompt), False
            raise _TryAgain(f"no answer within {self.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise _TryAgain(str(error) or type(error).__name__) from error
        except httpx.InvalidURL as error:
            raise InvalidSetting(f"The chat endpoint's URL is none: {error}.") from error
        finally:
            budget.release(most, used, reported=reported)
        return answer

    async def _post(self, client: httpx.AsyncClient, prompt: str) -> httpx.Response:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            self._limit_name: self.max_answer_tokens,
        }
        url = self.url.rstrip("/") + "/chat/completions"
        response = await client.post(url, json=body)
        if response.status_code == 429 or response.status_code >= 500:
            raise _TryAgain(
                f"{response.status_code} {self._said(response)}",
                retry_after_s=_retry_after_s(response.headers.get("retry-after", "")),
            )
        if response.status_code in (401, 403):
            raise InvalidSetting(
                f"The chat endpoint {self.host} refuses the API key ({response.status_code}): "
                f"{self._said(response)}.",
                next_step="Set the right one in the environment: LOCKSTEP_CHAT_API_KEY",
            )
        if response.status_code == 404 or response.is_redirect:
            raise InvalidSetting(
                f"The chat endpoint {self.host} knows no such address or model "
                f"'{self.model}' ({response.status_code}): {self._said(response)}.",
                next_step="Check --url, which ends before /chat/completions, and --llm.",
            )
        refused = not response.is_success
        if refused and _OTHER_LIMIT in response.text and self._limit_name != _OTHER_LIMIT:
            self._limit_name = _OTHER_LIMIT
            raise _TryAgain(self._said(response))
        if refused:
            raise RequestRefused(f"{response.status_code} {self._said(response)}")
        return response

    def _read(self, response: httpx.Response, prompt: str) -> tuple[Answer, bool]:
        """The answer, and whether the endpoint has counted its tokens."""
        try:
            body = response.json()
            choice = body["choices"][0]
            text = choice["message"]["content"] or ""
        except (ValueError, LookupError, TypeError) as error:
            raise _TryAgain("what it sends is no chat completion") from error
        if not isinstance(text, str):
            raise _TryAgain("what it sends is no text")
        text = text.encode(errors="replace").decode()  # of a lone surrogate no database knows
        usage = body.get("usage") or {}
        asked, said = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        reported = asked is not None and said is not None
        answer = Answer(
            text,
            asked if asked is not None else estimated_tokens(prompt),
            said if said is not None else estimated_tokens(text),
            choice.get("finish_reason") == "length",
        )
        return answer, reported

    def _said(self, response: httpx.Response) -> str:
        """What a refusal says, short, on one line, and without the key that it may repeat."""
        try:
            error = response.json()["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, LookupError, TypeError):
            text = response.text
        if self.api_key:
            text = text.replace(self.api_key, "***")
        return " ".join(text.split())[:_SHOWN] or "no reason given"

    def _wait_s(self, state: RetryCallState) -> float:
        """What the endpoint asked for, and a random time more, so that not all come at once."""
        spread_s = min(self.first_wait_s * 2 ** (state.attempt_number - 1), _LONGEST_WAIT_S)
        return (_asked_to_wait_s(state) or 0.0) + random.uniform(spread_s / 2, spread_s)


def _asked_to_wait_s(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, _TryAgain) else None


class _TooLongToWait(stop_base):
    """Where the endpoint asks for more patience than anybody has."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        return (_asked_to_wait_s(retry_state) or 0.0) > _LONGEST_RETRY_AFTER_S


def _retry_after_s(header: str) -> float | None:
    """Seconds, or the moment that a Retry-After names; None where it says nothing."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None
