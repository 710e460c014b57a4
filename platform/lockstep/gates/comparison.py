"""Two index versions side by side: quality, drift, latency, and the queries that changed most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.gates.quality import Answers, Judgement, judge, modes, quality_gates
from lockstep.gates.queries import Judged
from lockstep.gates.searchers import Answer, Searcher
from lockstep.gates.statistics import p95_ratio
from lockstep.index.gate_report import GateResult, Verdict
from lockstep.search.overlap import jaccard, rank_biased_overlap
from lockstep.search.request import Mode
from lockstep.settings import GateSettings
from lockstep.store.port import Json

DRIFT = "drift"
LATENCY = "latency"
DEPTH = 10
_WARM_UP = 10
_MOST_CHANGED = 10
# Below this many queries a 95th percentile is one query's whim.
_MIN_TIMED = 40


@dataclass(frozen=True)
class Change:
    """How one query's answer changed."""

    query: str
    overlap: float  # RBO: 1 is the same answer
    before: Sequence[str]  # document ids, best first
    after: Sequence[str]
    gain: float | None = None  # of nDCG@10, where the query is judged

    def to_json(self) -> Json:
        return {
            "query": self.query,
            "overlap": round(self.overlap, 4),
            "before": list(self.before),
            "after": list(self.after),
            "gain": None if self.gain is None else round(self.gain, 4),
        }


@dataclass(frozen=True)
class Comparison:
    """What two versions answer, and how they differ."""

    results: list[GateResult]
    changes: list[Change]  # the most changed first

    def to_json(self) -> Json:
        return {
            "results": [
                {**vars(result), "verdict": result.verdict.value} for result in self.results
            ],
            "changes": [change.to_json() for change in self.changes],
        }


def compare(
    candidate: Searcher,
    live: Searcher | None,
    judged: Sequence[Judged],
    sampled: Sequence[str],
    settings: GateSettings,
    *,
    require_better: bool = False,
) -> Comparison:
    """Ask both versions the same queries, in turn.

    `judged` decides about quality, `sampled` about drift and latency.
    """
    results: list[GateResult] = []
    judgements: list[Judgement] = []
    changes: dict[str, Change] = {}
    if settings.quality:
        for one in judged:
            for mode in modes(one):
                judgement, after, before = judge(one, mode, candidate, live)
                judgements.append(judgement)
                if mode is Mode.HYBRID and live is not None:
                    changes |= _judged_changes(judgement, before, after)
        results += quality_gates(judgements, settings, require_better=require_better)
    if live is not None and (settings.drift or settings.latency) and sampled:
        asked = _ask_in_turn(candidate, live, sampled)
        changes = {one.query: one for one in _changes(asked)} | changes
        results += _sampled_gates(asked, settings)
    most = sorted(changes.values(), key=lambda change: (change.overlap, change.query))
    return Comparison(results, most[:_MOST_CHANGED])


@dataclass(frozen=True)
class _Asked:
    query: str
    before: Answer
    after: Answer


def _ask_in_turn(candidate: Searcher, live: Searcher, queries: Sequence[str]) -> list[_Asked]:
    """Every query to both, the first turn alternating, so that neither profits from warm caches."""
    for query in queries[:_WARM_UP]:
        for searcher in (candidate, live):
            searcher.ask(query, Mode.HYBRID, DEPTH)
    asked = []
    for number, query in enumerate(queries):
        if number % 2:
            after = candidate.ask(query, Mode.HYBRID, DEPTH)
            before = live.ask(query, Mode.HYBRID, DEPTH)
        else:
            before = live.ask(query, Mode.HYBRID, DEPTH)
            after = candidate.ask(query, Mode.HYBRID, DEPTH)
        asked.append(_Asked(query, before, after))
    return asked


def _sampled_gates(asked: Sequence[_Asked], settings: GateSettings) -> Iterator[GateResult]:
    if settings.drift:
        yield _drift(asked, settings)
    if settings.latency:
        yield _latency(asked, settings)


def _drift(asked: Sequence[_Asked], settings: GateSettings) -> GateResult:
    overlap = float(
        np.mean([rank_biased_overlap(a.before.document_ids, a.after.document_ids) for a in asked])
    )
    common = float(np.mean([jaccard(a.before.document_ids, a.after.document_ids) for a in asked]))
    flagged = overlap < settings.min_overlap
    return GateResult(
        DRIFT,
        Verdict.FLAGGED if flagged else Verdict.PASSED,
        figure=f"RBO {overlap:.2f}, Jaccard@{DEPTH} {common:.2f} over {len(asked):,} queries",
        threshold=f"RBO ≥ {settings.min_overlap}, or a look",
        detail="answers change a lot: lockstep compare shows where" if flagged else "",
        measured={"rbo": round(overlap, 4), "jaccard": round(common, 4), "queries": len(asked)},
    )


def _latency(asked: Sequence[_Asked], settings: GateSettings) -> GateResult:
    after = np.array([a.after.took_ms for a in asked])
    before = np.array([a.before.took_ms for a in asked])
    if len(asked) < _MIN_TIMED:
        figure = f"{len(asked)} queries are too few for a 95th percentile"
        return GateResult(LATENCY, Verdict.SKIPPED, figure)
    ratio = p95_ratio(after, before)
    slower_ms = ratio.candidate_ms - ratio.live_ms
    failed = ratio.low > settings.max_latency_ratio and slower_ms > settings.latency_slack_ms
    return GateResult(
        LATENCY,
        Verdict.FAILED if failed else Verdict.PASSED,
        figure=f"p95 {ratio.candidate_ms:.1f} ms against {ratio.live_ms:.1f} ms: "
        f"{ratio.ratio:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] times",
        threshold=f"interval not above {settings.max_latency_ratio:g} times "
        f"and {settings.latency_slack_ms:g} ms",
        measured=ratio.to_json(),
    )


def _changes(asked: Sequence[_Asked]) -> Iterator[Change]:
    for one in asked:
        yield _change(one.query, one.before, one.after)


def _judged_changes(judgement: Judgement, before: Answers, after: Answers) -> dict[str, Change]:
    """The change of each judged query, by its text."""
    live = judgement.live
    if live is None:
        return {}
    gains = judgement.candidate - live
    return {
        text: _change(text, before[key], after[key], float(gain))
        for key, gain in zip(judgement.query_ids, gains, strict=True)
        if (text := judgement.judged.queries[key])
    }


def _change(query: str, before: Answer, after: Answer, gain: float | None = None) -> Change:
    return Change(
        query,
        rank_biased_overlap(before.document_ids, after.document_ids),
        before.document_ids,
        after.document_ids,
        gain,
    )
