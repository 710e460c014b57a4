"""How many requests a second each API key may send to this process."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lockstep.corpus.api_key import ApiKey

MAX_BUCKETS = 10_000


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


class RateLimits:
    """A token bucket for each key, which fills at the key's rate and holds `burst_s` of it.

    For one thread, the event loop's. A bucket that was not used for longest makes room for a new
    one; it would be full again by then.
    """

    def __init__(
        self, per_s: float, burst_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst_s = burst_s
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_s(self, key: ApiKey) -> float:
        """Take a token: 0 where there was one, else the seconds until the next."""
        if (per_s := self._rate(key)) == 0:
            return 0.0
        bucket = self._filled(key, per_s)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / per_s

    def charge(self, key: ApiKey, count: int) -> None:
        """Take what a request turns out to cost besides its first token, on credit if need be."""
        if per_s := self._rate(key):
            self._filled(key, per_s).tokens -= count

    def _rate(self, key: ApiKey) -> float:
        return self._per_s if key.rate_per_s is None else key.rate_per_s

    def _filled(self, key: ApiKey, per_s: float) -> _Bucket:
        """The key's bucket as it is by now."""
        now, size = self._clock(), max(1.0, per_s * self._burst_s)
        bucket = self._buckets.get(key.id)
        if bucket is None:
            bucket = self._buckets[key.id] = _Bucket(size, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key.id)
        bucket.tokens = min(size, bucket.tokens + (now - bucket.filled_at) * per_s)
        bucket.filled_at = now
        return bucket
