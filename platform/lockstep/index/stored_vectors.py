"""Stored vectors, each compared with what the model gives for its passage now."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep.corpus.documents import Document
from lockstep.index.generation import Generation
from lockstep.index.samples import agreement, same_weights, stored_points
from lockstep.store.port import Points, Record, VectorStore


def disagreeing_documents(
    generation: Generation, store: VectorStore, documents: Sequence[Document], *, batch_size: int
) -> list[str]:
    """Encode documents anew; the ids of those of which a stored vector is another, or not there."""
    passages = generation.passages(documents)
    if not passages:
        return []
    fresh = generation.points(passages, batch_size=batch_size)
    stored = {record.id: record for record in stored_points(generation, store, fresh.ids)}
    found = [stored.get(point_id, Record(point_id, {})) for point_id in fresh.ids]
    right = _agreeing(fresh, found, generation.version.min_cosine)
    wrong = (passage.document.id for passage, ok in zip(passages, right, strict=True) if not ok)
    return list(dict.fromkeys(wrong))


def _agreeing(fresh: Points, stored: Sequence[Record], least: float) -> NDArray[np.bool_]:
    """Whether all vectors of each point are what they should be, (n,)."""
    worst = np.min(list(agreement(fresh, stored).values()), axis=0)  # (n,)
    weights = [same_weights(a, b.bm25) for a, b in zip(fresh.bm25, stored, strict=True)]
    agreeing: NDArray[np.bool_] = (worst >= least) & np.array(weights)
    return agreeing
