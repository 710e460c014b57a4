"""What a server counts while a version meets live traffic, in figures that add up over servers."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import scipy  # scipy.stats takes half a second to load, and is at first use

# Times are counted in steps of 5 %: fine enough to compare percentiles, and sums are exact.
_GROWTH = math.log(1.05)
_LEAST_MS = 0.01


@dataclass
class Times:
    """A histogram of durations in milliseconds, each step 5 % above the one before."""

    steps: Counter[int] = field(default_factory=Counter)

    def add(self, milliseconds: float) -> None:
        self.steps[round(math.log(max(milliseconds, _LEAST_MS)) / _GROWTH)] += 1

    @property
    def count(self) -> int:
        return self.steps.total()

    def plus(self, other: "Times") -> "Times":
        """All times of both."""
        return Times(self.steps + other.steps)

    def at_rank(self, rank: int) -> float:
        """The rank-th shortest time, from 1; within the histogram."""
        passed = 0
        for step in sorted(self.steps):
            passed += self.steps[step]
            if passed >= rank:
                break
        return math.exp(step * _GROWTH)

    def quantile(self, share: float) -> float | None:
        """The time that `share` of all stay below; None where nothing was timed."""
        return self.at_rank(max(1, math.ceil(share * self.count))) if self.steps else None

    def bounds(self, share: float, confidence: float) -> tuple[float, float]:
        """A one-sided lower and a one-sided upper bound of a quantile, by order statistics.

        With few times the upper one is the longest of them. Source: Conover, Practical
        Nonparametric Statistics, 1999, section 3.2.
        """
        low = int(scipy.stats.binom.ppf(1 - confidence, self.count, share))
        high = int(scipy.stats.binom.ppf(confidence, self.count, share)) + 1
        return self.at_rank(max(1, low)), self.at_rank(min(self.count, high))


@dataclass
class Mean:
    """A mean that can be added up, with its interval."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """By Student's t; None for fewer than two values."""
        if self.count < 2:
            return None
        mean = self.total / self.count
        variance = max(0.0, self.squares - self.count * mean * mean) / (self.count - 1)
        quantile = float(scipy.stats.t.ppf((1 + confidence) / 2, self.count - 1))
        half = quantile * math.sqrt(variance / self.count)
        return mean - half, mean + half


@dataclass
class Tried:
    """Searches of one kind: how many were answered, how many failed, how long they took."""

    answered: int = 0
    failed: int = 0
    times: Times = field(default_factory=Times)

    @property
    def count(self) -> int:
        return self.answered + self.failed

    def answer(self, milliseconds: float) -> None:
        self.answered += 1
        self.times.add(milliseconds)


@dataclass
class Counts:
    """All that is counted of one trial. Not safe in several threads by itself."""

    live: Tried = field(default_factory=Tried)  # answered by the live version while the trial ran
    candidate: Tried = field(default_factory=Tried)  # canaries; failed ones were answered by live
    interleaved: Tried = field(default_factory=Tried)  # the same of interleaved answers
    ours: Times = field(default_factory=Times)  # of live, for its part of interleaved answers
    theirs: Times = field(default_factory=Times)  # of the candidate, for its part of them
    shadow: Tried = field(default_factory=Tried)  # copies; nobody waited for them
    shadowed: Times = field(default_factory=Times)  # of the live answers that were copied
    dropped: int = 0  # copies that found no quiet moment
    jaccard: Mean = field(default_factory=Mean)  # of the first ten of copy and answer
    rbo: Mean = field(default_factory=Mean)

    def to_json(self) -> dict[str, Any]:
        return {part.name: _plain(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        made = cls()
        for part in fields(cls):
            if part.name in values:
                setattr(made, part.name, _read(getattr(made, part.name), values[part.name]))
        return made

    def plus(self, other: "Counts") -> "Counts":
        """The sum of both."""
        return Counts(
            **{
                part.name: _sum(getattr(self, part.name), getattr(other, part.name))
                for part in fields(self)
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Times):
        return {str(step): count for step, count in value.steps.items()}
    if isinstance(value, (Mean, Tried)):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    return value


def _read(like: Any, value: Any) -> Any:
    if isinstance(like, Times):
        return Times(Counter({int(step): count for step, count in value.items()}))
    if isinstance(like, (Mean, Tried)):
        parts = {p.name: _read(getattr(like, p.name), value[p.name]) for p in fields(like)}
        return type(like)(**parts)
    return value


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Times):
        return one.plus(other)
    if isinstance(one, (Mean, Tried)):
        parts = {p.name: _sum(getattr(one, p.name), getattr(other, p.name)) for p in fields(one)}
        return type(one)(**parts)
    return one + other
