"""Upkeep: a server's thread that optimises the indexes it answers from, while searches go on."""

import logging
import threading
import time

from lockstep.errors import LockstepError
from lockstep.index.serving import Serving

logger = logging.getLogger(__name__)

PAUSE_S = 60.0  # after trouble


class Upkeep:
    """Optimises one served index at a time, whenever enough of it has changed.

    Many live writes leave points outside of the search graph, and deleted ones in BM25's document
    frequencies. An engine that looks after itself is left alone.
    """

    def __init__(self, serving: Serving, *, poll_s: float = 5.0) -> None:
        self._serving = serving
        self._poll_s = poll_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; what is being optimised ends when its collection is released."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            for generation in self._serving.loaded():
                if not self._stop.is_set():
                    self._optimize(generation.collection)

    def _optimize(self, collection: str) -> None:
        store = self._serving.store
        try:
            if not store.readiness(collection).due:
                return
            started = time.monotonic()
            store.optimize(collection)
            logger.info("optimised %s in %.1f s", collection, time.monotonic() - started)
        except LockstepError as error:
            if not self._stop.is_set():
                logger.warning("not optimising %s: %s", collection, error)
                self._stop.wait(PAUSE_S)  # a full disk, say: searches go on, only slower
        except Exception:  # the thread must outlive whatever an engine raises
            logger.exception("optimising %s", collection)
            self._stop.wait(PAUSE_S)
