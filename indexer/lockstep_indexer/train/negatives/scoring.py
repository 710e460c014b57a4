"""How the sources score every passage for a query, and how like the query its answers are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.models.vectors import Vector
from lockstep_indexer.train.negatives.indexed import Indexed
from lockstep_indexer.train.negatives.lexical import LexicalRanker
from lockstep_indexer.train.negatives.passages import Passages, text_key
from lockstep_indexer.train.negatives.picking import Scores
from lockstep_indexer.train.negatives.queries import Queries, Query
from lockstep_indexer.train.negatives.settings import Mining, Source
from lockstep_indexer.train.negatives.similarity import TextEncoder


@dataclass(frozen=True)
class Scoring:
    """Vectors of all texts there are, and a BM25 index where it is a source."""

    queries: Sequence[Query]
    texts: Sequence[str]  # of the passages, as negatives are written
    vectors: Vector  # (passages, dim)
    query_vectors: Vector  # (queries, dim)
    answer_vectors: Mapping[bytes, Vector]  # by text key, each (dim,)
    lexical: LexicalRanker | None

    @classmethod
    def of(
        cls,
        queries: Queries,
        passages: Passages,
        encoder: TextEncoder,
        mining: Mining,
        stage: Callable[[str], None],
        indexed: Indexed | None = None,
    ) -> "Scoring":
        """Encode, but for what an index holds, and count.

        Passages have their titles where the answers have them too.
        """
        texts = [one.encoded_text if queries.titled else one.text for one in passages.all]
        stage("encoding passages")
        vectors = _passage_vectors(texts, encoder, indexed if queries.titled else None)
        stage("encoding answers")
        answers = _answer_vectors(queries, texts, vectors, encoder)
        stage("encoding queries")
        query_vectors = encoder.queries([one.text for one in queries.all])
        lexical = None
        if Source.BM25 in mining.sources:
            stage("counting words")
            lexical = LexicalRanker(texts, language=mining.language)
        return cls(queries.all, texts, vectors, query_vectors, answers, lexical)

    def similarity(self, rows: slice) -> Scores:
        """(queries, passages): cosines by the model."""
        alike: Scores = self.query_vectors[rows] @ self.vectors.T
        return alike

    def by_source(self, rows: slice, similarity: Scores) -> dict[Source, Scores]:
        """Each (queries, passages), of all sources there are."""
        scores = {Source.MODEL: similarity}
        if self.lexical is not None:
            scores[Source.BM25] = self.lexical.scores([one.text for one in self.queries[rows]])
        return scores

    def answer_score(self, row: int) -> float:
        """Of a query's answers the least similar one's: a negative must lie below all of them."""
        answers = self.queries[row].answers
        vectors = np.stack([self.answer_vectors[text_key(text)] for text in answers])
        return float((vectors @ self.query_vectors[row]).min())


def _passage_vectors(texts: Sequence[str], encoder: TextEncoder, indexed: Indexed | None) -> Vector:
    """(passages, dim)."""
    if indexed is None:
        return encoder.passages(texts)
    missing = np.flatnonzero(~indexed.known).tolist()
    indexed.vectors[missing] = encoder.passages([texts[place] for place in missing])
    return indexed.vectors


def _answer_vectors(
    queries: Queries, texts: Sequence[str], vectors: Vector, encoder: TextEncoder
) -> dict[bytes, Vector]:
    """The vector of each answer: that of the passage of the same text, else its own."""
    places = {text_key(text): place for place, text in enumerate(texts)}
    answers = {text_key(text): text for one in queries.all for text in one.answers}
    strangers = {key: text for key, text in answers.items() if key not in places}
    encoded = encoder.passages(list(strangers.values()))
    found = dict(zip(strangers, encoded, strict=True))
    return found | {key: vectors[places[key]] for key in answers.keys() - strangers.keys()}
