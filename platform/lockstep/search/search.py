"""One search, start to end, on one generation."""

import time
from collections.abc import Sequence

from lockstep.index.generation import Generation
from lockstep.search.fusion import (
    Ranked,
    best_per_document,
    reciprocal_rank_fusion,
    single_ranking,
)
from lockstep.search.plan import DENSE, LEXICAL, depths, encodes_query, make_plan
from lockstep.search.request import Hit, SearchRequest, SearchResponse, Timings
from lockstep.store.filters import prefixed
from lockstep.store.port import Candidate, Vector, VectorStore


def search(generation: Generation, store: VectorStore, request: SearchRequest) -> SearchResponse:
    """Answer a request from one generation.

    The branches are ranked in one call to the engine and fused here: the engine's own fusion puts
    equal scores in another order each time. The payloads of the final hits are read after that.

    Raises SearchUnsupported, InvalidFilter, EncodingFailed or StoreUnavailable.
    """
    started = time.perf_counter()
    vector = (
        generation.encoder.encode_queries([request.query])[0] if encodes_query(request) else None
    )
    encoded = time.perf_counter()
    ranked = _rank(generation, store, request, vector)
    hits = _hits(generation, store, request, ranked[request.offset : request.window])
    ended = time.perf_counter()
    return SearchResponse(
        hits=hits,
        index_version=generation.collection,
        model_version=generation.version.model_ref,
        took_ms=Timings(
            encode=_ms(started, encoded), search=_ms(encoded, ended), total=_ms(started, ended)
        ),
    )


def _rank(
    generation: Generation, store: VectorStore, request: SearchRequest, vector: Vector | None
) -> list[Ranked]:
    """Rank deep enough to fill the request's window, where the index can."""
    condition = None if request.filter is None else prefixed(request.filter, "metadata.")
    ranked: list[Ranked] = []
    for depth in depths(request):
        branches = make_plan(request, generation, vector, depth)
        if not branches:
            return []
        rankings = store.search(generation.collection, list(branches.values()), condition)
        ranked = _merge(request, dict(zip(branches, rankings, strict=True)))
        exhausted = all(len(ranking) < depth for ranking in rankings)
        if len(ranked) >= request.window or exhausted:
            break
        # The passages of few documents took up the places: look deeper.
    return ranked


def _merge(request: SearchRequest, rankings: dict[str, list[Candidate]]) -> list[Ranked]:
    if request.mode == "hybrid":
        weights = {DENSE: request.fusion.dense_weight, LEXICAL: request.fusion.lexical_weight}
        ranked = reciprocal_rank_fusion(rankings, weights, k=request.fusion.k)
    else:
        ranked = [r for name, found in rankings.items() for r in single_ranking(name, found)]
    return best_per_document(ranked) if request.group_by_document else ranked


def _hits(
    generation: Generation, store: VectorStore, request: SearchRequest, ranked: Sequence[Ranked]
) -> list[Hit]:
    """Read what the hits say. A point that was deleted since it was ranked is left out."""
    if not ranked:
        return []
    records = store.retrieve(generation.collection, [r.id for r in ranked])
    payloads = {record.id: record.payload for record in records}
    return [
        Hit(
            id=r.id,
            document_id=r.document_id,
            score=r.score,
            title=payloads[r.id]["title"],
            text=payloads[r.id]["text"],
            metadata=payloads[r.id]["metadata"],
            explain=_explain(r) if request.explain else None,
        )
        for r in ranked
        if r.id in payloads
    ]


def _explain(ranked: Ranked) -> dict[str, dict[str, float]]:
    return {
        name: {"rank": place.rank, "score": place.score} for name, place in ranked.places.items()
    }


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
