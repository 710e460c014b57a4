"""The ways a search can go, each asked as applications ask: same plan, same fusion, same engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lockstep.models.rerankers import Rerankers
from lockstep.models.vectors import truncated
from lockstep.search.asked import of_vector
from lockstep.search.hits import FirstHits
from lockstep.search.plan import PREFILTER_CANDIDATES, make_plan
from lockstep.search.request import Mode, PrefilterChoice, SearchRequest
from lockstep.search.rerank import RerankChoice
from lockstep.search.search import search_batch
from lockstep_indexer.evaluate.indexes import Index, Searchable
from lockstep_indexer.evaluate.kinds import Kind


@dataclass(frozen=True)
class Way:
    """One way to search; `dims` of dense vectors that are cut short, None: they are whole."""

    kind: Kind
    dims: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.dims}" if self.dims is not None else str(self.kind)


@dataclass(frozen=True)
class Answer:
    """The documents found, best first, and the milliseconds that took, encoding included."""

    document_ids: Sequence[str]
    took_ms: float


Ask = Callable[[str, int], Answer]  # a query, and how many documents


@dataclass(frozen=True)
class Reranking:
    """What reranks, and how many of the best hits of a hybrid search."""

    model: str
    candidates: int
    rerankers: Rerankers


@dataclass(frozen=True)
class Asking:
    """How to ask one model's index."""

    index: Index
    candidates: int | None  # of the prefilter; None: as many as a search rescores by itself
    reranking: Reranking | None

    def by(self, way: Way) -> Ask | None:
        """None where the index cannot be asked that way."""
        if way.dims is not None:
            short = self.index.short.get(way.dims)
            return None if short is None else _short(short, way.dims)
        match way.kind:
            case Kind.BM25:
                return _searching(self.index.full, mode=Mode.LEXICAL)
            case Kind.DENSE:
                return _searching(self.index.full, mode=Mode.DENSE, prefilter=False)
            case Kind.PREFILTER:
                return self._rescored(PrefilterChoice(candidates=self.candidates))
            case Kind.HYBRID:
                return _searching(self.index.full, prefilter=self._default_prefilter)
            case Kind.RERANK:
                return self._reranked()

    @property
    def prefilter(self) -> tuple[int, int] | None:
        """The dimensions of the prefilter, and how many short vectors are rescored."""
        if self.index.rescored is None:
            return None
        version = self.index.rescored.generation.version
        measured = version.prefilter_candidates or PREFILTER_CANDIDATES
        return version.spec.prefilter_dim or 0, self.candidates or measured

    @property
    def _default_prefilter(self) -> bool | None:
        """As applications get it: only a model that is trained for it has one by default."""
        generation = self.index.full.generation
        trained = generation.encoder.version.manifest.matryoshka_dims
        is_default = self.index.cost.used or generation.version.spec.prefilter_dim in trained
        return None if is_default else False

    def _rescored(self, choice: PrefilterChoice) -> Ask | None:
        searched = self.index.rescored
        if searched is None:
            return None
        return _searching(searched, mode=Mode.DENSE, prefilter=choice)

    def _reranked(self) -> Ask | None:
        if (by := self.reranking) is None:
            return None
        rerank = RerankChoice(by.model, by.candidates)
        prefilter, searched = self._default_prefilter, self.index.full

        def ask(query: str, limit: int) -> Answer:
            limit = min(limit, by.candidates)
            request = SearchRequest(query, limit=limit, prefilter=prefilter, rerank=rerank)
            return _asked(searched, request, by.rerankers)

        return ask


def _searching(
    searched: Searchable,
    *,
    mode: Mode = Mode.HYBRID,
    prefilter: PrefilterChoice | bool | None = None,
) -> Ask:
    def ask(query: str, limit: int) -> Answer:
        return _asked(searched, SearchRequest(query, limit=limit, mode=mode, prefilter=prefilter))

    return ask


def _asked(
    searched: Searchable, request: SearchRequest, rerankers: Rerankers | None = None
) -> Answer:
    """A batch of one, which encodes the query anew: vectors kept of before would flatter."""
    [found] = search_batch(searched.generation, searched.store, [request], rerankers)
    return Answer([hit.document_id for hit in found.hits], found.took_ms.total)


def _short(searched: Searchable, dims: int) -> Ask:
    """The query's vector is cut as the stored ones are; then its search goes as any other."""
    generation = searched.generation

    def ask(query: str, limit: int) -> Answer:
        started = time.perf_counter()
        request = SearchRequest(query, limit=limit, mode=Mode.DENSE, prefilter=False)
        vector = truncated(generation.encoder.encode_queries([query]), dims)[0]
        plan = make_plan(request, generation, of_vector(generation, request, vector))
        found = searched.store.ask(generation.collection, FirstHits(request, plan, limit))
        took_ms = (time.perf_counter() - started) * 1000
        return Answer([hit.document_id for hit in found.hits], took_ms)

    return ask
