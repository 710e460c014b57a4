"""Is the engine ready, and does its search index find what an exact search finds?"""

from collections.abc import Sequence

import numpy as np

from lockstep.index.gate_report import GateResult, Verdict
from lockstep.index.generation import Generation
from lockstep.settings import GateSettings
from lockstep.store.port import Branch, Candidate, DenseBranch, Prefilter, Vector, VectorStore

HEALTH = "health"
PREFILTER_LOSS = "prefilter"
DEPTH = 10
# How many short vectors to rescore: tried in this order until enough of the full top 10 is kept.
CANDIDATES = (100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000)
# Two scores this close are one: both points would do as the tenth.
_TIE = 1e-5
# An exact search of a large collection reads all of it: a few in one request.
_AT_ONCE, _EXACT_AT_ONCE = 32, 2

Ranking = Sequence[Candidate]


def health_gate(
    generation: Generation,
    store: VectorStore,
    vectors: Vector,
    exact: Sequence[Ranking],
    settings: GateSettings,
) -> GateResult:
    """`vectors` are encoded queries, (n, dim); `exact` are their true top 10s."""
    state = store.readiness(generation.collection)
    if not state.ready:
        return GateResult(HEALTH, Verdict.FAILED, f"not ready: {state.detail}", "ready")
    recall = share_kept(exact, _rankings(generation, store, vectors))
    return GateResult(
        HEALTH,
        Verdict.PASSED if recall >= settings.min_recall else Verdict.FAILED,
        figure=f"{state.detail}; recall@{DEPTH} {recall:.3f} over {len(vectors):,} queries",
        threshold=f"ready, recall ≥ {settings.min_recall}",
        measured={"recall": round(recall, 4), "queries": len(vectors)},
    )


def prefilter_gate(
    generation: Generation,
    store: VectorStore,
    vectors: Vector,
    exact: Sequence[Ranking],
    settings: GateSettings,
) -> GateResult:
    """The fewest candidates that keep enough of the full-dimension top 10.

    `measured["candidates"]` is that number, or null where none is enough.
    """
    dim = generation.version.spec.prefilter_dim
    if dim is None:
        return GateResult(PREFILTER_LOSS, Verdict.SKIPPED, "the index has no prefilter")
    curve: dict[int, float] = {}
    for candidates in CANDIDATES:
        found = _rankings(generation, store, vectors, candidates=candidates)
        curve[candidates] = share_kept(exact, found)
        if curve[candidates] >= settings.min_prefilter_kept:
            break
    needed, kept = next(reversed(curve.items()))
    enough = kept >= settings.min_prefilter_kept
    return GateResult(
        PREFILTER_LOSS,
        Verdict.PASSED if enough else Verdict.FAILED,
        figure=f"{needed:,} candidates of {dim} dimensions keep {kept:.1%} of the top {DEPTH}",
        threshold=f"≥ {settings.min_prefilter_kept:.0%}",
        detail="" if enough else "build it without: lockstep reindex … --prefilter-dim 0",
        measured={
            "candidates": needed if enough else None,
            "curve": {str(key): round(value, 4) for key, value in curve.items()},
        },
    )


def exact_rankings(generation: Generation, store: VectorStore, vectors: Vector) -> list[Ranking]:
    """The true top 10 of each query: every point compared."""
    return _rankings(generation, store, vectors, exact=True)


def share_kept(exact: Sequence[Ranking], found: Sequence[Ranking]) -> float:
    """The share of each true top 10 that was found, averaged; a tie with the tenth counts."""
    shares = [_kept(one, other) for one, other in zip(exact, found, strict=True) if one]
    return float(np.mean(shares)) if shares else 1.0


def _kept(exact: Ranking, found: Ranking) -> float:
    if not exact:
        return 1.0
    limit = exact[-1].score - _TIE
    good = sum(candidate.score >= limit for candidate in found)
    return min(1.0, good / len(exact))


def _rankings(
    generation: Generation,
    store: VectorStore,
    vectors: Vector,
    *,
    exact: bool = False,
    candidates: int | None = None,
) -> list[Ranking]:
    """The top 10 of each query vector, asked for some queries at a time."""
    short = None if candidates is None else generation.prefilter_vectors(vectors)
    branches: list[Branch] = [
        DenseBranch(
            vector,
            DEPTH,
            exact=exact,
            prefilter=None
            if short is None or candidates is None
            else Prefilter(short[row], candidates),
        )
        for row, vector in enumerate(vectors)
    ]
    found: list[Ranking] = []
    step = _EXACT_AT_ONCE if exact else _AT_ONCE
    for start in range(0, len(branches), step):
        found += store.search(generation.collection, branches[start : start + step])
    return found
