"""A deadline that all steps of a search keep together, however many there are."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lockstep.errors import Unavailable

_ENDS: ContextVar[float] = ContextVar("ends", default=math.inf)  # monotonic seconds


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls in this block end within this time, all of them together, or fail.

    An outer deadline that ends sooner holds. What runs in this machine is not broken off: no
    further step of it begins.
    """
    token = _ENDS.set(min(_ENDS.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ENDS.reset(token)


def left_s() -> float:
    """Seconds until the deadline, 0 where it has passed; infinite without one."""
    return max(0.0, _ENDS.get() - time.monotonic())


def require_time(step: str) -> None:
    """Raise Unavailable where the deadline has passed before a step, which is named by a verb."""
    if not left_s():
        raise out_of_time(step)


def out_of_time(step: str) -> Unavailable:
    return Unavailable(
        f"The time that a search may take was over before there was a chance to {step}.",
        next_step="Ask for less at once, try again in a moment, or raise search_timeout_s.",
    )
