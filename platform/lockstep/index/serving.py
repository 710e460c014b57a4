"""Serving: which generation answers the searches of a corpus, and how the next one takes over."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lockstep.errors import CollectionInUse, LockstepError
from lockstep.index.generation import Generation
from lockstep.index.probe import Prober
from lockstep.index.rollouts import Rollouts
from lockstep.index.versions import IndexVersion
from lockstep.models.encoders import Encoders
from lockstep.store.port import VectorStore

logger = logging.getLogger(__name__)

RETRY_S = 10.0
# The command that promoted a version may still have it open for a moment.
RETRY_IN_USE_S = 0.3

Prepare = Callable[[IndexVersion], None]


@dataclass(frozen=True)
class Failure:
    """Why the generation that the alias names does not answer."""

    collection: str
    message: str
    retry_at: float  # monotonic seconds


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
    _current: dict[str, Generation] = field(default_factory=dict)
    _failures: dict[str, Failure] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self, corpus: str) -> Generation:
        """The generation to search with. Raises CorpusNotFound or NoLiveIndex."""
        generation = self._current.get(corpus)
        return generation if generation is not None else self.refresh(corpus)

    def pinned(self, corpus: str, number: int) -> Generation:
        """The generation of one index version that is live, retired or a candidate."""
        current = self._current.get(corpus)
        if current is not None and current.version.number == number:
            return current
        version = self.rollouts.catalog.get(corpus, number)
        return Generation.load(version, self.encoders)

    def refresh(self, corpus: str, *, prepare: Prepare | None = None) -> Generation:
        """Follow the alias. Where the new generation fails, the old one goes on answering.

        `prepare` gets the new version before it answers, to bring it up to date. Raises what went
        wrong only where there is no old generation.
        """
        with self._lock:
            current = self._current.get(corpus)
            if current is not None and self.store.aliases().get(corpus) == current.collection:
                return current
            if current is not None and self._failed_lately(corpus):
                return current
            try:
                generation = self._load(self.rollouts.live(corpus), prepare)
            except LockstepError as error:
                if current is None:
                    raise
                self._note_failure(corpus, current, error)
                return current
            self._current[corpus] = generation
            self._failures.pop(corpus, None)
            logger.info("now serving %s", generation.name)
            return generation

    def failure(self, corpus: str) -> Failure | None:
        """Why an older generation is still answering, if that is so."""
        return self._failures.get(corpus)

    def loaded(self) -> list[Generation]:
        return list(self._current.values())

    def _load(self, version: IndexVersion, prepare: Prepare | None) -> Generation:
        generation = Generation.load(version, self.encoders)
        self.prober.glance(generation)
        generation.encoder.encode_queries(["warm up"])
        if prepare is not None:
            prepare(version)  # so that a searcher who saw a write goes on seeing it
        return generation

    def _failed_lately(self, corpus: str) -> bool:
        failure = self._failures.get(corpus)
        return failure is not None and time.monotonic() < failure.retry_at

    def _note_failure(self, corpus: str, current: Generation, error: LockstepError) -> None:
        collection = self.store.aliases().get(corpus, "")
        in_use = isinstance(error, CollectionInUse)
        retry_at = time.monotonic() + (RETRY_IN_USE_S if in_use else RETRY_S)
        self._failures[corpus] = Failure(collection, str(error), retry_at)
        level = logging.INFO if in_use else logging.ERROR
        logger.log(
            level, "not serving %s yet, staying with %s: %s", collection, current.name, error
        )
