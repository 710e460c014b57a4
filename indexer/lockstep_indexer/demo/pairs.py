"""Training pairs of the demo: a docstring's summary asks, the rest of it answers."""

from collections.abc import Iterable

from lockstep.corpus.documents import Document
<<<<<<< HEAD
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
=======
from lockstep_indexer.train.data.structure import Way, mined_from_structure
from lockstep_indexer.train.fine_tune import Pair
>>>>>>> wip-data


def mine_pairs(documents: Iterable[Document], *, limit: int, seed: int) -> TrainingData:
    """Up to `limit` pairs, drawn at random."""
<<<<<<< HEAD
    pairs = [pair for document in documents if (pair := _pair(document)) is not None]
    chosen = random.Random(seed).sample(pairs, min(limit, len(pairs)))
    return TrainingData(Kind.PAIRS, chosen, {"source": "docstrings", "limit": limit, "seed": seed})


def _pair(document: Document) -> Example | None:
    summary, _, rest = document.text.partition("\n\n")
    if len(rest) < MIN_ANSWER_CHARS:
        return None
    query = " ".join(summary.split())[:MAX_SUMMARY_CHARS]
    return Example((query, f"{document.title}\n{rest}"), group=document.id)
=======
    mined = mined_from_structure(documents, ways=(Way.SUMMARY,), limit=limit, seed=seed)
    return [Pair(one.query, one.passage) for one in mined.examples]
>>>>>>> wip-data
