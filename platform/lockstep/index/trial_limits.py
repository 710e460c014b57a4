"""When a trial stops by itself: too many errors, or answers that take too long."""

import scipy  # scipy.stats takes half a second to load, and is at first use

from lockstep.index.trial_counts import Counts, Times
from lockstep.index.trials import Exposure

# Fewer answers than this decide nothing. The bound of a share holds for any number of answers; that
# of a p95 needs some.
MIN_ANSWERS = 5
MIN_TIMES = 50
# The figures are looked at again and again, so each look must be surer than a single one.
CONFIDENCE = 0.99
_P95 = 0.95


def reason_to_stop(counts: Counts, exposure: Exposure) -> str | None:
    """Which limit the answers that callers waited for have passed; None where none has.

    Both rules ask whether the limit is passed for sure, that is with 99 % confidence. Errors, from
    5 answers on: the lower bound of their share (Clopper and Pearson, Biometrika 1934) lies above
    max_error_share. Latency, from 50 of each version on: the lower bound of the candidate's p95
    lies above max_latency_ratio times the upper bound of the live version's; each version's part
    of interleaved answers counts too. Copies count for nothing here.
    """
    return _too_many_errors(counts, exposure) or _too_slow(counts, exposure)


def _too_many_errors(counts: Counts, exposure: Exposure) -> str | None:
    tried = counts.candidate.count + counts.interleaved.count
    failed = counts.candidate.failed + counts.interleaved.failed
    if tried < MIN_ANSWERS or not failed:
        return None
    least = float(scipy.stats.beta.ppf(1 - CONFIDENCE, failed, tried - failed + 1))
    if least <= exposure.max_error_share:
        return None
    return (
        f"{failed} of {tried} searches failed on the candidate, at least {least:.1%} with "
        f"{CONFIDENCE:.0%} confidence; {exposure.max_error_share:.1%} are allowed. "
        "The live version answered them."
    )


def _too_slow(counts: Counts, exposure: Exposure) -> str | None:
    candidate = counts.candidate.times.plus(counts.theirs)
    live = counts.live.times.plus(counts.ours)
    if not (_enough(candidate) and _enough(live)):
        return None
    slow, fast = candidate.bounds(_P95, CONFIDENCE)[0], live.bounds(_P95, CONFIDENCE)[1]
    if slow <= exposure.max_latency_ratio * fast:
        return None
    return (
        f"The candidate's p95 is {candidate.quantile(_P95):.1f} ms, at least {slow:.1f} ms; "
        f"the live version's is {live.quantile(_P95):.1f} ms, at most {fast:.1f} ms. "
        f"{exposure.max_latency_ratio:g} times as long is allowed."
    )


def _enough(times: Times) -> bool:
    return times.count >= MIN_TIMES
