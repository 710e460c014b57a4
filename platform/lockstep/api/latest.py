"""The newest value of a source that may be slow or away, for readers that must not wait for it."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from lockstep.errors import LockstepError

logger = logging.getLogger(__name__)

# How long a reader waits for the source.
WAIT_S = 0.4
# Figures older than this are left out: a lag that stands still looks like one that is fine.
STALE_S = 60.0

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """The newest value that a slow or failing source gave; the source never holds up a reader.

    At most one thread reads the source at a time, and goes on after a reader has given up on it.
    """

    def __init__(
        self, read: Callable[[], Value], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self._value: Value | None = None
        self._read_at = -STALE_S
        self.up = False  # whether the last attempt that ended was a success

    def start(self) -> threading.Thread:
        """Read the source in a thread, unless one is at it."""
        with self._lock:
            if self._reading is None or not self._reading.is_alive():
                self._reading = threading.Thread(target=self._update, name="latest", daemon=True)
                self._reading.start()
            return self._reading

    def value(self, wait_s: float = WAIT_S) -> Value | None:
        """What the source says now, or what it said lately; None where that is too long ago."""
        reading = self.start()
        reading.join(wait_s)
        if reading.is_alive():
            self.up = False
        return self._value if self._clock() - self._read_at < STALE_S else None

    def _update(self) -> None:
        try:
            self._value = self._read()
        except LockstepError as error:
            logger.debug("a source does not answer: %s", error)
            self.up = False
        except Exception:  # it runs in a thread of its own, where nobody else would see it
            logger.exception("reading a source")
            self.up = False
        else:
            self._read_at = self._clock()
            self.up = True
