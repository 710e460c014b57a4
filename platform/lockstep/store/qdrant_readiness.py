"""When a collection on a Qdrant server has all its search indexes."""

import time
from collections.abc import Callable
from typing import Any

from qdrant_client import models

from lockstep.errors import CollectionDamaged, StorageFull, StoreUnavailable
from lockstep.store.port import Readiness

# A large graph is built in one go, with nothing to see of it until it is there.
STALLED_S = 3600.0
_FIRST_POLL_S, _LAST_POLL_S = 0.05, 2.0


def wait_until_ready(
    collection: str,
    look: Callable[[], models.CollectionInfo],
    nudge: Callable[[], None],
    pause: Callable[[float], None],
    *,
    stalled_s: float = STALLED_S,
) -> None:
    """Return once the collection is green, with nothing queued or deferred, twice in a row.

    Raises CollectionDamaged or StorageFull where the optimizer failed, StoreUnavailable where
    nothing has moved for `stalled_s`.
    """
    wait_s, greens = _FIRST_POLL_S, 0
    seen: tuple[Any, ...] = ()
    moved_at = time.monotonic()
    while True:
        info = look()
        _require_sound(collection, info)
        if info.status == models.CollectionStatus.GREY:  # due, but not started
            nudge()
        greens = greens + 1 if _is_ready(info) else 0
        if greens == 2:  # the first may be from before the optimizer has looked
            return
        if (marks := _marks(info)) != seen:
            seen, moved_at = marks, time.monotonic()
        elif time.monotonic() - moved_at > stalled_s:
            raise _stalled(collection, info, stalled_s)
        pause(wait_s)
        wait_s = min(_LAST_POLL_S, 1.5 * wait_s)


def readiness_of(info: models.CollectionInfo) -> Readiness:
    """Where a collection stands now."""
    sound = info.optimizer_status == models.OptimizersStatusOneOf.OK
    detail = f"{info.status.value}, {info.points_count or 0:,} points"
    if not sound:
        detail += f", optimizer: {info.optimizer_status}"
    return Readiness(sound and _is_ready(info), detail)


def _is_ready(info: models.CollectionInfo) -> bool:
    queue = info.update_queue
    waiting = queue is not None and bool(queue.length or queue.deferred_points)
    return info.status == models.CollectionStatus.GREEN and not waiting


def _marks(info: models.CollectionInfo) -> tuple[Any, ...]:
    """What changes while the optimizer gets on."""
    queue = info.update_queue
    waiting = (queue.length, queue.deferred_points) if queue is not None else ()
    return (info.status, info.indexed_vectors_count, info.segments_count, *waiting)


def _require_sound(collection: str, info: models.CollectionInfo) -> None:
    status = info.optimizer_status
    if status == models.OptimizersStatusOneOf.OK:
        return
    if "no space left" in str(status).lower():
        raise StorageFull(
            f"Qdrant has no space left to optimise collection '{collection}'.",
            next_step="Free some space on the Qdrant server, then run the same command again.",
        )
    raise CollectionDamaged(
        f"Qdrant's optimizer failed on collection '{collection}': {status}.",
        next_step="Read the Qdrant server's log, then rebuild with `lockstep reindex`.",
    )


def _stalled(collection: str, info: models.CollectionInfo, stalled_s: float) -> StoreUnavailable:
    return StoreUnavailable(
        f"Qdrant has not got on with optimising collection '{collection}' for "
        f"{stalled_s / 60:.0f} minutes: it is {info.status}, {info.indexed_vectors_count} vectors "
        f"are indexed in {info.segments_count} segments.",
        next_step="Read the Qdrant server's log, then run the same command again: it goes on here.",
    )
