"""Ray workers with batches at hand: results in the order of the batches, whoever is lost."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lockstep.corpus.documents import Change
from lockstep.errors import LockstepError, ModelNotFound, WorkersUnavailable
from lockstep.index.engine import documents_of
from lockstep.index.stages import Timings
from lockstep_indexer.encode.routes import Check, go_on
from lockstep_indexer.engines.ahead import Stopped
from lockstep_indexer.engines.ray_cluster import Cluster, Shape, first_line
from lockstep_indexer.engines.ray_worker import NOTHING, Encoded, EncodingWorker, Loaded, Work

# Batches of a worker: one that it encodes, one that it cuts meanwhile; and one that is done and
# waits for a slower one before it.
AT_HAND = 2
IN_FLIGHT = 3
# A batch, or a worker that loads, is given up after so many losses: it is perhaps what ends them.
MOST_LOSSES = 3
_LOOK_S = 0.2  # how soon it is noticed that a build is to end
_START_S = 600.0  # a model of many gigabytes comes over the network

Batch = tuple[Sequence[Change], Timings]


@dataclass(eq=False)
class _Worker:
    actor: Any
    loading: Any  # a reference; None once it has loaded
    busy: int = 0


@dataclass(eq=False)
class _Pending:
    """A batch on its way."""

    batch: Batch
    result: Encoded | BaseException | None = None
    reference: Any = None
    worker: _Worker | None = None
    losses: int = 0


class RayPool:
    """Processes that hold the model. Start it, then close it. For one thread at a time.

    A worker that dies is replaced, and what it had at hand is done again by another: a batch gives
    the same bits wherever it is encoded.
    """

    def __init__(self, cluster: Cluster, work: Work, shape: Shape) -> None:
        self._ray = cluster.ray
        self._errors = cluster.ray.exceptions
        self._work = work
        self._shape = shape
        self._workers: list[_Worker] = []
        self._failed_loads = 0
        self._moved_at = time.monotonic()  # when last something got on
        self.first: Loaded | None = None
        self.processes: list[int] = []  # of all workers that have loaded
        self.lost = 0

    @property
    def size(self) -> int:
        return self._shape.workers

    def start(self) -> Loaded:
        """Start all workers, and wait for the first. Raises what keeps it from loading."""
        try:
            self._workers = [self._started() for _ in range(self.size)]
            while self.first is None:
                self._listen(())
            return self.first
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for worker in self._workers:
            self._end(worker)
        self._workers = []

    def encoded(
        self, batches: Iterator[Batch], check: Check = go_on
    ) -> Iterator[tuple[Batch, Encoded]]:
        """Each batch with its result, in their order; what fails is raised at its place."""
        waiting: deque[_Pending] = deque()
        source: Iterator[_Pending] = _pending(batches)
        try:
            while True:
                for pending in islice(source, IN_FLIGHT * self.size - len(waiting)):
                    waiting.append(pending)
                    self._hand_out(waiting)
                if not waiting:
                    return
                while waiting[0].result is None:
                    check()
                    self._listen(waiting)
                    self._hand_out(waiting)
                yield waiting[0].batch, _unless_error(waiting.popleft().result)
        finally:
            for pending in waiting:
                self._put_down(pending)

    def _started(self) -> _Worker:
        shape = self._shape
        actor = (
            self._ray.remote(EncodingWorker)
            .options(
                num_cpus=shape.cores,
                num_gpus=int(shape.on_card),
                max_concurrency=AT_HAND,
                scheduling_strategy="SPREAD",
            )
            .remote(self._work)
        )
        self._moved_at = time.monotonic()
        return _Worker(actor, actor.load.remote())

    def _end(self, worker: _Worker) -> None:
        with suppress(Exception):  # a process that is gone, or a Ray that is
            self._ray.kill(worker.actor)

    def _hand_out(self, waiting: Iterable[_Pending]) -> None:
        """To the workers with least at hand; the first batches first."""
        for pending in waiting:
            if pending.result is not None or pending.reference is not None:
                continue
            free = [each for each in self._workers if not each.loading and each.busy < AT_HAND]
            if not free:
                return
            pending.worker = min(free, key=lambda each: each.busy)
            pending.worker.busy += 1
            pending.reference = pending.worker.actor.encode.remote(documents_of(pending.batch[0]))

    def _listen(self, waiting: Iterable[_Pending]) -> None:
        """Note what has got ready, if need be after a moment."""
        loading = {each.loading: each for each in self._workers if each.loading}
        encoding = {each.reference: each for each in waiting if each.reference}
        ready, _ = self._ray.wait([*loading, *encoding], num_returns=1, timeout=_LOOK_S)
        for reference in ready:
            self._moved_at = time.monotonic()
            if reference in loading:
                self._note_loaded(loading[reference])
            else:
                self._note_encoded(encoding[reference])
        if not encoding and time.monotonic() - self._moved_at > _START_S:
            raise WorkersUnavailable(
                f"No Ray worker has started within {_START_S:.0f} seconds.",
                next_step="See by `ray status` whether the cluster is busy, then run it again: it "
                "goes on where it stopped.",
            )

    def _note_loaded(self, worker: _Worker) -> None:
        try:
            loaded = self._ray.get(worker.loading)
        except self._errors.RayTaskError as error:
            raise error.cause from None
        except self._errors.RayError as error:
            self._replace(worker)
            self._failed_loads += 1
            if self._failed_loads == MOST_LOSSES:
                raise _cannot_start(error) from error
            return
        if isinstance(loaded, LockstepError):
            raise self._explained(loaded)
        self.first = self.first or loaded
        require_same(self.first, loaded)
        self.processes.append(loaded.process)
        worker.loading, self._failed_loads = None, 0

    def _note_encoded(self, pending: _Pending) -> None:
        reference, worker = pending.reference, pending.worker
        self._put_down(pending)
        try:
            pending.result = self._ray.get(reference)
        except self._errors.RayTaskError as error:
            pending.result = error.cause
        except self._errors.RayError as error:
            pending.losses += 1
            self._replace(worker)
            if pending.losses == MOST_LOSSES:
                pending.result = _too_many_losses(pending, error)

    def _put_down(self, pending: _Pending) -> None:
        if pending.worker is not None:
            pending.worker.busy -= 1
        pending.reference = pending.worker = None

    def _replace(self, worker: _Worker | None) -> None:
        if worker in self._workers:  # all that it had at hand tells of its loss
            self._workers.remove(worker)
            self._end(worker)
            self._workers.append(self._started())
            self.lost += 1

    def _explained(self, error: LockstepError) -> LockstepError:
        if not isinstance(error, ModelNotFound) or "://" in self._work.artefacts_url:
            return error
        return ModelNotFound(
            f"A Ray worker does not find the model: {error.message}",
            next_step="Other machines cannot read a folder of this one: set artefacts_url to a "
            "storage that all of them reach.",
        )


def _pending(batches: Iterator[Batch]) -> Iterator[_Pending]:
    """The batches to come; a failure to read them is the last."""
    try:
        for changes, timings in batches:
            yield _Pending((changes, timings), None if documents_of(changes) else NOTHING)
    except Stopped:
        raise
    except Exception as error:  # whatever reading raises: batches before it are written first
        yield _Pending(((), Timings()), error)


def _unless_error(result: Encoded | BaseException | None) -> Encoded:
    if isinstance(result, Encoded):
        return result
    raise result or ValueError("the batch has no result yet")


def require_same(first: Loaded, other: Loaded) -> None:
    """Raises WorkersUnavailable where two workers would not give the same bits."""
    if other.route != first.route:
        what, ours, theirs = "encodes by another route", first.route, other.route
    elif other.packages != first.packages:
        what, ours, theirs = "has other packages", _listed(first), _listed(other)
    else:
        return
    raise WorkersUnavailable(
        f"The Ray worker on {other.node} {what} than the one on {first.node}: {theirs}; expected "
        f"{ours}. A build would depend on which of them takes a document.",
        next_step="Build on machines of one kind, with the same packages.",
    )


def _listed(loaded: Loaded) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(loaded.packages.items()))


def _cannot_start(error: Exception) -> WorkersUnavailable:
    return WorkersUnavailable(
        f"Ray workers end while they load the model: {_why(error)}",
        next_step="Check that each machine has Lockstep and Ray of the same versions as this one, "
        "and memory for the model.",
    )


def _too_many_losses(pending: _Pending, error: Exception) -> WorkersUnavailable:
    changes, _ = pending.batch
    first, last = changes[0].document_id, changes[-1].document_id
    return WorkersUnavailable(
        f"{pending.losses} Ray workers ended while they had documents '{first}' to '{last}' at "
        f"hand: {_why(error)}",
        next_step="If their machines ran out of memory, give them more, or take fewer --workers, "
        "then run it again: it goes on where it stopped.",
    )


def _why(error: Exception) -> str:
    """Ray's errors are pages; the line that names an error says most."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if "Error: " in line or "exit detail" in line]
    told = telling[-1] if telling else first_line(error)
    return told.split(" Some common causes", 1)[0][:300]
