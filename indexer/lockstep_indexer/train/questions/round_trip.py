"""The round trip: a question is kept only where a search for it finds its own passage."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep_indexer.train.negatives.lexical import LexicalRanker
from lockstep_indexer.train.negatives.passages import Passages
from lockstep_indexer.train.negatives.similarity import TextEncoder

Scores = NDArray[np.float32]
Scorer = Callable[[Sequence[str]], Scores]  # (questions, passages), higher is better

_AT_ONCE = 128


def by_model(passages: Passages, encoder: TextEncoder) -> Scorer:
    vectors = encoder.passages([one.encoded_text for one in passages.all])  # (passages, dim)
    return lambda questions: encoder.queries(questions) @ vectors.T


def by_bm25(passages: Passages, language: str) -> Scorer:
    return LexicalRanker([one.encoded_text for one in passages.all], language=language).scores


def found_in(
    scorer: Scorer, passages: Passages, questions: Sequence[tuple[int, str]], k: int
) -> list[bool]:
    """For each question with the place of its passage, whether that is among the first k.

    Found is the passage, what repeats it, or another one of its document. A passage that scores
    nothing is not found, however few there are.
    """
    found = []
    for start in range(0, len(questions), _AT_ONCE):
        batch = questions[start : start + _AT_ONCE]
        scores = scorer([question for _, question in batch])
        for (place, _), row in zip(batch, scores, strict=True):
            best = row[_own(passages, place)].max()
            found.append(bool(best > 0 and (row > best).sum() < k))
    return found


def _own(passages: Passages, place: int) -> list[int]:
    same = passages.by_document[passages.all[place].document_id]
    return sorted({*same, *passages.repeating(place)})
