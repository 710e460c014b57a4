"""What is done to hits once they are found: another order, and marks in their texts."""

from dataclasses import replace

import numpy as np

from lockstep.index.generation import Generation
from lockstep.search.asked import Asked
from lockstep.search.diversity import maximal_marginal_relevance
from lockstep.search.highlights import Highlighter, Scored, best, by_meaning
from lockstep.search.request import Hit, SearchRequest
from lockstep.store.port import SparseVector, Vector, VectorStore


def diversified(
    generation: Generation, store: VectorStore, request: SearchRequest, hits: list[Hit]
) -> list[Hit]:
    """The hits in the order of their marginal relevance, if the request asks for that."""
    if request.diversity is None or len(hits) < 2:
        return hits
    hits = hits[: request.diversity.candidates]
    ids = [hit.id for hit in hits]
    records = store.retrieve(generation.collection, ids, with_vectors=True)
    vectors = {record.id: record.dense for record in records if record.dense is not None}
    there = [hit for hit in hits if hit.id in vectors]
    order = maximal_marginal_relevance(
        [hit.score for hit in there],
        np.stack([vectors[hit.id] for hit in there]),
        relevance=request.diversity.relevance,
    )
    return [there[place] for place in order]


def highlighted(
    generation: Generation, request: SearchRequest, asked: Asked, hits: list[Hit]
) -> list[Hit]:
    """The hits with their best sentences, if the request asks for them."""
    if request.highlight is None:
        return hits
    highlighter = Highlighter(_terms(generation, request, asked), request.query, generation.lexical)
    found = [highlighter.sentences(hit.text) for hit in hits]
    if request.highlight.by_meaning:
        found = _compared(generation, _vector(generation, request, asked), found)
    return [
        replace(hit, highlights=best(sentences, request.highlight.sentences))
        for hit, sentences in zip(hits, found, strict=True)
    ]


def _terms(generation: Generation, request: SearchRequest, asked: Asked) -> SparseVector:
    return generation.lexical.encode_query(request.query) if request.query else asked.terms


def _vector(generation: Generation, request: SearchRequest, asked: Asked) -> Vector | None:
    if asked.vector is not None or not request.query:
        return asked.vector
    return generation.encoder.encode_query(request.query)


def _compared(
    generation: Generation, query: Vector | None, found: list[list[Scored]]
) -> list[list[Scored]]:
    """The sentences of all hits, encoded in one batch and compared with the query."""
    texts = [sentence.text for sentences in found for sentence, _ in sentences]
    if query is None or not texts:
        return found
    vectors = generation.encoder.encode_passages(texts)
    ends = np.cumsum([len(sentences) for sentences in found])
    parts = np.split(vectors, ends[:-1])
    return [by_meaning(some, query, part) for some, part in zip(found, parts, strict=True)]
