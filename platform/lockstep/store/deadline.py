"""A deadline that calls to a store keep together, however many there are."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ENDS: ContextVar[float] = ContextVar("ends", default=math.inf)  # monotonic seconds


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls in this block end within this time, all of them together, or fail.

    An outer deadline that ends sooner holds. A store in this process needs none.
    """
    token = _ENDS.set(min(_ENDS.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ENDS.reset(token)


def left_s() -> float:
    """Seconds until the deadline, 0 where it has passed; infinite without one."""
    return max(0.0, _ENDS.get() - time.monotonic())
