"""Interleaved answers: two complete answers drafted into one, page after page."""

import random
from dataclasses import dataclass, replace

from lockstep.index.generation import Generation
from lockstep.index.trials import Arm
from lockstep.models.rerankers import Rerankers
from lockstep.search.cursor import Draft, next_page
from lockstep.search.interleaving import Drafted, team_draft
from lockstep.search.request import Hit, SearchRequest, SearchResponse, Timings
from lockstep.search.search import search
from lockstep.store.port import VectorStore


@dataclass(frozen=True)
class Interleaved:
    """A page, and of each of its hits the version on whose behalf it is shown."""

    response: SearchResponse
    teams: list[Drafted]


def can_interleave(request: SearchRequest) -> bool:
    """Whether an answer can be made of two: of documents, whose sentences need not be compared.

    Each page is cut from two lists that begin at the top, which are more than can be compared.
    """
    compares = request.highlight is not None and request.highlight.by_meaning
    return request.group_by_document and not compares


def from_top(request: SearchRequest) -> SearchRequest:
    """What each version is asked for, so that a page can be drafted: all hits up to its end."""
    return replace(request, offset=0, limit=request.window)


def search_interleaved(
    live: Generation,
    candidate: Generation,
    store: VectorStore,
    request: SearchRequest,
    seed: int,
    rerankers: Rerankers | None = None,
) -> SearchResponse:
    """A further page of an interleaved list. Raises as `search` does."""
    whole = from_top(request)
    ours = search(live, store, whole, rerankers)
    theirs = search(candidate, store, whole, rerankers)
    draft = Draft(candidate.version.number, seed)
    return interleaved(ours, theirs, request, live.version.number, draft).response


def interleaved(
    ours: SearchResponse,
    theirs: SearchResponse,
    request: SearchRequest,
    number: int,
    draft: Draft,
) -> Interleaved:
    """The page that was asked for, of both answers from the top; `number` is the live version's.

    The same draft gives the same order, however far it goes, so pages join.
    """
    hits = {Arm.LIVE: _by_document(ours), Arm.CANDIDATE: _by_document(theirs)}
    drafted = team_draft(
        list(hits[Arm.LIVE]),
        list(hits[Arm.CANDIDATE]),
        length=request.window,
        coin=random.Random(draft.seed),
    )
    teams = drafted[request.offset :]
    unshown = len(hits[Arm.LIVE].keys() | hits[Arm.CANDIDATE].keys()) > len(drafted)
    more = unshown or bool(ours.next_cursor or theirs.next_cursor)
    response = replace(
        ours,
        hits=[hits[one.team][one.id] for one in teams],
        took_ms=_sum(ours.took_ms, theirs.took_ms),
        next_cursor=next_page(request, number, ours.reranker, draft) if more else None,
    )
    return Interleaved(response, teams)


def _by_document(response: SearchResponse) -> dict[str, Hit]:
    """The hits of one answer by document, each with the version it comes from."""
    return {
        hit.document_id: replace(hit, index_version=response.index_version) for hit in response.hits
    }


def _sum(one: Timings, other: Timings) -> Timings:
    return Timings(
        encode=round(one.encode + other.encode, 3),
        search=round(one.search + other.search, 3),
        highlight=round(one.highlight + other.highlight, 3),
        rerank=round(one.rerank + other.rerank, 3),
        total=round(one.total + other.total, 3),
    )
