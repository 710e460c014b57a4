"""Sampled passages: do they encode to what is stored, and are they found by their own vectors?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.index.generation import Generation
from lockstep.index.passages import Passage
from lockstep.models.vectors import lower_bound
from lockstep.store.port import (
    BM25,
    DENSE,
    LATE,
    PREFILTER,
    Branch,
    Candidate,
    DenseBranch,
    Json,
    LateBranch,
    Points,
    Record,
    SparseBranch,
    SparseVector,
    Vector,
    VectorStore,
)

# HNSW is approximate: now and then a point is not found by its own vector.
MIN_SELF_FOUND = 0.95
# BM25 weights are stored as they are given, in single precision.
_WEIGHT_TOLERANCE = 1e-4
# Of a passage's score with itself, stored in half precision and encoded in another batch.
_LATE_TOLERANCE = 1e-2
# Of the passages that are encoded again, so many are searched for: enough for a share.
SEARCHED = 64
_LATE_READ = 64  # points in a request
_WORDS = ("title", "text")


@dataclass(frozen=True)
class SampleReport:
    """What the samples showed; no problems means that model and index belong together."""

    samples: int
    min_cosine: float  # of a passage encoded now to its stored vector
    disagreeing: int  # passages of which a stored vector is not what the model gives
    self_found: dict[str, float]  # vector name -> share of passages found by their own vector
    problems: tuple[str, ...]

    @property
    def told_cosine(self) -> str:
        """What the sample promises for each of its passages."""
        return lower_bound(self.min_cosine, digits=4)

    def to_json(self) -> Json:
        return {
            "samples": self.samples,
            "min_cosine": float(lower_bound(self.min_cosine, digits=6)),
            "disagreeing": self.disagreeing,
            "self_found": {name: round(share, 4) for name, share in self.self_found.items()},
        }


def check_samples(
    generation: Generation, store: VectorStore, passages: Sequence[Passage], *, batch_size: int
) -> SampleReport:
    """Encode passages anew and compare them with the index.

    A passage whose document has changed since it was applied is left out: its point is as old as
    the index, not wrong. So is one that is not there; whether it should be, ids and hashes tell.
    """
    ids = [passage.point_id for passage in passages]
    stored = {record.id: record for record in stored_points(generation, store, ids)}
    current = [passage for passage in passages if _is_current(passage, stored)]
    if not current:
        return SampleReport(0, 1.0, 0, {}, ())
    fresh = generation.points(current, batch_size=batch_size)
    least = generation.version.min_cosine
    cosines = agreement(fresh, [stored[point_id] for point_id in fresh.ids])
    shares = _self_found(generation, store, current[:SEARCHED], fresh)
    worst = np.min(list(cosines.values()), axis=0)  # (n,)
    records = [stored[point_id] for point_id in fresh.ids]
    weights = np.array([same_weights(a, b.bm25) for a, b in zip(fresh.bm25, records, strict=True)])
    words = np.array(
        [
            all(theirs.payload[field] == ours[field] for field in _WORDS)
            for ours, theirs in zip(fresh.payloads, records, strict=True)
        ]
    )
    return SampleReport(
        samples=len(current),
        min_cosine=float(worst.min()),
        disagreeing=int(((worst < least) | ~weights | ~words).sum()),
        self_found=shares,
        problems=(
            *_cosine_problems(cosines, least),
            *_other_problems("BM25 weights", weights),
            *_other_problems("title or text", words),
            *_share_problems(shares, len(current[:SEARCHED])),
        ),
    )


def stored_points(
    generation: Generation, store: VectorStore, ids: Sequence[str]
) -> Iterator[Record]:
    """Points with all the vectors there are; few at once with those of tokens."""
    late = generation.tokens is not None
    size = max(1, _LATE_READ if late else len(ids))
    for start in range(0, len(ids), size):
        yield from store.retrieve(
            generation.collection, ids[start : start + size], with_vectors=True, with_late=late
        )


def _is_current(passage: Passage, stored: dict[str, Record]) -> bool:
    record = stored.get(passage.point_id)
    return record is not None and record.payload["content_hash"] == passage.document.content_hash


def agreement(fresh: Points, stored: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """The agreement of each passage, (n,), for each name of a dense vector or of tokens'."""
    found = {DENSE: map(_cosine, fresh.dense, [record.dense for record in stored])}
    if fresh.prefilter is not None:
        found[PREFILTER] = map(_cosine, fresh.prefilter, [record.prefilter for record in stored])
    if fresh.late is not None:
        found[LATE] = map(_late_cosine, fresh.late, [record.late for record in stored])
    return {name: np.fromiter(cosines, float) for name, cosines in found.items()}


def _cosine(ours: Vector, theirs: Vector | None) -> float:
    if theirs is None or not np.isfinite(theirs).all():
        return -1.0
    norm = float(np.linalg.norm(theirs)) * float(np.linalg.norm(ours))
    return float(ours @ theirs) / norm if norm else -1.0


def _late_cosine(ours: Vector, theirs: Vector | None) -> float:
    """Of all the tokens' vectors end to end: one that differs shows among a thousand."""
    if theirs is None or theirs.shape != ours.shape:
        return -1.0
    return _cosine(ours.ravel(), theirs.ravel()) if ours.any() or theirs.any() else 1.0


def _self_found(
    generation: Generation, store: VectorStore, passages: Sequence[Passage], fresh: Points
) -> dict[str, float]:
    found: dict[str, list[bool]] = {}
    for row, passage in enumerate(passages):
        branches: dict[str, Branch] = {DENSE: DenseBranch(fresh.dense[row], limit=20)}
        if fresh.prefilter is not None:
            branches[PREFILTER] = DenseBranch(fresh.prefilter[row], limit=20, using=PREFILTER)
        query = generation.lexical.encode_query(passage.encoded_text)
        if len(query.indices):
            branches[BM25] = SparseBranch(query, limit=50)
        rankings = store.search(generation.collection, list(branches.values()))
        for name, ranking in zip(branches, rankings, strict=True):
            found.setdefault(name, []).append(_is_found(passage.point_id, ranking))
        if fresh.late is not None:
            found.setdefault(LATE, []).append(_is_rescored(generation, store, fresh, row))
    return {name: sum(hits) / len(hits) for name, hits in found.items()}


def _is_rescored(generation: Generation, store: VectorStore, fresh: Points, row: int) -> bool:
    """By MaxSim with itself alone: among all it would take long, and nothing is approximate."""
    if fresh.late is None:
        return True
    tokens = fresh.late[row]
    itself: Json = {"must": [{"has_id": [fresh.ids[row]]}]}
    rankings = store.search(generation.collection, [LateBranch(tokens, 1)], itself)
    expected = float((tokens @ tokens.T).max(axis=1).sum())
    return any(
        abs(candidate.score - expected) <= _LATE_TOLERANCE * abs(expected) + _WEIGHT_TOLERANCE
        for candidate in rankings[0]
    )


def _is_found(point_id: str, ranking: Sequence[Candidate]) -> bool:
    """Found, or pushed out of a full ranking by others that score the same (repeated texts)."""
    if any(candidate.id == point_id for candidate in ranking):
        return True
    return len(ranking) > 1 and ranking[0].score - ranking[-1].score <= 1e-4 * ranking[0].score


def _cosine_problems(cosines: dict[str, NDArray[np.float64]], least: float) -> list[str]:
    return [
        f"{int((found < least).sum())} of {len(found)} sampled passages, encoded again, do "
        f"not agree with their stored '{name}' vector: cosine "
        f"{lower_bound(found.min(), digits=4)} at worst, at least {least} expected."
        for name, found in cosines.items()
        if not found.min() >= least
    ]


def same_weights(ours: SparseVector, theirs: SparseVector | None) -> bool:
    """Whether two BM25 vectors are one, but for rounding."""
    if theirs is None or len(ours.indices) != len(theirs.indices):
        return theirs is None and not len(ours.indices)
    mine, stored = np.argsort(ours.indices), np.argsort(theirs.indices)
    return bool(
        np.array_equal(ours.indices[mine], theirs.indices[stored])
        and np.allclose(ours.values[mine], theirs.values[stored], rtol=_WEIGHT_TOLERANCE)
    )


def _other_problems(what: str, agreeing: NDArray[np.bool_]) -> list[str]:
    wrong = int((~agreeing).sum())
    if not wrong:
        return []
    return [f"{wrong} of {len(agreeing)} sampled passages have another {what} stored."]


def _share_problems(shares: dict[str, float], samples: int) -> list[str]:
    return [
        f"Only {share:.0%} of {samples} sampled passages are found by their own '{name}' vector; "
        f"at least {MIN_SELF_FOUND:.0%} expected."
        for name, share in shares.items()
        if share < MIN_SELF_FOUND
    ]
