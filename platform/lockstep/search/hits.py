"""Finding hits: rankings as deep as it takes, put together, grouped, and read.

The embedded engine's process imports this to answer a search next to the data, so it needs to stay
free of what encodes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from lockstep.search.boosts import apply_boosts
from lockstep.search.fusion import (
    Ranked,
    convex_combination,
    distribution_based_fusion,
    reciprocal_rank_fusion,
    single_ranking,
)
from lockstep.search.plan import DENSE, LEXICAL, MIN_SCORES, Plan, steps
from lockstep.search.request import FusionMethod, Hit, Mode, SearchRequest
from lockstep.store.port import DOCUMENT_ID, METADATA, Candidate, Json, Reader, Record


@dataclass(frozen=True)
class Found:
    """The best hits; `more` where there may be others behind them."""

    hits: list[Hit]
    more: bool


@dataclass
class _Taken:
    """What has been read so far, and how much of each group."""

    points: set[str] = field(default_factory=set)
    groups: Counter[Any] = field(default_factory=Counter)


@dataclass(frozen=True)
class FirstHits:
    """The question of a search to its collection: the first `count` hits.

    The branches are ranked in one call to the engine and fused here: the engine's own fusion puts
    equal scores in another order each time. The hits of a deeper step follow those of the steps
    before, so the first hits are the same however many are asked for.
    """

    request: SearchRequest
    plan: Plan
    count: int

    def __call__(self, reader: Reader) -> Found:
        request = self.request
        hits: list[Hit] = []
        taken = _Taken()
        for depth, reach in steps(request):
            branches = self.plan.branches(depth)
            if not branches:
                break
            rankings = reader.search(list(branches.values()), self.plan.filter)
            ranked = merge(request, dict(zip(branches, rankings, strict=True)), depth)
            cosine = request.mode is Mode.DENSE
            boosted = apply_boosts(reader, request.boosts, ranked, cosine=cosine)
            ranked = boosted.ranked if boosted else ranked
            is_all = all(len(ranking) < depth for ranking in rankings)
            wanted = (self.count if is_all else min(self.count, reach)) - len(hits)
            left = [each for each in ranked if each.id not in taken.points]
            read: Iterator[Hit] = _read(reader, request, left, taken, wanted)
            if boosted and request.explain:
                read = (replace(hit, boosts=boosted.explain(hit.id)) for hit in read)
            hits += _in_order(read, hits)
            if len(hits) == self.count or is_all:
                return Found(hits, more=not is_all or len(taken.points) < len(ranked))
        return Found(hits, more=False)


def merge(request: SearchRequest, rankings: dict[str, list[Candidate]], depth: int) -> list[Ranked]:
    """The rankings of the branches, each up to `depth` deep, as one."""
    if request.mode is not Mode.HYBRID:
        return [r for name, found in rankings.items() for r in single_ranking(name, found)]
    fusion = request.fusion
    weights = {DENSE: fusion.weights.dense, LEXICAL: fusion.weights.lexical}
    match fusion.method:
        case FusionMethod.RRF:
            return reciprocal_rank_fusion(rankings, weights, k=fusion.rrf_k)
        case FusionMethod.DBSF:
            return distribution_based_fusion(rankings, weights)
        case FusionMethod.CONVEX:
            return convex_combination(rankings, weights, minima=MIN_SCORES, depth=depth)


def _in_order(hits: Iterator[Hit], before: Sequence[Hit]) -> Iterator[Hit]:
    """A deeper step scores on another scale: none of its hits may seem better than one before."""
    limit = before[-1].score if before else None
    for hit in hits:
        yield hit if limit is None or hit.score <= limit else replace(hit, score=limit)


def _read(
    reader: Reader, request: SearchRequest, ranked: Sequence[Ranked], taken: _Taken, wanted: int
) -> Iterator[Hit]:
    """The first `wanted` hits, read some at a time; of each group, only as many as it may have.

    A point that was deleted since it was ranked is left out.
    """
    left = iter(ranked)
    # Some may fall to their groups, and another trip costs more than to read a few too many.
    some = 0 if reader.is_near else wanted * 5 // 2 if request.groups else wanted
    while wanted > 0 and (places := {r.id: r for r in islice(left, some or wanted)}):
        for record in reader.retrieve(list(places)):
            if not wanted:
                return
            taken.points.add(record.id)
            hit = _hit(record, places[record.id], explain=request.explain)
            if _has_room(request, hit, taken.groups):
                wanted -= 1
                yield hit


def _has_room(request: SearchRequest, hit: Hit, groups: Counter[Any]) -> bool:
    """Whether the hit's groups want one more; if so, it counts."""
    size = request.group_by.size if request.group_by is not None else 1
    wanted: list[tuple[Any, int]] = []
    if request.group_by_document:
        wanted.append((("document", hit.document_id), 1))
    if request.group_by is not None:
        value = group_value(hit.metadata, request.group_by.field)
        if value is None:
            return False
        wanted.append((("field", repr(value)), size))  # true is not 1
    if any(groups[key] >= most for key, most in wanted):
        return False
    groups.update(key for key, _ in wanted)
    return True


def group_value(metadata: Json, field: str) -> str | int | float | bool | None:
    """The value of a metadata field, whose name may lead into objects by dots; the first of many.

    None where there is none that could name a group.
    """
    value: Any = metadata
    for name in [field] if field in metadata else field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str | int | float) else None


def _hit(record: Record, ranked: Ranked, *, explain: bool) -> Hit:
    return Hit(
        id=record.id,
        document_id=record.payload[DOCUMENT_ID],
        score=ranked.score,
        title=record.payload["title"],
        text=record.payload["text"],
        metadata=record.payload[METADATA],
        explain=_explain(ranked) if explain else None,
    )


def _explain(ranked: Ranked) -> Json:
    """The hit's score, before boosts, is the sum of the contributions."""
    return {
        name: {**asdict(place), "contribution": place.contribution}
        for name, place in ranked.places.items()
    }
