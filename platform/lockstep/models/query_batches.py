"""Queries of many callers, encoded together while they would otherwise wait for each other."""

import math
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from lockstep.errors import Unavailable
from lockstep.models.vectors import Vector
from lockstep.store.deadline import left_s

Query = TypeVar("Query")


class QueryBatcher(Generic[Query]):
    """Lanes that encode one batch each at a time. It has no thread of its own.

    A caller who finds a lane free encodes at once. The others queue up; when a lane is free again,
    the first of them takes it, along with up to `most` queries that are `alike`. So a lone caller
    pays two locks, and batches grow as callers do.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[Query]], Vector],
        *,
        alike: Callable[[Query], Hashable],
        most: int,
        lanes: int = 1,
    ) -> None:
        self._encode = encode
        self._alike = alike
        self._most = most
        self._free_lanes = lanes
        self._queue: deque[_Caller[Query]] = deque()
        self._lock = threading.Lock()

    def encode(self, query: Query) -> Vector:
        """(dim,). Raises what encoding raises for this query, or Unavailable after the deadline."""
        caller = _Caller(query, self._alike(query))
        with self._lock:
            if self._free_lanes:
                self._free_lanes -= 1
                caller.leads = True
            else:
                self._queue.append(caller)
        if not caller.leads:
            self._wait(caller)
        if caller.leads:
            self._lead(caller)
        return caller.vector()

    def _wait(self, caller: "_Caller[Query]") -> None:
        """Until the vector is there, or a lane. Who leaves hands on the lane it may have got."""
        try:
            seconds = left_s()
            in_time = caller.woken.wait(None if math.isinf(seconds) else seconds)
            if in_time and not (caller.leads and not left_s()):
                return
            raise Unavailable(
                "The query could not be encoded before its deadline: others were before it.",
                next_step="Try again in a moment.",
            )
        except BaseException:  # KeyboardInterrupt too: the others go on
            self._leave(caller)
            raise

    def _leave(self, caller: "_Caller[Query]") -> None:
        with self._lock:
            if caller in self._queue:
                self._queue.remove(caller)
        if caller.leads:
            self._hand_over()

    def _lead(self, leader: "_Caller[Query]") -> None:
        try:
            self._run([leader, *self._companions(leader)])
        finally:
            self._hand_over()

    def _companions(self, leader: "_Caller[Query]") -> list["_Caller[Query]"]:
        with self._lock:
            alike = (caller for caller in self._queue if caller.kind == leader.kind)
            taken = [caller for caller, _ in zip(alike, range(self._most - 1), strict=False)]
            for caller in taken:
                self._queue.remove(caller)
        return taken

    def _run(self, batch: list["_Caller[Query]"]) -> None:
        """Give every caller its vector or error, whatever happens."""
        try:
            vectors = self._encode([caller.query for caller in batch])
            for caller, vector in zip(batch, vectors, strict=True):
                caller.result = vector
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            else:  # only who is at fault may fail
                for caller in batch:
                    self._run([caller])
        finally:
            for caller in batch:
                caller.woken.set()

    def _hand_over(self) -> None:
        """Wake the first who waits, to lead; without one the lane is free."""
        with self._lock:
            if self._queue:
                first = self._queue.popleft()
                first.leads = True
                first.woken.set()
            else:
                self._free_lanes += 1


class _Caller(Generic[Query]):
    """One caller's query, and what became of it."""

    def __init__(self, query: Query, kind: Hashable) -> None:
        self.query = query
        self.kind = kind
        self.leads = False
        self.woken = threading.Event()
        self.result: Vector | None = None
        self.error: Exception | None = None

    def vector(self) -> Vector:
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise Unavailable("The encoding of the query was broken off.")
        return self.result
