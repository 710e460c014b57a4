"""The engine's BM25 against bm25s, a published implementation, on the same tokens."""

from pathlib import Path
from random import Random

import bm25s
import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Modifier,
    Point,
    Query,
    QueryRequest,
    SparseVector,
    UpdateOperation,
)

from lockstep.lexical.bm25 import Bm25Encoder, Bm25Settings, measure_average_length

_DOCUMENTS = 300


@pytest.fixture(scope="module")
def texts() -> list[str]:
    random = Random(7)
    words = [f"{start}{end}" for start in ("wing", "heat", "slab", "flow") for end in "bcdfghjkmp"]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return [
        " ".join(random.choices(words, weights, k=random.randint(3, 60))) for _ in range(_DOCUMENTS)
    ]


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)])
def test_scores_are_lucenes(texts: list[str], tmp_path: Path, k1: float, b: float) -> None:
    average = measure_average_length(texts)
    encoder = Bm25Encoder(Bm25Settings(avg_length=average, k1=k1, b=b))
    shard = _index(encoder, texts, tmp_path / "shard")
    reference = bm25s.BM25(method="lucene", k1=k1, b=b)
    tokens = [_tokens(encoder, text) for text in texts]
    reference.index(tokens, show_progress=False)
    for query in texts[:20]:
        terms = list(set(_tokens(encoder, query)))
        # Lucene leaves out the factor (k1 + 1), which changes no order.
        expected = reference.get_scores(terms) * (k1 + 1)
        np.testing.assert_allclose(_scores(shard, encoder, query), expected, rtol=1e-4, atol=1e-5)
    shard.close()


def _tokens(encoder: Bm25Encoder, text: str) -> list[str]:
    counts = encoder.term_counts(text)
    return [
        str(index)
        for index, count in zip(counts.indices, counts.values, strict=True)
        for _ in range(int(count))
    ]


def _index(encoder: Bm25Encoder, texts: list[str], folder: Path) -> EdgeShard:
    folder.mkdir()
    shard = EdgeShard.create(
        str(folder),
        EdgeConfig(
            vectors={"dense": EdgeVectorParams(size=1, distance=Distance.Dot)},
            sparse_vectors={"bm25": EdgeSparseVectorParams(modifier=Modifier.Idf)},
        ),
    )
    vectors = encoder.encode_passages(texts)
    points = [
        Point(
            number,
            {"bm25": SparseVector(vector.indices.tolist(), vector.values.tolist())},
            None,
        )
        for number, vector in enumerate(vectors)
    ]
    shard.update(UpdateOperation.upsert_points(points))
    return shard


def _scores(shard: EdgeShard, encoder: Bm25Encoder, query: str) -> NDArray[np.float64]:
    terms = encoder.encode_query(query)
    found = shard.query(
        QueryRequest(
            query=Query.Nearest(
                SparseVector(terms.indices.tolist(), terms.values.tolist()), using="bm25"
            ),
            limit=_DOCUMENTS,
            with_payload=False,
        )
    )
    scores = np.zeros(_DOCUMENTS)
    for point in found:
        scores[int(point.id)] = point.score
    return scores
