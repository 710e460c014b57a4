"""What a trial has shown so far, as one value for people and for programs."""

from dataclasses import asdict, dataclass
from typing import Any

from lockstep.corpus.query_log import QueryLog
from lockstep.index.trial_counts import Counts, Mean, Times, Tried
from lockstep.index.trials import Trial, Trials
from lockstep.search.interleaving import Preference

_P50, _P95, _CONFIDENCE = 0.5, 0.95, 0.95


@dataclass(frozen=True)
class TrialReport:
    """A trial, the sum of what its servers counted, and what clicks say."""

    trial: Trial
    counts: Counts
    preference: Preference

    @classmethod
    def of(cls, trials: Trials, log: QueryLog, trial: Trial) -> "TrialReport":
        preference = Preference.of(log.interleaved(trial.id))
        return cls(trial, trials.counts(trial), preference)

    def to_json(self) -> dict[str, Any]:
        trial, counts = self.trial, self.counts
        return {
            "id": trial.id,
            "corpus": trial.corpus,
            "version": trial.number,
            "live": trial.live,
            "state": trial.state.value,
            "exposure": asdict(trial.exposure),
            "reason": trial.reason,
            "actor": trial.actor,
            "started_at": trial.started_at,
            "ended_at": trial.ended_at,
            "answers": {
                "live": _tried(counts.live),
                "candidate": _tried(counts.candidate),
                "interleaved": _tried(counts.interleaved),
            },
            "shadow": {
                **_tried(counts.shadow),
                "dropped": counts.dropped,
                "live_times": _times(counts.shadowed),
                "jaccard": _mean(counts.jaccard),
                "rbo": _mean(counts.rbo),
            },
            "preference": _preference(self.preference),
        }


def _tried(tried: Tried) -> dict[str, Any]:
    return {"answered": tried.answered, "failed": tried.failed, "times": _times(tried.times)}


def _times(times: Times) -> dict[str, Any] | None:
    """Milliseconds; the p95 with bounds, each with 95 % confidence."""
    p50, p95 = times.quantile(_P50), times.quantile(_P95)
    if p50 is None or p95 is None:
        return None
    low, high = times.bounds(_P95, _CONFIDENCE)
    figures = {"p50_ms": p50, "p95_ms": p95, "p95_low_ms": low, "p95_high_ms": high}
    return {name: round(value, 3) for name, value in figures.items()}


def _mean(mean: Mean) -> dict[str, Any] | None:
    if mean.value is None:
        return None
    low, high = mean.interval() or (None, None)
    return {
        "mean": round(mean.value, 4),
        "low": None if low is None else round(max(0.0, low), 4),
        "high": None if high is None else round(min(1.0, high), 4),
    }


def _preference(preference: Preference) -> dict[str, Any]:
    low, high = preference.interval or (None, None)
    return {
        "wins": preference.wins,
        "losses": preference.losses,
        "ties": preference.ties,
        "share": preference.share,
        "low": low,
        "high": high,
        "p_value": preference.p_value,
        "needed": preference.needed,
        "verdict": preference.verdict,
    }
