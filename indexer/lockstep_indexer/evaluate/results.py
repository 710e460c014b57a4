"""What an evaluation found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.gates.statistics import Paired, Values
from lockstep.store.port import Json
from lockstep_indexer.evaluate.collection import Asked
from lockstep_indexer.evaluate.indexes import Cost
from lockstep_indexer.evaluate.judging import Flag
from lockstep_indexer.evaluate.measures import Measure, Run
from lockstep_indexer.evaluate.ways import Way


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a search for the first ten documents, its query's encoding included."""

    p50: float
    p95: float
    queries: int

    @classmethod
    def of(cls, took_ms: Sequence[float]) -> "Latency":
        p50, p95 = np.percentile(took_ms, [50, 95])
        return cls(float(p50), float(p95), len(took_ms))

    def to_json(self) -> Json:
        return {"p50": round(self.p50, 3), "p95": round(self.p95, 3), "queries": self.queries}


@dataclass(frozen=True)
class Result:
    """What one way of searching came to."""

    way: Way
    figures: Mapping[Measure, Values]  # (n,) each, in the order of the queries' ids
    run: Run
    latency: Latency

    def mean(self, measure: Measure) -> float | None:
        """The macro average; None where the way gives fewer documents than the measure looks at."""
        return float(self.figures[measure].mean()) if measure in self.figures else None

    def to_json(self, ids: Sequence[str], headline: Measure) -> Json:
        each = self.figures.get(headline)
        return {
            "way": str(self.way),
            "kind": self.way.kind.value,
            "dims": self.way.dims,
            "means": {str(m): round(float(v.mean()), 6) for m, v in self.figures.items()},
            "per_query": {} if each is None else _by_query(ids, each),
            "latency_ms": self.latency.to_json(),
        }


@dataclass(frozen=True)
class ModelResult:
    """What one model came to."""

    ref: str
    digest: str
    registered: bool
    dim: int
    device: str
    lineage: Json
    results: Mapping[Way, Result]
    cost: Cost
    prefilter: tuple[int, int] | None  # its dimensions, and how many short vectors are rescored
    queries_by: str  # what encoded its queries

    def to_json(self, ids: Sequence[str], headline: Measure) -> Json:
        dims, candidates = self.prefilter or (None, None)
        return {
            "model": self.ref,
            "digest": self.digest,
            "registered": self.registered,
            "dim": self.dim,
            "device": self.device,
            "queries_encoded_by": self.queries_by,
            "prefilter": {"dims": dims, "candidates": candidates},
            "cost": self.cost.to_json(),
            "results": [each.to_json(ids, headline) for each in self.results.values()],
        }


@dataclass(frozen=True)
class Comparison:
    """A model against the first one, searched the same way, query by query."""

    model: str
    base: str
    way: Way
    paired: Paired
    adjusted_p: float  # by Holm, over all comparisons of the evaluation
    gains: Values  # (n,), in the order of the queries' ids
    wins: int
    losses: int
    ties: int

    @property
    def is_significant(self) -> bool:
        return self.adjusted_p < 0.05

    def to_json(self, ids: Sequence[str]) -> Json:
        return {
            "model": self.model,
            "base": self.base,
            "way": str(self.way),
            **paired_json(self.paired),
            "adjusted_p": round(self.adjusted_p, 6),
            "significant": self.is_significant,
            "wins": self.wins,
            "losses": self.losses,
            "ties": self.ties,
            "gains": _by_query(ids, self.gains),
        }


@dataclass(frozen=True)
class SliceRow:
    """Some of the queries, and what each model came to on them."""

    label: str
    queries: int
    means: Mapping[str, float]  # of the headline measure, by model


@dataclass(frozen=True)
class Slices:
    """The queries in parts, by one property; a query may be in several."""

    by: str
    way: Way
    rows: Sequence[SliceRow]

    def to_json(self) -> Json:
        return {
            "by": self.by,
            "way": str(self.way),
            "rows": [
                {**vars(row), "means": {k: round(v, 6) for k, v in row.means.items()}}
                for row in self.rows
            ],
        }


@dataclass(frozen=True)
class GuardLine:
    """What a model came to on the guard's collection, against the first one."""

    comparison: Comparison
    verdict: str  # passed, flagged or failed
    detail: str


@dataclass(frozen=True)
class GuardResult:
    """Whether what was gained here was lost elsewhere."""

    collection: str
    margin: float
    models: Sequence[ModelResult]
    lines: Sequence[GuardLine]
    asked: Asked

    @property
    def failed(self) -> bool:
        return any(line.verdict == "failed" for line in self.lines)


@dataclass(frozen=True)
class Evaluation:
    """Everything; `to_json` leaves out what can be had from saved runs."""

    collection: str
    asked: Asked
    measures: Sequence[Measure]  # shown; the first is the headline
    bm25: Result | None
    models: Sequence[ModelResult]
    comparisons: Sequence[Comparison]
    slices: Sequence[Slices]
    guard: GuardResult | None
    flags: Mapping[str, Flag]  # by model
    pairs: Sequence[tuple[str, str]]  # of queries and relevant documents, drawn by chance
    notes: Sequence[str]
    seconds: float

    @property
    def headline(self) -> Measure:
        return self.measures[0]

    def to_json(self) -> Json:
        ids, headline = self.asked.ids, self.headline
        return {
            "corpus": self.collection,
            "query_set": self.asked.set_name,
            "queries": len(ids),
            "left_out": {
                "unknown_documents": self.asked.unknown,
                "unknown_ids": list(self.asked.unknown_ids),
                "unanswerable": self.asked.unanswerable,
                "unasked": self.asked.unasked,
            },
            "headline": str(headline),
            "measures": [str(measure) for measure in self.measures],
            "bm25": self.bm25.to_json(ids, headline) if self.bm25 else None,
            "models": [model.to_json(ids, headline) for model in self.models],
            "comparisons": [each.to_json(ids) for each in self.comparisons],
            "slices": [each.to_json() for each in self.slices],
            "guard": _guard_json(self.guard, headline) if self.guard else None,
            "flags": {ref: vars(flag) for ref, flag in self.flags.items()},
            "pairs_to_read": [list(pair) for pair in self.pairs] if self.flags else [],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


def paired_json(paired: Paired) -> Json:
    """In the words of models: a base, and what is compared with it."""
    names = {"candidate": "mean", "live": "base_mean"}
    return {names.get(key, key): value for key, value in paired.to_json().items()}


def _by_query(ids: Sequence[str], values: Values) -> dict[str, float]:
    return dict(zip(ids, np.round(values, 6).tolist(), strict=True))


def _guard_json(guard: GuardResult, headline: Measure) -> Json:
    ids = guard.asked.ids
    return {
        "collection": guard.collection,
        "queries": len(ids),
        "margin": guard.margin,
        "failed": guard.failed,
        "models": [model.to_json(ids, headline) for model in guard.models],
        "lines": [
            {"verdict": line.verdict, "detail": line.detail, **line.comparison.to_json(ids)}
            for line in guard.lines
        ],
    }
