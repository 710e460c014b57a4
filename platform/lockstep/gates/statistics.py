"""Paired comparisons of two index versions over the same queries."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import scipy  # scipy.stats takes half a second to load, and is at first use
from numpy.typing import NDArray

from lockstep.store.port import Json

CONFIDENCE = 0.95
_POWER = 0.8
_RESAMPLES = 9_999
_SEED = 20090719

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """The mean difference of candidate and live, per query, with its 95 % interval."""

    queries: int
    candidate: float  # mean
    live: float  # mean
    difference: float  # mean of candidate - live
    low: float  # of the interval
    high: float
    p_value: float  # of a two-sided randomisation test: chance of such a difference between equals
    deviation: float  # standard deviation of the differences

    def to_json(self) -> Json:
        return {
            key: round(value, 6) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }

    def needed(self, margin: float) -> int | None:
        """How many queries would show that the difference is above -margin, 4 times out of 5.

        None where more queries of this kind would not: the difference itself is at or below it.
        Source: Chow, Shao, Wang, Sample Size Calculations in Clinical Research, 2008, section 3.1.
        """
        distance = self.difference + margin
        if distance <= 0:
            return None
        z = scipy.stats.norm.ppf((1 + CONFIDENCE) / 2) + scipy.stats.norm.ppf(_POWER)
        return max(2, math.ceil((float(z) * self.deviation / distance) ** 2))


def paired(candidate: Values, live: Values) -> Paired:
    """Compare two rows of one figure per query, (n,) each.

    The interval is a bias-corrected and accelerated bootstrap of the mean difference, the test
    flips signs. Sources: Efron, JASA 1987; Smucker, Allan, Carterette, CIKM 2007.
    """
    if candidate.shape != live.shape or not len(candidate):
        raise ValueError(f"shapes are {candidate.shape} and {live.shape}; expected one, not empty")
    difference = candidate - live
    low, high, p_value = _interval_and_test(difference)
    return Paired(
        queries=len(difference),
        candidate=float(candidate.mean()),
        live=float(live.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        p_value=p_value,
        deviation=float(difference.std(ddof=1)) if len(difference) > 1 else 0.0,
    )


def _interval_and_test(difference: Values) -> tuple[float, float, float]:
    mean = float(difference.mean())
    if np.ptp(difference) == 0:  # every query changed by the same: nothing to resample
        # Of all flips of signs, all and none give as large a mean.
        return mean, mean, 1.0 if mean == 0 else 2.0 ** (1 - len(difference))
    interval = scipy.stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=500,
        confidence_level=CONFIDENCE,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    test = scipy.stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        batch=500,
        rng=np.random.default_rng(_SEED),
    )
    return float(interval.low), float(interval.high), float(test.pvalue)


@dataclass(frozen=True)
class Ratio:
    """How much slower the candidate is: its p95 over that of the live version."""

    candidate_ms: float  # p95
    live_ms: float  # p95
    ratio: float
    low: float  # of the 95 % interval of the ratio
    high: float

    def to_json(self) -> Json:
        return {key: round(value, 4) for key, value in asdict(self).items()}


def p95_ratio(candidate_ms: Values, live_ms: Values) -> Ratio:
    """Compare the 95th percentiles of two rows of times of the same queries, (n,) each."""

    def ratio(one: Values, other: Values, axis: int = -1) -> Values:
        upper = np.percentile(other, 95, axis=axis)
        return np.asarray(np.percentile(one, 95, axis=axis) / np.maximum(upper, 1e-6))

    interval = scipy.stats.bootstrap(
        (candidate_ms, live_ms),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=999,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Ratio(
        candidate_ms=float(np.percentile(candidate_ms, 95)),
        live_ms=float(np.percentile(live_ms, 95)),
        ratio=float(ratio(candidate_ms, live_ms)),
        low=float(interval.low),
        high=float(interval.high),
    )
