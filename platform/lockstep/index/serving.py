"""Serving: which generation answers the searches of a corpus, and how the next one takes over."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lockstep.errors import (
    AccessDenied,
    CollectionInUse,
    LockstepError,
    SearchUnsupported,
    Unavailable,
)
from lockstep.index.generation import Generation
from lockstep.index.probe import Prober
from lockstep.index.rollouts import Rollouts
from lockstep.index.versions import FOLLOWING, IndexVersion, State
from lockstep.models.encoders import Encoders
from lockstep.store.deadline import left_s
from lockstep.store.port import VectorStore

logger = logging.getLogger(__name__)

RETRY_S = 10.0
# The command that promoted a version may still have it open for a moment.
RETRY_IN_USE_S = 0.3
# A candidate that a search has pinned stays open this long, for the next such search.
PREVIEW_S = 5.0
# A retired version gets each batch of changes right after the live one.
CATCH_UP_S = 1.0
_LOOK_S = 0.02

Prepare = Callable[[IndexVersion], None]


@dataclass(frozen=True)
class Failure:
    """Why the generation that the alias names does not answer."""

    collection: str
    error: LockstepError
    in_use: bool  # another process has it open, as a rule for a moment only
    retry_at: float  # monotonic seconds

    @property
    def message(self) -> str:
        return str(self.error)


@dataclass
class Serving:
    """The current generation of each corpus.

    A search takes one generation and keeps it to its end. `refresh` loads the next one beside it,
    checks and warms it, and then replaces one reference.
    """

    rollouts: Rollouts
    encoders: Encoders
    store: VectorStore
    prober: Prober
    followed: bool = False  # a follower looks at the aliases, so that searches need not
    _current: dict[str, Generation] = field(default_factory=dict)
    _failures: dict[str, Failure] = field(default_factory=dict)
    _previews: dict[str, float] = field(default_factory=dict)  # candidate -> when it was pinned
    _exposed: dict[str, Generation] = field(default_factory=dict)  # corpus -> what is on trial
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def current(self, corpus: str) -> Generation:
        """The generation to search with. Raises CorpusNotFound or NoLiveIndex."""
        generation = self._current.get(corpus)
        if generation is not None and self.followed:
            return generation
        if self.followed:
            self._await_loading(corpus)
        return self.refresh(corpus)

    def _await_loading(self, corpus: str) -> None:
        """Wait for the follower, which may be bringing the first generation up to date; a search
        with a deadline, not for as long as that takes. Raises Unavailable.
        """
        deadline_s = left_s()
        lock = self._locks.setdefault(corpus, threading.Lock())
        if not lock.acquire(timeout=-1 if math.isinf(deadline_s) else deadline_s):
            raise Unavailable(
                f"The index of '{corpus}' is being loaded.", next_step="Try again in a moment."
            )
        lock.release()

    def pinned(self, corpus: str, number: int) -> Generation:
        """The generation of one index version that is live, retired or a candidate."""
        current, exposed = self._current.get(corpus), self._exposed.get(corpus)
        if current is not None and current.version.number == number:
            return current
        if exposed is not None and exposed.version.number == number:
            # The search may open the collection again after it was withdrawn.
            self._previews[exposed.collection] = time.monotonic()
            return exposed
        version = self.rollouts.catalog.get(corpus, number)
        if version.state not in (State.CANDIDATE, State.LIVE, State.RETIRED):
            raise SearchUnsupported(
                f"Index version {version.label} of '{corpus}' is {version.state.value}; only live, "
                "retired and candidate versions can be searched."
            )
        generation = Generation.load(version, self.encoders)
        if version.state is State.CANDIDATE:
            self._previews[version.collection] = time.monotonic()
        return generation

    def require_abreast(self, generation: Generation) -> None:
        """Require that a version holds every write that the live one holds by now.

        Waits a moment for a version that is followed. Raises Unavailable where it still lags then,
        AccessDenied where nothing brings it up to date.
        """
        version = generation.version
        live = self.current(version.corpus).version
        if version.number == live.number:
            return
        wanted = self._applied(live).applied_seq
        deadline = time.monotonic() + CATCH_UP_S
        while (now := self._applied(version)).applied_seq < wanted:
            if now.state not in FOLLOWING or time.monotonic() > deadline:
                raise _lagging(now, wanted - now.applied_seq)
            time.sleep(_LOOK_S)

    def _applied(self, version: IndexVersion) -> IndexVersion:
        return self.rollouts.catalog.get(version.corpus, version.number)

    def end_previews(self) -> None:
        """Let go of candidates that no search has pinned lately: a command may want to promote."""
        for collection, pinned_at in list(self._previews.items()):
            if time.monotonic() - pinned_at > PREVIEW_S:
                del self._previews[collection]
                if collection not in self._held():
                    self.store.release(collection)

    def expose(self, version: IndexVersion, prepare: Prepare) -> Generation:
        """Load and check a version that is to meet live traffic, and keep it open."""
        try:
            generation = self._load(version, prepare)
        except BaseException:
            # Nobody withdraws what never was on trial, and a command may want to mend it.
            if version.collection not in self._held() | self._previews.keys():
                self.store.release(version.collection)
            raise
        self._exposed[version.corpus] = generation
        logger.info("on trial: %s", generation.name)
        return generation

    def withdraw(self, corpus: str) -> None:
        """Let go of what is on trial, unless it has gone live meanwhile.

        What searches have pinned lately is left to `end_previews`.
        """
        with self._locks.setdefault(corpus, threading.Lock()):
            generation = self._exposed.pop(corpus, None)
            if generation is not None and (
                generation.collection not in self._held() | self._previews.keys()
            ):
                self.store.release(generation.collection)

    def _held(self) -> set[str]:
        """The collections that answer searches of themselves, not because a search pins them."""
        held = [*self._current.values(), *self._exposed.values()]
        return {generation.collection for generation in held}

    def refresh(self, corpus: str, *, prepare: Prepare | None = None) -> Generation:
        """Follow the alias. Where the new generation fails, the old one goes on answering.

        `prepare` gets the new version before it answers, to bring it up to date. Raises what went
        wrong only where there is no old generation.
        """
        with self._locks.setdefault(corpus, threading.Lock()):
            current = self._current.get(corpus)
            collection: str | None = None
            try:
                collection = self.store.aliases().get(corpus)
                if current is not None and self._is_settled(current, collection):
                    return current
                if current is None and self.followed:
                    self._raise_again(corpus, collection)
                generation = self._load(self.rollouts.live(corpus), prepare)
            except LockstepError as error:
                self._note_failure(corpus, collection, current, error)
                if current is None:
                    raise
                return current
            self._current[corpus] = generation
            self._failures.pop(corpus, None)
            logger.info("now serving %s", generation.name)
            return generation

    def failure(self, corpus: str) -> Failure | None:
        """Why the live version does not answer, if that is so."""
        return self._failures.get(corpus)

    def loaded(self) -> list[Generation]:
        return list(self._current.values())

    def _load(self, version: IndexVersion, prepare: Prepare | None) -> Generation:
        generation = Generation.load(version, self.encoders)
        self.prober.glance(generation, self.rollouts.applier.lag(version.corpus, version.number))
        generation.encoder.encode_queries(["warm up"])
        if prepare is not None:
            prepare(version)  # so that a searcher who saw a write goes on seeing it
        return generation

    def _is_settled(self, current: Generation, collection: str | None) -> bool:
        """Whether the alias names what answers already, or what failed to load a moment ago."""
        corpus = current.version.corpus
        if collection == current.collection:
            self._failures.pop(corpus, None)
            return True
        return self._failed_lately(corpus, collection) is not None

    def _raise_again(self, corpus: str, collection: str | None) -> None:
        """Raise what went wrong a moment ago, rather than try the same again for every search."""
        failure = self._failed_lately(corpus, collection)
        if failure is not None:
            raise failure.error

    def _failed_lately(self, corpus: str, collection: str | None) -> Failure | None:
        failure = self._failures.get(corpus)
        if failure is None or failure.collection != collection:
            return None
        return failure if time.monotonic() < failure.retry_at else None

    def _note_failure(
        self,
        corpus: str,
        collection: str | None,
        current: Generation | None,
        error: LockstepError,
    ) -> None:
        """Keep why `collection` does not answer; None where the alias itself cannot be read."""
        if collection is None and current is None:
            return  # nothing is live
        known = self._failures.get(corpus)
        if known is not None and known.error is error:
            return  # raised again: the time at which it is tried anew must not move on
        in_use = isinstance(error, CollectionInUse)
        retry_at = time.monotonic() + (RETRY_IN_USE_S if in_use else RETRY_S)
        self._failures[corpus] = Failure(collection or "", error, in_use, retry_at)
        level = logging.INFO if in_use else logging.ERROR
        staying = current.name if current else "none"
        logger.log(level, "not serving %s yet, staying with %s: %s", collection, staying, error)


def _lagging(version: IndexVersion, changes: int) -> AccessDenied | Unavailable:
    """Why a caller who may not see everything gets no answer from a version."""
    behind = f"{changes} {'change' if changes == 1 else 'changes'} behind the live one"
    if version.state in FOLLOWING:
        return Unavailable(
            f"Index version {version.label} of '{version.corpus}' is {behind}.",
            next_step="Try again in a moment, or search without index_version and cursor.",
        )
    return AccessDenied(
        f"Index version {version.label} of '{version.corpus}' is a {version.state.value}, and "
        f"{behind}: it may hold what the filter of this key hides by now.",
        next_step="Leave out index_version and cursor, so that the live version answers; or use a "
        "key without a filter.",
    )
