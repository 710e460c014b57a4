"""Training pairs mined from structure: a docstring's summary asks, the rest of it answers."""

import random
from collections.abc import Iterable

from lockstep.corpus.documents import Document
from lockstep_indexer.train.fine_tune import Pair

MIN_ANSWER_CHARS = 60
MAX_SUMMARY_CHARS = 300


def mine_pairs(documents: Iterable[Document], *, limit: int, seed: int) -> list[Pair]:
    """Up to `limit` pairs, drawn at random."""
    pairs = [pair for document in documents if (pair := _pair(document)) is not None]
    return random.Random(seed).sample(pairs, min(limit, len(pairs)))


def _pair(document: Document) -> Pair | None:
    summary, _, rest = document.text.partition("\n\n")
    if len(rest) < MIN_ANSWER_CHARS:
        return None
    return Pair(
        query=" ".join(summary.split())[:MAX_SUMMARY_CHARS],
        passage=f"{document.title}\n{rest}",
    )
