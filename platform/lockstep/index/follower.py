"""The follower: a server's thread that follows aliases and change logs."""

import logging
import threading
import time
from collections.abc import Callable

from lockstep.errors import CollectionInUse, LeaseHeld, LockstepError, Unavailable
from lockstep.index.applier import Applier
from lockstep.index.generation import Generation
from lockstep.index.leases import Leases
from lockstep.index.replicas import BEAT_S, Replicas
from lockstep.index.serving import Serving
from lockstep.index.versions import FOLLOWING, IndexVersion, State

logger = logging.getLogger(__name__)


class Follower:
    """A thread that follows aliases and change logs, for as long as a server runs.

    It applies new changes to the live version first, then to the retired ones, so that a rollback
    loses nothing; and it lets go of collections that were dropped.
    """

    def __init__(
        self,
        serving: Serving,
        applier: Applier,
        leases: Leases,
        replicas: Replicas,
        *,
        poll_s: float = 0.25,
    ) -> None:
        self._serving = serving
        self._applier = applier
        self._leases = leases
        self._replicas = replicas
        self.url = ""  # where this server takes requests, once it does
        self._told: tuple[dict[str, str], str] = ({}, "")
        self._told_at = -BEAT_S
        self._poll_s = poll_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._applied = threading.Condition()
        self._rounds = 0  # how often something was applied; guarded by _applied
        self._held: dict[str, IndexVersion] = {}
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        self._serving.followed = True
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch at hand, then end."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self._serving.followed = False
        self._guarded(lambda _: self._replicas.leave(), "")

    def wake(self) -> None:
        """Look now: something was written or promoted."""
        self._wake.set()

    def wait_applied(self, corpus: str, seq: int, timeout_s: float) -> bool:
        """Wait until the generation that answers searches has applied `seq`."""

        self.wake()
        deadline = time.monotonic() + timeout_s
        while True:
            rounds = self._rounds
            # Not under the condition's lock: this may have to wait for a generation to be loaded,
            # and whoever loads it applies changes on the way, which takes that lock.
            if self._is_applied(corpus, seq):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._applied:
                if self._rounds == rounds:
                    # Another process may be the one that applies: look again now and then.
                    self._applied.wait(min(left, self._poll_s))

    def _is_applied(self, corpus: str, seq: int) -> bool:
        generation = self._serving.current(corpus)
        version = self._applier.catalog.get(corpus, generation.version.number)
        return version.applied_seq >= seq

    def apply(self, version: IndexVersion, *, one_batch: bool = False) -> None:
        """Bring one version to the head of the log, unless another process is doing so.

        Ends after a batch where the server is to stop, or where `one_batch` asks for no more.
        """
        if not self._applier.lag(version.corpus, version.number):
            return
        try:
            with self._leases.hold(version.collection) as lease:
                generation = Generation.load(version, self._serving.encoders)
                self._applier.apply(
                    generation,
                    lease,
                    keep_going=lambda: not (one_batch or self._stop.is_set()),
                )
        except (LeaseHeld, CollectionInUse) as error:
            logger.debug("not applying to %s: %s", version.collection, error)
        with self._applied:
            self._rounds += 1
            self._applied.notify_all()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._poll_s)
            self._wake.clear()
            for corpus in self._corpora():
                self._guarded(self._follow, corpus)
            self._guarded(lambda _: self._beat(), "")
            self._guarded(lambda _: self._serving.end_previews(), "")

    def _beat(self) -> None:
        """Tell other processes what this one answers from: at once when it changes."""
        serving = {
            generation.version.corpus: generation.collection
            for generation in self._serving.loaded()
        }
        now, telling = time.monotonic(), (serving, self.url)
        if telling != self._told or now - self._told_at >= BEAT_S:
            self._replicas.beat(serving, self.url)
            self._told, self._told_at = telling, now

    def _corpora(self) -> list[str]:
        """The corpora of this workspace that have an alias; a shared store may hold others."""
        names: set[str] = set()
        self._guarded(lambda _: names.update(self._serving.store.aliases()), "")
        self._guarded(lambda _: names.intersection_update(self._applier.corpora.names()), "")
        return sorted(names)

    def _guarded(self, step: Callable[[str], None], corpus: str) -> None:
        """One corpus in trouble must not keep the others from being followed."""
        try:
            step(corpus)
        except Unavailable as error:
            logger.error("following '%s': %s", corpus, error)
            self._stop.wait(1.0)
        except LockstepError as error:
            logger.error("following '%s': %s", corpus, error)
        except Exception:  # out of memory, say: the thread must outlive whatever a batch does to it
            logger.exception("following '%s'", corpus)
            self._stop.wait(1.0)

    def _follow(self, corpus: str) -> None:
        current = self._serving.refresh(corpus, prepare=self.apply)
        self.apply(current.version)
        self._held[current.collection] = current.version
        for version in self._applier.catalog.in_state(corpus, *FOLLOWING):
            if version.number == current.version.number or self._stop.is_set():
                continue
            # A batch a turn, so that a long way to go never keeps the live version waiting.
            self.apply(version, one_batch=True)
            self._held[version.collection] = version
            if self._applier.lag(corpus, version.number):
                self._wake.set()
        self._let_go(corpus)

    def _let_go(self, corpus: str) -> None:
        """Release what was dropped, but never what still answers searches."""
        answering = {generation.collection for generation in self._serving.loaded()}
        for version in [held for held in self._held.values() if held.corpus == corpus]:
            state = self._applier.catalog.get(corpus, version.number).state
            if state is State.DROPPED and version.collection not in answering:
                self._serving.store.release(version.collection)
                del self._held[version.collection]
