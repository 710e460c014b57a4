"""When a collection counts as ready, and when waiting for it ends."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from lockstep.errors import CollectionDamaged, StorageFull, StoreUnavailable
from lockstep.store.qdrant_readiness import wait_until_ready

GREEN, YELLOW, GREY = (
    models.CollectionStatus.GREEN,
    models.CollectionStatus.YELLOW,
    models.CollectionStatus.GREY,
)


@pytest.fixture(scope="module")
def plain() -> models.CollectionInfo:
    client = QdrantClient(":memory:")
    client.create_collection("docs", vectors_config={})
    return client.get_collection("docs")


class Watched:
    """A collection that is seen in one state after the other; the last one stays."""

    def __init__(self, plain: models.CollectionInfo, *states: dict[str, Any]) -> None:
        infos = [plain.model_copy(update=state) for state in states]
        self._infos: Iterator[models.CollectionInfo] = chain(infos, repeat(infos[-1]))
        self.looks = self.nudges = 0

    def look(self) -> models.CollectionInfo:
        self.looks += 1
        return next(self._infos)

    def nudge(self) -> None:
        self.nudges += 1

    def wait(self, *, stalled_s: float = 60) -> None:
        wait_until_ready("docs", self.look, self.nudge, lambda _: None, stalled_s=stalled_s)


def queue(length: int, deferred: int) -> models.UpdateQueueInfo:
    return models.UpdateQueueInfo(length=length, deferred_points=deferred)


Watch = Callable[..., Watched]


@pytest.fixture
def watch(plain: models.CollectionInfo) -> Watch:
    return lambda *states: Watched(plain, *states)


def test_green_must_be_seen_twice_in_a_row(watch: Watch) -> None:
    seen = watch({"status": GREEN}, {"status": YELLOW}, {"status": GREEN})
    seen.wait()
    assert seen.looks == 4


@pytest.mark.parametrize("waiting", [queue(1, 0), queue(0, 5)], ids=["queued", "deferred"])
def test_green_is_not_enough(watch: Watch, waiting: models.UpdateQueueInfo) -> None:
    seen = watch(
        {"status": GREEN, "update_queue": waiting},
        {"status": GREEN, "update_queue": waiting},
        {"status": GREEN, "update_queue": queue(0, 0)},
    )
    seen.wait()
    assert seen.looks == 4


def test_grey_is_nudged(watch: Watch) -> None:
    seen = watch({"status": GREY}, {"status": YELLOW}, {"status": GREEN})
    seen.wait()
    assert seen.nudges == 1


def test_a_failed_optimizer_is_damage(watch: Watch) -> None:
    failed = models.OptimizersStatusOneOf1(error="segment 7 is broken")
    with pytest.raises(CollectionDamaged, match="segment 7"):
        watch({"status": models.CollectionStatus.RED, "optimizer_status": failed}).wait()


def test_a_full_disk_is_no_damage(watch: Watch) -> None:
    failed = models.OptimizersStatusOneOf1(error="IO error: No space left on device")
    with pytest.raises(StorageFull):
        watch({"status": models.CollectionStatus.RED, "optimizer_status": failed}).wait()


def test_waiting_ends_where_nothing_moves(watch: Watch) -> None:
    with pytest.raises(StoreUnavailable, match="has not got on"):
        watch({"status": YELLOW, "indexed_vectors_count": 5}).wait(stalled_s=0)


def test_waiting_goes_on_while_something_moves(watch: Watch) -> None:
    steps = [{"status": YELLOW, "indexed_vectors_count": count} for count in range(50)]
    watch(*steps, {"status": GREEN}).wait(stalled_s=0.0005)
