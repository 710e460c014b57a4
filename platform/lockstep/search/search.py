"""One search, start to end, on one generation."""

import time
from collections.abc import Sequence
from dataclasses import replace

from lockstep.index.generation import Generation
from lockstep.models.rerankers import Rerankers
from lockstep.search.asked import Asked, asked, asked_all
from lockstep.search.boosts import require_computable
from lockstep.search.cursor import next_page
from lockstep.search.facets import count_facets, require_countable
from lockstep.search.hits import FirstHits
from lockstep.search.plan import make_plan
from lockstep.search.refinement import diversified, highlighted
from lockstep.search.request import Hit, SearchRequest, SearchResponse, Timings
from lockstep.search.reranking import Scorer, reranked, scorer_for
from lockstep.store.port import Json, VectorStore


def search(
    generation: Generation,
    store: VectorStore,
    request: SearchRequest,
    rerankers: Rerankers | None = None,
) -> SearchResponse:
    """Answer a request from one generation.

    Raises SearchUnsupported, RerankerNotFound, WrongModelKind, DocumentNotFound, EncodingFailed or
    Unavailable.
    """
    _require_possible(generation, request)
    started = time.perf_counter()
    scorer = scorer_for(generation, store, rerankers, request)
    one = asked(generation, store, request)
    return _answer(generation, store, request, one, scorer, started)


def search_batch(
    generation: Generation,
    store: VectorStore,
    requests: Sequence[SearchRequest],
    rerankers: Rerankers | None = None,
) -> list[SearchResponse]:
    """Answer several requests from one generation; their queries are encoded in one batch.

    Each answer's time of encoding is that of the whole batch. Raises as `search` does.
    """
    for request in requests:
        _require_possible(generation, request)
    scorers = [scorer_for(generation, store, rerankers, request) for request in requests]
    answers: list[SearchResponse] = []
    started = time.perf_counter()
    all_asked = asked_all(generation, store, requests)
    encode_s = time.perf_counter() - started
    for request, one, scorer in zip(requests, all_asked, scorers, strict=True):
        began = time.perf_counter() - encode_s
        answers.append(_answer(generation, store, request, one, scorer, began))
    return answers


def _answer(
    generation: Generation,
    store: VectorStore,
    request: SearchRequest,
    asked: Asked,
    scorer: Scorer | None,
    started: float,
) -> SearchResponse:
    encoded = time.perf_counter()
    plan = make_plan(request, generation, asked)
    count = max([request.window, *request.choices])
    found = store.ask(generation.collection, FirstHits(request, plan, count))
    ranked = time.perf_counter()
    hits = reranked(scorer, request, found.hits)
    ordered = time.perf_counter()
    hits = diversified(generation, store, request, hits)
    page = _above_threshold(hits[request.offset : request.window], request.score_threshold)
    counts = None
    if request.counted:
        counts = count_facets(generation, store, request.counted, request.payload_filter)
    searched = time.perf_counter()
    page = highlighted(generation, request, asked, page)
    ended = time.perf_counter()
    reranker = scorer.name if scorer else None
    more = len(page) == request.limit and (found.more or len(hits) > request.window)
    return SearchResponse(
        hits=page,
        index_version=generation.collection,
        model_version=generation.version.model_ref,
        took_ms=Timings(
            encode=_ms(started, encoded),
            search=round(_ms(encoded, ranked) + _ms(ordered, searched), 3),
            rerank=_ms(ranked, ordered) if scorer else 0.0,
            highlight=_ms(searched, ended),
            total=_ms(started, ended),
        ),
        next_cursor=next_page(request, generation.version.number, reranker) if more else None,
        explain=_explain(generation, store, request) if request.explain else None,
        facets=counts,
        reranker=reranker,
    )


def _require_possible(generation: Generation, request: SearchRequest) -> None:
    """Raise SearchUnsupported, before any work, for what the index version was not built for."""
    require_countable(generation, request.counted)
    require_computable(generation, request.boosts)


def _above_threshold(hits: list[Hit], threshold: float | None) -> list[Hit]:
    return hits if threshold is None else [hit for hit in hits if hit.score >= threshold]


def _explain(generation: Generation, store: VectorStore, request: SearchRequest) -> Json:
    """How many passages the filter leaves: none, or all, is a reason to look at it again."""
    everything = replace(request, filter=None).payload_filter
    matching = None
    if request.filter is not None:
        matching = store.count(generation.collection, request.payload_filter)
    passages = store.count(generation.collection, everything)
    return {"passages": passages, "matching_filter": matching}


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
