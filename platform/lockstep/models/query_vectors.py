"""The vectors of the queries that were asked last."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from lockstep.models.vectors import Vector


class QueryVectors:
    """Keeps up to `capacity` vectors of one encoder, the least recently asked go first.

    It belongs to its encoder, so no query ever gets another model's vector. Safe in threads.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, encode: Callable[[str], Vector]) -> Vector:
        """The text's vector, read-only; `encode` gives it where it is not known."""
        with self._lock:
            known = self._vectors.get(text)
            if known is not None:
                self._vectors.move_to_end(text)
                return known
        vector = encode(text)
        vector.flags.writeable = False
        with self._lock:
            if self._capacity:
                self._vectors[text] = vector
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)
        return vector
