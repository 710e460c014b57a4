"""Late interaction: candidates ranked by the vectors of all their tokens, which the index holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from lockstep.errors import SearchUnsupported
from lockstep.index.generation import Generation
from lockstep.index.rebuilding import reindex_command
from lockstep.models.token_encoder import TokenEncoder
from lockstep.search.request import Hit
from lockstep.store.port import LateBranch, VectorStore


@dataclass(frozen=True)
class LateScorer:
    """MaxSim of the query's tokens with those of each hit, in one exact call to the engine."""

    collection: str
    tokens: TokenEncoder
    store: VectorStore

    @property
    def name(self) -> str:
        return self.tokens.version.ref

    def scores(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """Raises EncodingFailed or StoreUnavailable."""
        branch = LateBranch(self.tokens.encode_query(query), limit=len(hits))
        candidates = {"must": [{"has_id": [hit.id for hit in hits]}]}
        [ranking] = self.store.search(self.collection, [branch], candidates)
        found = {candidate.id: candidate.score for candidate in ranking}
        least = min(found.values(), default=0.0)  # for what was deleted since it was found
        return [found.get(hit.id, least) for hit in hits]


def late_scorer(generation: Generation, store: VectorStore) -> LateScorer:
    """Raises SearchUnsupported where the index version holds no vectors of tokens."""
    if generation.tokens is None:
        model = generation.encoder.version.manifest
        command = reindex_command(generation.version, model, late_interaction="REF")
        raise SearchUnsupported(
            f"Index {generation.collection} has no late interaction vectors to rerank by.",
            next_step=f"Name a reranker in rerank.model, or build them in: {command}",
        )
    return LateScorer(generation.collection, generation.tokens, store)
