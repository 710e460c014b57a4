"""Shadowing: copies of answered searches on the version that is on trial, in quiet moments."""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lockstep.errors import SearchUnsupported
from lockstep.index.trial_watch import OnTrial
from lockstep.models.rerankers import Rerankers
from lockstep.search.overlap import jaccard, rank_biased_overlap
from lockstep.search.request import SearchRequest, SearchResponse
from lockstep.search.search import search
from lockstep.store.port import VectorStore

logger = logging.getLogger(__name__)

CAPACITY = 64
# A copy waits for a moment in which no search has been at work for this long.
QUIET_S = 0.005
PATIENCE_S = 2.0
# A server that is never quiet would see no copy at all; so few of them leave its p95 as it is.
FORCED_EVERY = 50


class Quiet:
    """Knows whether searches are at work, and for how long none has been."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work = 0
        self._since = time.monotonic()
        self.answered = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        with self._lock:
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                self.answered += 1
                self._since = time.monotonic()

    def lasts(self) -> float:
        """Seconds since the last search ended; 0 while one is at work."""
        with self._lock:
            return 0.0 if self._at_work else time.monotonic() - self._since


@dataclass(frozen=True)
class Copy:
    """A search that was answered, and its answer."""

    on_trial: OnTrial
    request: SearchRequest
    answer: SearchResponse


class Shadow:
    """One thread that repeats searches one after the other; what it finds out is only counted.

    Nothing waits for it. Copies that find no room or no quiet moment are dropped and counted. The
    thread keeps its normal priority: a lower one would hold Python's global lock for longer
    whenever the processors are busy, and all searches would wait with it.
    """

    def __init__(
        self, store: VectorStore, quiet: Quiet, rerankers: Rerankers | None = None
    ) -> None:
        self._store = store
        self._rerankers = rerankers
        self._quiet = quiet
        self._waiting: queue.Queue[Copy | None] = queue.Queue(CAPACITY)
        self._stop = threading.Event()
        self._forced_at = 0
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with suppress(queue.Full):  # then it wakes up by itself
            self._waiting.put_nowait(None)
        self._thread.join()

    def offer(self, copy: Copy) -> None:
        """Repeat a search some time; at once forgotten where too many wait already."""
        try:
            self._waiting.put_nowait(copy)
        except queue.Full:
            _drop(copy)

    def _run(self) -> None:
        while not self._stop.is_set():
            copy = self._waiting.get()
            if copy is None:
                continue
            if self._may_run():
                self._repeat(copy)
            elif not self._stop.is_set():
                _drop(copy)

    def _may_run(self) -> bool:
        """Wait for a quiet moment; without one, be content with few copies."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self._stop.is_set():
            if self._quiet.lasts() >= QUIET_S:
                return True
            time.sleep(QUIET_S)
        if self._stop.is_set() or self._quiet.answered - self._forced_at < FORCED_EVERY:
            return False
        self._forced_at = self._quiet.answered
        return True

    def _repeat(self, copy: Copy) -> None:
        on_trial = copy.on_trial
        with on_trial.using() as generation:
            if generation is None:
                if on_trial.error is not None:
                    _fail(copy)
                return
            try:
                found = search(generation, self._store, copy.request, self._rerankers)
            except SearchUnsupported:  # no failure: live was built for this search, it was not
                _drop(copy)
                return
            except Exception as error:  # whatever goes wrong with a copy, only its count tells
                name = type(error).__name__  # its message may quote the query
                logger.debug("a copy failed on %s: %s", generation.collection, name)
                _fail(copy)
                return
        live, candidate = ([h.document_id for h in r.hits] for r in (copy.answer, found))
        with on_trial.counting() as counts:
            counts.shadow.answer(found.took_ms.total)
            counts.shadowed.add(copy.answer.took_ms.total)
            counts.jaccard.add(jaccard(live, candidate))
            counts.rbo.add(rank_biased_overlap(_once(live), _once(candidate)))


def _once(ids: list[str]) -> list[str]:
    """Each document at its best place: passages of one may come apart from each other."""
    return list(dict.fromkeys(ids))


def _fail(copy: Copy) -> None:
    with copy.on_trial.counting() as counts:
        counts.shadow.failed += 1


def _drop(copy: Copy) -> None:
    with copy.on_trial.counting() as counts:
        counts.dropped += 1
