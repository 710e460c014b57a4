"""Work done ahead: iterators that run in threads of their own, a bounded number of items early."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The work is not wanted any more."""


@dataclass(frozen=True)
class _Raised:
    error: BaseException


class _End:
    """There are no more items."""


class Ahead:
    """Threads that are stopped together. Close it, or use `contextlib.closing`."""

    def __init__(self, items: int) -> None:
        """Each iterator may be `items` ahead of whoever draws from it, and work on one more."""
        self._items = items
        self._changed = threading.Condition()
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def run(self, name: str, source: Iterator[T]) -> Iterator[T]:
        """What `source` gives, in its order, taken from it in a thread.

        What it raises is raised at its place. Raises Stopped once this is closed.
        """
        queue: _Queue[T] = _Queue(self._items, self)
        thread = threading.Thread(
            target=queue.fill, args=(source,), name=f"lockstep {name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()
        return queue

    def check(self) -> None:
        """Raises Stopped once this is closed."""
        if self._stopped:
            raise Stopped

    def close(self) -> None:
        """Have the threads end where they stand, and wait for that."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def changed(self) -> threading.Condition:
        """Held while a queue is looked at or changed."""
        return self._changed


class _Queue(Generic[T]):
    def __init__(self, size: int, ahead: Ahead) -> None:
        self._size = size
        self._ahead = ahead
        self._items: deque[T | _Raised | _End] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._ahead.changed:
            while not self._items:
                self._ahead.check()
                self._ahead.changed.wait()
            self._ahead.check()
            item = self._items[0]
            if isinstance(item, _End):  # stays, like an iterator that is exhausted
                raise StopIteration
            if isinstance(item, _Raised):
                raise item.error
            self._items.popleft()
            self._ahead.changed.notify_all()
            return item

    def fill(self, source: Iterator[T]) -> None:
        try:
            for item in source:
                self._put(item)
            self._put(_End())
        except Stopped:
            return
        except BaseException as error:  # whatever ended it is raised where the item is missing
            self._fail(error)

    def _put(self, item: T | _End) -> None:
        with self._ahead.changed:
            while len(self._items) >= self._size:
                self._ahead.check()
                self._ahead.changed.wait()
            self._ahead.check()
            self._items.append(item)
            self._ahead.changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._ahead.changed:
            self._items.append(_Raised(error))
            self._ahead.changed.notify_all()
