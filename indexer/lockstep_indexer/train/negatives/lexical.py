"""BM25 over the passages of a corpus, for many queries at once.

rank-bm25 counts and weighs; its own scoring looks every query term up in every passage, in Python.
Here the same weights stand in a sparse matrix, and a batch of queries is one product with it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rank_bm25 import BM25Okapi
from scipy import sparse

from lockstep.lexical.bm25 import Bm25Encoder, Bm25Settings

Scores = NDArray[np.float32]


class LexicalRanker:
    """Scores queries as rank-bm25's BM25Okapi does, on the terms of Lockstep's own analysis."""

    def __init__(self, texts: Sequence[str], *, language: str = "english") -> None:
        self._encoder = Bm25Encoder(Bm25Settings(avg_length=1.0, language=language))
        terms = [self.terms(text) for text in texts]
        # A corpus without a single term would divide by zero.
        index = BM25Okapi(terms if any(terms) else [[0]] * len(texts))
        self._numbers = {term: number for number, term in enumerate(index.idf)}
        self._weights = self._weighed(index)

    def terms(self, text: str) -> list[int]:
        """The terms of a text, each as often as it occurs."""
        counted = self._encoder.term_counts(text)
        return np.repeat(counted.indices, counted.values.astype(np.int64)).tolist()

    def scores(self, queries: Sequence[str]) -> Scores:
        """(queries, passages), higher is better; 0 where no word is shared."""
        rows, columns = [], []
        for row, query in enumerate(queries):
            numbers = [self._numbers[t] for t in self.terms(query) if t in self._numbers]
            rows += [row] * len(numbers)
            columns += numbers
        shape = (len(queries), len(self._numbers))
        ones = np.ones(len(rows), dtype=np.float32)
        asked = sparse.csr_matrix((ones, (rows, columns)), shape=shape)
        scored: Scores = (asked @ self._weights).toarray()
        return scored

    def _weighed(self, index: Any) -> Any:
        """(terms, passages): idf * f * (k1 + 1) / (f + k1 * (1 - b + b * length / mean))."""
        lengths = np.asarray(index.doc_len, dtype=np.float64)
        damping = index.k1 * (1 - index.b + index.b * lengths / index.avgdl)
        counts = [len(frequencies) for frequencies in index.doc_freqs]
        columns = np.repeat(np.arange(len(counts)), counts)
        rows = np.fromiter(
            (self._numbers[term] for each in index.doc_freqs for term in each),
            np.int64,
            sum(counts),
        )
        f = np.fromiter((n for each in index.doc_freqs for n in each.values()), float, sum(counts))
        idf = np.fromiter(index.idf.values(), np.float64, len(index.idf))
        weights = idf[rows] * (f * (index.k1 + 1) / (f + damping[columns]))
        shape = (len(self._numbers), len(counts))
        return sparse.csr_matrix((weights.astype(np.float32), (rows, columns)), shape=shape)
