"""Puts several rankings together into one.

Every method scales the scores of each ranking and adds them up: a candidate's score is the sum of
weight times scaled score over the rankings. Equal scores stand in id order. Sums do not depend on
the order of the rankings, not in the last bit either.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lockstep.store.port import Candidate

Rankings = Mapping[str, Sequence[Candidate]]  # each from the best to the worst

# How far below a ranking's last score to take one that it does not hold, as a share of the way
# from its best to its last. So it was found without any judgments: such scores, computed, of what
# the other ranking has among its first 20, lay .24 to .39 of it below in dense rankings and .04 to
# .27 in BM25's; docs/decisions/0006-default-fusion.md.
_BELOW_LAST = 0.25
# What Qdrant gives the scores of a ranking that do not differ.
_UNDECIDED = 0.5


@dataclass(frozen=True)
class Place:
    """Where one ranking put a candidate, and what that adds to the candidate's score."""

    rank: int | None  # from 1; None: below all that was looked at of this ranking
    score: float | None
    normalised: float
    weight: float

    @property
    def contribution(self) -> float:
        return self.weight * self.normalised


@dataclass(frozen=True, slots=True)
class Scaled:
    """One ranking, its scores on a scale that the rankings share, and what they weigh."""

    candidates: Sequence[Candidate]
    normalised: Sequence[float]  # in the ranking's order
    weight: float
    missing: float | None = None  # of a candidate that it does not hold; None: it adds nothing

    def place(self, point_id: str) -> Place | None:
        for rank, candidate in enumerate(self.candidates, start=1):
            if candidate.id == point_id:
                return Place(rank, candidate.score, self.normalised[rank - 1], self.weight)
        return None if self.missing is None else Place(None, None, self.missing, self.weight)


class Ranked(NamedTuple):  # there are hundreds in each search
    """A candidate in the final order."""

    id: str
    score: float
    rankings: Mapping[str, Scaled]

    @property
    def places(self) -> dict[str, Place]:
        """Its place in each ranking that counts for it; looked up, since few are asked for."""
        found = {name: scaled.place(self.id) for name, scaled in self.rankings.items()}
        return {name: place for name, place in found.items() if place is not None}


def single_ranking(name: str, candidates: Sequence[Candidate]) -> list[Ranked]:
    """A search of one branch: its own order and scores."""
    rankings = {name: Scaled(candidates, [c.score for c in candidates], weight=1.0)}
    return [Ranked(c.id, c.score, rankings) for c in candidates]


def reciprocal_rank_fusion(
    rankings: Rankings, weights: Mapping[str, float], *, k: int
) -> list[Ranked]:
    """Merge rankings: score(d) = sum of weight / (k + rank(d)), ranks from 1.

    Source: Cormack, Clarke, Büttcher, SIGIR 2009.
    """
    return _weighted_sum(
        {
            name: Scaled(found, [1 / (k + rank + 1) for rank in range(len(found))], weights[name])
            for name, found in rankings.items()
        }
    )


def distribution_based_fusion(rankings: Rankings, weights: Mapping[str, float]) -> list[Ranked]:
    """Merge rankings by scores, scaled so that 0 and 1 lie three deviations around their mean.

    The deviation is the sample's; without one, every score is 0.5. As in Qdrant, scores beyond
    three deviations stay beyond 0 and 1. Source: Mazzeschi, Distribution-Based Score Fusion, 2023.
    """
    return _weighted_sum(
        {
            name: Scaled(found, _by_deviation([c.score for c in found]), weights[name])
            for name, found in rankings.items()
        }
    )


def convex_combination(
    rankings: Rankings, weights: Mapping[str, float], *, minima: Mapping[str, float], depth: int
) -> list[Ranked]:
    """Merge rankings by scores, scaled from the least there can be (0) to the best found (1).

    `minima` are those least scores. The weights count in proportion to each other, so that fused
    scores lie from 0 to 1. What a ranking of full `depth` does not hold is taken to score somewhat
    less than its last one; what a shorter one does not hold, as little as can be. Source: Bruch,
    Gai, Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 2023 (TM2C2), where
    the scores of all candidates are known.
    """
    total = math.fsum(weights.values())
    scaled: dict[str, Scaled] = {}
    for name, found in rankings.items():
        normalised = _above([c.score for c in found], minima[name])
        missing = _below(normalised) if len(found) >= depth else 0.0
        scaled[name] = Scaled(found, normalised, weights[name] / total, missing)
    return _weighted_sum(scaled)


def _by_deviation(scores: Sequence[float]) -> list[float]:
    if len(scores) < 2:
        return [_UNDECIDED] * len(scores)
    mean = math.fsum(scores) / len(scores)
    variance = math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
    width = 6 * math.sqrt(variance)
    if not width:
        return [_UNDECIDED] * len(scores)
    return [(score - mean) / width + _UNDECIDED for score in scores]


def _above(scores: Sequence[float], minimum: float) -> list[float]:
    """From 0, the minimum, to 1, the best of the scores; all 0 where none exceeds the minimum."""
    span = scores[0] - minimum if scores else 0.0
    if span <= 0:
        return [0.0] * len(scores)
    # A cosine may fall below -1 by a rounding error.
    return [max(0.0, score - minimum) / span for score in scores]


def _below(normalised: Sequence[float]) -> float:
    best, last = normalised[0], normalised[-1]
    return max(0.0, last - _BELOW_LAST * (best - last))


def _weighted_sum(rankings: Mapping[str, Scaled]) -> list[Ranked]:
    absent = {name: scaled.weight * (scaled.missing or 0.0) for name, scaled in rankings.items()}
    parts: dict[str, dict[str, float]] = {}
    for name, scaled in rankings.items():
        for candidate, normalised in zip(scaled.candidates, scaled.normalised, strict=True):
            parts.setdefault(candidate.id, absent.copy())[name] = scaled.weight * normalised
    fused = [Ranked(i, math.fsum(terms.values()), rankings) for i, terms in parts.items()]
    return sorted(fused, key=lambda ranked: (-ranked.score, ranked.id))
