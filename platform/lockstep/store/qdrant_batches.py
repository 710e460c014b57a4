"""How many points go into one request: as many as the server copes with."""

import threading
from collections.abc import Callable, Sequence

from qdrant_client import models

from lockstep.store.qdrant_errors import ENGINE_ERRORS, TryAgain, is_overload, is_too_large

_START, _MOST = 512, 4096

Send = Callable[[list[models.PointStruct]], models.UpdateResult]


class RequestSize:
    """Points in a request: halved where one fails under its weight, grown by an eighth by success.

    Safe between threads.
    """

    def __init__(self, start: int = _START, most: int = _MOST) -> None:
        self._size, self._most = start, most
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return self._size

    def shrink(self, failed: int) -> None:
        """A request of so many points was too much."""
        with self._lock:
            self._size = max(1, min(self._size, failed // 2))

    def grow(self, sent: int) -> None:
        """A request of so many points went well."""
        with self._lock:
            if sent >= self._size:  # a smaller one proves nothing
                self._size = min(self._most, self._size + max(1, self._size // 8))


def send_first(
    points: Sequence[models.PointStruct], size: RequestSize, send: Send
) -> Sequence[models.PointStruct]:
    """Send as many points as fit one request; returns those that are left, in their order.

    Raises what the engine raised, or TryAgain where fewer points at once may pass.
    """
    piece = list(points[: size.size])
    try:
        require_done(send(piece))
    except ENGINE_ERRORS as error:
        if is_overload(error):
            size.shrink(len(piece))
        if is_too_large(error) and len(piece) > 1:
            raise TryAgain(f"{len(piece)} points are too many for one request: {error}") from error
        raise
    size.grow(len(piece))
    return points[len(piece) :]


def require_done(result: models.UpdateResult) -> None:
    """Raises TryAgain where the server took a write into its log, and has not yet applied it."""
    if result.status != models.UpdateStatus.COMPLETED:
        raise TryAgain(f"Qdrant answered '{result.status}'; expected 'completed'")
