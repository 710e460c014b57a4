"""Puts several rankings together into one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockstep.store.port import Candidate


@dataclass(frozen=True)
class Place:
    """Where one ranking put a candidate."""

    rank: int  # from 1
    score: float


@dataclass(frozen=True)
class Ranked:
    """A candidate in the final order, with its place in each ranking that knows it."""

    id: str
    score: float
    places: Mapping[str, Place]


def single_ranking(name: str, candidates: Sequence[Candidate]) -> list[Ranked]:
    """A search of one branch: its own order and scores."""
    return [
        Ranked(c.id, c.score, {name: Place(rank, c.score)})
        for rank, c in enumerate(candidates, start=1)
    ]


def reciprocal_rank_fusion(
    rankings: Mapping[str, Sequence[Candidate]], weights: Mapping[str, float], *, k: int
) -> list[Ranked]:
    """Merge rankings: score(d) = sum of weight / (k + rank(d)), ranks from 1; ties break by id.

    Source: Cormack, Clarke, Büttcher, SIGIR 2009.
    """
    places: dict[str, dict[str, Place]] = {}
    for name, candidates in rankings.items():
        for rank, candidate in enumerate(candidates, start=1):
            places.setdefault(candidate.id, {})[name] = Place(rank, candidate.score)
    fused = [
        Ranked(
            id=point_id,
            score=sum(weights[name] / (k + place.rank) for name, place in found.items()),
            places=found,
        )
        for point_id, found in places.items()
    ]
    return sorted(fused, key=lambda ranked: (-ranked.score, ranked.id))
