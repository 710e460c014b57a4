"""Training pairs of the demo: a docstring's summary asks, the rest of it answers."""

from collections.abc import Iterable

from lockstep.corpus.documents import Document
from lockstep_indexer.train.data.structure import Way, mined_from_structure
from lockstep_indexer.train.fine_tune import Pair


def mine_pairs(documents: Iterable[Document], *, limit: int, seed: int) -> list[Pair]:
    """Up to `limit` pairs, drawn at random."""
    mined = mined_from_structure(documents, ways=(Way.SUMMARY,), limit=limit, seed=seed)
    return [Pair(one.query, one.passage) for one in mined.examples]
