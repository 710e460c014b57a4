"""One search, start to end, on one generation."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice

from lockstep.index.generation import Generation
from lockstep.search.fusion import (
    Ranked,
    convex_combination,
    distribution_based_fusion,
    reciprocal_rank_fusion,
    single_ranking,
)
from lockstep.search.plan import DENSE, LEXICAL, MIN_SCORES, depths, encodes_query, make_plan
from lockstep.search.request import FusionMethod, Hit, Mode, SearchRequest, SearchResponse, Timings
from lockstep.store.filters import prefixed
from lockstep.store.port import DOCUMENT_ID, Candidate, Json, Record, Vector, VectorStore


def search(generation: Generation, store: VectorStore, request: SearchRequest) -> SearchResponse:
    """Answer a request from one generation.

    The branches are ranked in one call to the engine and fused here: the engine's own fusion puts
    equal scores in another order each time. The payloads of the final hits are read after that.

    Raises SearchUnsupported, InvalidFilter, EncodingFailed or StoreUnavailable.
    """
    started = time.perf_counter()
    vector = generation.encoder.encode_query(request.query) if encodes_query(request) else None
    encoded = time.perf_counter()
    hits = _find(generation, store, request, vector)[request.offset :]
    ended = time.perf_counter()
    return SearchResponse(
        hits=hits,
        index_version=generation.collection,
        model_version=generation.version.model_ref,
        took_ms=Timings(
            encode=_ms(started, encoded), search=_ms(encoded, ended), total=_ms(started, ended)
        ),
    )


def _find(
    generation: Generation, store: VectorStore, request: SearchRequest, vector: Vector | None
) -> list[Hit]:
    """The first hits up to the end of the request's window, from rankings as deep as it takes."""
    condition = None if request.filter is None else prefixed(request.filter, "metadata.")
    hits: list[Hit] = []
    for depth in depths(request):
        branches = make_plan(request, generation, vector, depth)
        if not branches:
            break
        rankings = store.search(generation.collection, list(branches.values()), condition)
        ranked = merge(request, dict(zip(branches, rankings, strict=True)), depth)
        hits = list(islice(_hits(generation, store, request, ranked), request.window))
        if len(hits) == request.window or all(len(ranking) < depth for ranking in rankings):
            break
        # The passages of few documents took up the places: look deeper.
    return hits


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


def _hits(
    generation: Generation, store: VectorStore, request: SearchRequest, ranked: Sequence[Ranked]
) -> Iterator[Hit]:
    """Read what the hits say, some at a time; when grouping, only each document's best passage.

    A point that was deleted since it was ranked is left out.
    """
    seen: set[str] = set()
    # Half as many again as are wanted: now and then two passages belong to one document.
    step = request.window * 3 // 2 if request.group_by_document else request.window
    for start in range(0, len(ranked), step):
        places = {r.id: r for r in ranked[start : start + step]}
        for record in store.retrieve(generation.collection, list(places)):
            hit = _hit(record, places[record.id], explain=request.explain)
            if request.group_by_document and hit.document_id in seen:
                continue
            seen.add(hit.document_id)
            yield hit


def _hit(record: Record, ranked: Ranked, *, explain: bool) -> Hit:
    return Hit(
        id=record.id,
        document_id=record.payload[DOCUMENT_ID],
        score=ranked.score,
        title=record.payload["title"],
        text=record.payload["text"],
        metadata=record.payload["metadata"],
        explain=_explain(ranked) if explain else None,
    )


def _explain(ranked: Ranked) -> Json:
    """The hit's score is the sum of the contributions."""
    return {
        name: {**asdict(place), "contribution": place.contribution}
        for name, place in ranked.places.items()
    }


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
