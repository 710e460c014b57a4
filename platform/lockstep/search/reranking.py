"""The step of a search that reranks: what gives the scores, and the order they make."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lockstep.errors import SearchUnsupported
from lockstep.index.generation import Generation
from lockstep.index.passages import encoded_text
from lockstep.models.registry import ModelVersion
from lockstep.models.rerankers import Rerankers
from lockstep.search.late_interaction import late_scorer
from lockstep.search.request import Hit, SearchRequest
from lockstep.store.port import VectorStore


class Scorer(Protocol):
    """Says how well each hit answers a query."""

    @property
    def name(self) -> str:
        """As the answer names it; a search that names it again gets this one again."""

    def scores(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """One for each hit, finite, higher is better; the same bits for the same hits."""


@dataclass(frozen=True)
class CrossEncoderScorer:
    """A model version that reads query and passage as one text."""

    version: ModelVersion
    rerankers: Rerankers

    @property
    def name(self) -> str:
        return self.version.ref

    def scores(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """Raises Unavailable where the model is not loaded, or not done, before the deadline."""
        texts = [encoded_text(hit.title, hit.text) for hit in hits]
        scores: list[float] = self.rerankers.get(self.version).score(query, texts).tolist()
        return scores


def scorer_for(
    generation: Generation,
    store: VectorStore,
    rerankers: Rerankers | None,
    request: SearchRequest,
) -> Scorer | None:
    """What reranks this search, not loaded yet; None where nothing does.

    Raises RerankerNotFound, WrongModelKind or SearchUnsupported.
    """
    if request.rerank is None:
        return None
    if (ref := request.rerank.ref) is None:
        return late_scorer(generation, store)
    if rerankers is None:
        raise SearchUnsupported("Nothing loads rerankers here.")
    return CrossEncoderScorer(rerankers.find(ref), rerankers)


def reranked(scorer: Scorer | None, request: SearchRequest, hits: list[Hit]) -> list[Hit]:
    """The first candidates in the order of their new scores; what lies behind them is left out.

    Equal scores keep the order there was.
    """
    if scorer is None or request.rerank is None:
        return hits
    chosen = hits[: request.rerank.candidates]
    scores = scorer.scores(request.query, chosen) if chosen else []
    order = sorted(range(len(chosen)), key=lambda place: -scores[place])
    return [_scored(chosen[n], n + 1, scores[n], explain=request.explain) for n in order]


def _scored(hit: Hit, rank: int, score: float, *, explain: bool) -> Hit:
    before = {"rank_before": rank, "score_before": hit.score, "score": score}
    return replace(hit, score=score, rerank=before if explain else None)
