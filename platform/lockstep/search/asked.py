"""What a search asks for, in the words of both rankings: a vector and terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.corpus.documents import shown
from lockstep.errors import DocumentNotFound
from lockstep.index.generation import Generation
from lockstep.index.passages import point_id
from lockstep.search.request import SearchRequest
from lockstep.store.filters import prefixed
from lockstep.store.port import DOCUMENT_ID, Json, SparseVector, Vector, VectorStore

# Of a document that others are to resemble: its heaviest terms say what it is about.
LIKE_TERMS = 64

_NO_TERMS = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))


@dataclass(frozen=True)
class Asked:
    """`vector` (dim,) is None, and `terms` are empty, where the search needs them not."""

    vector: Vector | None
    terms: SparseVector
    filter: Json | None  # over the stored payload


def asked(generation: Generation, store: VectorStore, request: SearchRequest) -> Asked:
    """Encode a request's query, or read the document that the hits are to resemble.

    Raises EncodingFailed, or DocumentNotFound where the index version has no such document.
    """
    if request.like is not None:
        return _like(generation, store, request, request.like)
    vector = generation.encoder.encode_query(request.query) if request.ranks_vectors else None
    return of_vector(generation, request, vector)


def asked_all(
    generation: Generation, store: VectorStore, requests: Sequence[SearchRequest]
) -> list[Asked]:
    """As `asked` for each, with all queries encoded in one batch."""
    encoded = [r for r in requests if r.like is None and r.ranks_vectors]
    vectors = iter(generation.encoder.encode_queries([r.query for r in encoded]))
    return [
        _like(generation, store, request, request.like)
        if request.like is not None
        else of_vector(generation, request, next(vectors) if request.ranks_vectors else None)
        for request in requests
    ]


def of_vector(generation: Generation, request: SearchRequest, vector: Vector | None) -> Asked:
    terms = generation.lexical.encode_query(request.query) if request.ranks_terms else _NO_TERMS
    return Asked(vector, terms, request.payload_filter)


def _like(
    generation: Generation, store: VectorStore, request: SearchRequest, document_id: str
) -> Asked:
    """The document's first passage as it is stored; it is no hit itself.

    What lies outside of the request's scope is not there.
    """
    first = point_id(document_id, 0)
    found = store.retrieve(generation.collection, [first], with_vectors=True)
    if not found or not _in_scope(generation, store, request, first):
        raise DocumentNotFound(
            f"Index {generation.collection} has no document '{shown(document_id)}'.",
            next_step="Name one that is indexed; a new document is after moments.",
        )
    condition: Json = {"must_not": [{"key": DOCUMENT_ID, "match": {"value": document_id}}]}
    if request.payload_filter is not None:
        condition["must"] = [request.payload_filter]
    return Asked(
        vector=found[0].dense if request.ranks_vectors else None,
        terms=_heaviest(found[0].bm25) if request.ranks_terms else _NO_TERMS,
        filter=condition,
    )


def _in_scope(
    generation: Generation, store: VectorStore, request: SearchRequest, point: str
) -> bool:
    if request.scope is None:
        return True
    condition = {"must": [prefixed(request.scope, "metadata."), {"has_id": [point]}]}
    return store.count(generation.collection, condition) > 0


def _heaviest(terms: SparseVector | None) -> SparseVector:
    if terms is None:
        return _NO_TERMS
    chosen = np.argsort(-terms.values, kind="stable")[:LIKE_TERMS]
    return SparseVector(terms.indices[chosen], np.ones(len(chosen), np.float32))
