"""Writes the query log beside the searches: they never wait for the database."""

import logging
import queue
import random
import threading
import time

from lockstep.corpus.query_log import LoggedSearch, QueryLog
from lockstep.errors import LockstepError, Unavailable

logger = logging.getLogger(__name__)

CAPACITY = 2000
BATCH = 200
# Searches are gathered this long, so that many share one commit.
GATHER_S = 0.2
RETRY_S = 1.0
FORGET_EVERY_S = 3600.0
_STOP_S = 5.0


class LogWriter:
    """A thread that keeps what it is offered, in batches.

    Its queue is bounded: where the database does not keep up, searches are dropped and counted.
    Now and then it deletes what is too old.
    """

    def __init__(self, log: QueryLog) -> None:
        self.log = log
        self.dropped = 0
        self._waiting: queue.Queue[LoggedSearch] = queue.Queue(CAPACITY)
        self._changed = threading.Condition()
        self._offered = self._done = 0  # entries leave the queue in the order in which they came
        self._unwritten: set[str] = set()  # their ids
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="query log", daemon=True)
        self._forget_at = time.monotonic()

    def start(self) -> None:
        """Raises InvalidSetting where what is to be kept cannot be redacted."""
        self.log.require_key()
        self._thread.start()

    def stop(self) -> None:
        """Keep what is waiting, as far as that goes within seconds."""
        self._stop.set()
        self._hurry.set()
        self._thread.join(_STOP_S)

    def is_sampled(self) -> bool:
        """Whether one search is among those to be kept."""
        share = self.log.settings.share
        return share > 0 and random.random() < share

    def offer(self, entry: LoggedSearch) -> bool:
        """Keep a search some time soon; False where there is no room for it."""
        with self._changed:
            try:
                self._waiting.put_nowait(entry)
            except queue.Full:
                self.dropped += 1
                return False
            self._offered += 1
            self._unwritten.add(entry.id)
        return True

    def is_waiting(self, search_id: str) -> bool:
        """Whether a search was offered here and is on its way to the database."""
        return search_id in self._unwritten

    def flush(self, timeout_s: float = 1.0) -> None:
        """Wait until what was offered before this call is kept, but not for long."""
        with self._changed:
            last = self._offered
            self._hurry.set()
            self._changed.wait_for(lambda: self._done >= last, timeout_s)

    def _run(self) -> None:
        while not (self._stop.is_set() and self._waiting.empty()):
            self._hurry.wait(GATHER_S)
            self._hurry.clear()
            if batch := self._batch():
                self._keep(batch)
                if len(batch) == BATCH:
                    self._hurry.set()  # there is more
            if time.monotonic() >= self._forget_at:
                self._forget()

    def _batch(self) -> list[LoggedSearch]:
        batch: list[LoggedSearch] = []
        while len(batch) < BATCH:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch

    def _keep(self, batch: list[LoggedSearch]) -> None:
        """Write a batch, again and again while the database is away; then count it as dropped."""
        try:
            while True:
                try:
                    self.log.write(batch)
                    return
                except Unavailable as error:
                    logger.warning("the query log waits: %s", error)
                    if self._stop.wait(RETRY_S):
                        break
        except Exception:
            logger.exception("%d searches are not kept in the query log", len(batch))
        finally:
            with self._changed:
                self._done += len(batch)
                self._unwritten.difference_update(entry.id for entry in batch)
                self._changed.notify_all()
        self.dropped += len(batch)

    def _forget(self) -> None:
        self._forget_at = time.monotonic() + FORGET_EVERY_S
        try:
            if forgotten := self.log.forget_old():
                logger.info("%d old searches are forgotten", forgotten)
        except LockstepError as error:
            logger.warning("old searches are not forgotten yet: %s", error)
        except Exception:
            logger.exception("old searches are not forgotten")
