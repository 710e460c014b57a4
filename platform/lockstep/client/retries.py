"""When a call is tried again, and how long after."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.retry import retry_base
from tenacity.stop import stop_base

from lockstep.client.errors import ApiError, ServerBusy, ServerUnreachable

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class RetryOptions(TypedDict):
    """What tenacity takes, for both kinds of client."""

    retry: retry_base
    stop: stop_base
    wait: Callable[[RetryCallState], float]
    reraise: bool


@dataclass(frozen=True)
class Deadline:
    """When a call must be over, all its attempts and waits included."""

    at: float  # time.monotonic()

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def left_s(self) -> float:
        return max(self.at - time.monotonic(), 0.001)  # zero would mean: no limit


def retry_options(*, retries: int, timeout_s: float, idempotent: bool) -> RetryOptions:
    """Retry until it is no use, or the wait would not end within `timeout_s`."""
    return RetryOptions(
        retry=retry_if_exception(partial(_may_retry, idempotent=idempotent)),
        stop=stop_after_attempt(retries + 1) | stop_before_delay(timeout_s),
        wait=_wait_s,
        reraise=True,
    )


def _may_retry(error: BaseException, *, idempotent: bool) -> bool:
    """A call that must not happen twice is repeated only where it cannot have happened."""
    if isinstance(error, ServerUnreachable):
        return idempotent or not error.maybe_taken
    if isinstance(error, ApiError):  # 429 is given before a request is looked at
        return error.status == 429 or (error.status == 503 and idempotent)
    return False


def _wait_s(state: RetryCallState) -> float:
    """What the server asked for, and a random time more, so that clients do not come at once."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, ServerBusy) else None
    spread_s = min(_FIRST_WAIT_S * 2**state.attempt_number, _LONGEST_WAIT_S)
    return (asked_s or 0.0) + random.uniform(0, spread_s)
