"""How long calls to a Qdrant server go on: a build waits for it, a search does not."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from lockstep.errors import StoreUnavailable
from lockstep.store.deadline import left_s, within
from lockstep.store.qdrant_errors import is_transient, translating

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# Between tries: random, doubling from the first to the last.
_FIRST_WAIT_S, _LAST_WAIT_S = 0.1, 10.0
# A server that is overloaded may ask for more, up to this.
_LONGEST_PAUSE_S = 30.0
# Searches that wait at once. A thread is stuck for as long as its request is, not longer.
_THREADS = 64

# What went wrong in the tries of the work at hand.
_TROUBLE: ContextVar[list[str] | None] = ContextVar("trouble", default=None)


class Calls:
    """Makes calls again where that is safe, for as long as there is time. Safe between threads."""

    def __init__(self, *, search_timeout_s: float, patience_s: float) -> None:
        self._search_timeout_s = search_timeout_s
        self._patience_s = patience_s
        self._closed = threading.Event()
        self._building = False
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lockstep-qdrant")

    @property
    def building(self) -> bool:
        """Whether this process writes an index, and so rather waits than fails."""
        return self._building

    def begin_building(self) -> None:
        """From now on reads are as patient as writes; a server's patience is a search's anyway."""
        self._building = self._patience_s > self._search_timeout_s

    def promptly(self, collection: str, operation: str, work: Callable[[], Answer]) -> Answer:
        """Do work that may take several calls; StoreUnavailable once the deadline has passed.

        The work runs in another thread: a server that sends a byte now and then would keep the
        client's own timeouts from ever ending.
        """
        self.require_open()
        limit_s = self._patience_s if self._building else self._search_timeout_s
        with within(limit_s):
            given_s, context, trouble = left_s(), copy_context(), list[str]()
            context.run(_TROUBLE.set, trouble)
            future = self._threads.submit(context.run, work)
            wait([future], given_s)
            if not future.done():
                future.cancel()
                raise _too_late(collection, operation, given_s, trouble)
            return future.result()

    def again(self, collection: str, operation: str, call: Callable[[str], Answer]) -> Answer:
        """Make an idempotent call; again, after a random wait, where the failure is passing."""
        self.require_open()
        limit_s = min(self._patience_s, left_s())
        attempts = Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_any(stop_before_delay(limit_s), stop_when_event_set(self._closed)),
            wait=_Pause(min(_LAST_WAIT_S, limit_s / 10)),
            sleep=sleep_using_event(self._closed),
            before_sleep=_note(operation, collection, aloud=limit_s > self._search_timeout_s),
            reraise=True,
        )
        with translating(collection, operation):
            return attempts(call, collection)

    def pause(self, seconds: float) -> None:
        """Wait, but not for a store that is closed meanwhile."""
        self._closed.wait(seconds)

    def require_open(self) -> None:
        if self._closed.is_set():
            raise StoreUnavailable("The vector store is closed.")

    def close(self) -> None:
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Pause(wait_random_exponential):
    """A random wait, or a longer one where the server names it."""

    def __init__(self, longest_s: float) -> None:
        super().__init__(multiplier=_FIRST_WAIT_S, max=longest_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked_s = float(getattr(error, "retry_after_s", 0))
        return max(super().__call__(retry_state), min(asked_s, _LONGEST_PAUSE_S))


def _note(operation: str, collection: str, *, aloud: bool) -> Callable[[RetryCallState], None]:
    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        said = " ".join(str(error).split())
        if (trouble := _TROUBLE.get()) is not None:
            trouble.append(said)
        if aloud:
            what = f"{operation}{_on(collection)}"
            wait_s = state.upcoming_sleep
            logger.warning("Qdrant failed during %s, again in %.1f s: %s", what, wait_s, said)

    return note


def _too_late(
    collection: str, operation: str, given_s: float, trouble: list[str]
) -> StoreUnavailable:
    last = f"; the last try failed: {trouble[-1]}" if trouble else ""
    return StoreUnavailable(
        f"Qdrant did not answer {operation}{_on(collection)} within {given_s:.1f} s{last}.",
        next_step="Check that the Qdrant server runs and is not overloaded.",
    )


def _on(collection: str) -> str:
    return f" on collection '{collection}'" if collection else ""
