"""Training pairs of the demo: a docstring's summary asks, the rest of it answers."""

from collections.abc import Iterable

from lockstep.corpus.documents import Document
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.data.structure import Way, mined_from_structure


def mine_pairs(documents: Iterable[Document], *, limit: int, seed: int) -> TrainingData:
    """Up to `limit` pairs, drawn at random."""
    return mined_from_structure(documents, ways=(Way.SUMMARY,), limit=limit, seed=seed)
