"""The token bucket of each key, by a clock that the test turns."""

from lockstep.api import rate_limit
from lockstep.api.rate_limit import RateLimits
from lockstep.corpus.api_key import ApiKey, Scope, new_key


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def key(name: str = "k", rate_per_s: float | None = None) -> ApiKey:
    return new_key(name, [Scope.SEARCH], rate_per_s=rate_per_s)[0]


def test_a_burst_passes_then_the_rate_holds() -> None:
    clock, shop = Clock(), key()
    limits = RateLimits(2.0, 2.0, clock=clock)

    assert [limits.wait_s(shop) for _ in range(4)] == [0.0] * 4
    assert limits.wait_s(shop) == 0.5
    clock.now = 0.5
    assert limits.wait_s(shop) == 0.0
    assert limits.wait_s(shop) == 0.5
    clock.now = 1e6  # however long: no more than a burst
    assert [limits.wait_s(shop) > 0 for _ in range(5)] == [False] * 4 + [True]


def test_a_key_of_its_own_rate_and_one_without_any() -> None:
    limits = RateLimits(1.0, 1.0, clock=Clock())
    slow, free = key(rate_per_s=0.1), key(rate_per_s=0.0)

    assert [limits.wait_s(slow), limits.wait_s(slow)] == [0.0, 10.0]
    assert [limits.wait_s(free) for _ in range(100)] == [0.0] * 100


def test_what_a_request_costs_besides_is_paid_before_the_next() -> None:
    clock, shop = Clock(), key()
    limits = RateLimits(2.0, 2.0, clock=clock)

    assert limits.wait_s(shop) == 0.0
    limits.charge(shop, 9)
    assert limits.wait_s(shop) == 3.5
    clock.now = 3.5
    assert limits.wait_s(shop) == 0.0


def test_no_limit_by_default() -> None:
    limits, shop = RateLimits(0.0, 2.0), key()
    assert [limits.wait_s(shop) for _ in range(1000)] == [0.0] * 1000
    assert not limits._buckets


def test_one_key_does_not_use_up_what_is_anothers() -> None:
    limits, first, second = RateLimits(1.0, 1.0, clock=Clock()), key("a"), key("b")
    assert limits.wait_s(first) == 0
    assert limits.wait_s(first) > 0
    assert limits.wait_s(second) == 0


def test_memory_is_bounded() -> None:
    limits = RateLimits(1.0, 1.0, clock=Clock())
    rate_limit_before = rate_limit.MAX_BUCKETS
    for number in range(rate_limit_before + 10):
        limits.wait_s(key(f"k{number}"))
    assert len(limits._buckets) == rate_limit_before
