"""Points for tests of a vector store, the schema they fit, and what a store says of them."""

import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.store.port import (
    Candidate,
    CollectionSchema,
    DenseBranch,
    Json,
    Points,
    SparseVector,
    Vector,
    VectorStore,
)

DIM, SHORT = 16, 4
SCHEMA = CollectionSchema(dense_dim=DIM, prefilter_dim=SHORT)


def point_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def unit(matrix: NDArray[Any]) -> Vector:
    lengths = np.linalg.norm(matrix, axis=-1, keepdims=True)
    return np.asarray(matrix / lengths, np.float32)


def sparse(*weights: tuple[int, float]) -> SparseVector:
    indices, values = zip(*weights, strict=True) if weights else ((), ())
    return SparseVector(np.array(indices, np.uint32), np.array(values, np.float32))


def make_points(numbers: range, payloads: list[Json] | None = None, *, seed: int = 0) -> Points:
    rng = np.random.default_rng([seed, numbers.start])
    dense = unit(rng.normal(size=(len(numbers), DIM)))
    words = [np.unique(rng.integers(0, 40, 12)) for _ in numbers]
    return Points(
        ids=[point_id(number) for number in numbers],
        dense=dense,
        prefilter=unit(dense[:, :SHORT]),
        bm25=[sparse(*((int(w), float(rng.uniform(0.5, 2))) for w in each)) for each in words],
        payloads=payloads or [{"document_id": f"d{number}"} for number in numbers],
    )


def field(key: str, **test: object) -> Json:
    """A condition of a filter."""
    return {"key": key, **test}


def documents(store: VectorStore, name: str, filter: Json) -> set[str]:
    """The document ids that a filter matches, as a search sees them."""
    query = unit(np.ones(DIM))
    ranking = store.search(name, [DenseBranch(query, 1000, exact=True)], filter)[0]
    return set(document_ids(store, name, ranking))


def document_ids(store: VectorStore, name: str, ranking: list[Candidate]) -> list[str]:
    """The document ids of a ranking, in its order."""
    records = store.retrieve(name, [candidate.id for candidate in ranking])
    return [record.payload["document_id"] for record in records]
