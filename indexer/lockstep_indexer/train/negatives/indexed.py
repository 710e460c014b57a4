"""Vectors that the live index holds already, so that their passages need not be encoded again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.bootstrap import Workspace
from lockstep.errors import LockstepError
from lockstep.index.versions import IndexVersion, State
from lockstep.models.encoder import Encoder
from lockstep.models.manifest import Json
from lockstep.models.vectors import Vector, normalised, unusable_rows
from lockstep_indexer.train.negatives.passages import CorpusPassage

_AT_ONCE = 1024


@dataclass(frozen=True)
class Indexed:
    """What an index version holds of some passages."""

    collection: str
    vectors: Vector  # (passages, dim), L2-normalised where known
    known: NDArray[np.bool_]  # (passages,)

    def to_json(self) -> Json:
        return {"collection": self.collection, "passages": int(self.known.sum())}


def indexed(
    workspace: Workspace, corpus: str, encoder: Encoder, passages: Sequence[CorpusPassage]
) -> Indexed | None:
    """The live version's vectors of the passages that it cut and encoded as `encoder` would.

    None where it was built by another model or in other windows, or cannot be read: another process
    has it open, or it is away or damaged.
    """
    live = next(iter(workspace.catalog.in_state(corpus, State.LIVE)), None)
    if live is None or not _encodes_alike(live, encoder):
        return None
    vectors = np.zeros((len(passages), encoder.dim), dtype=np.float32)
    known = np.zeros(len(passages), dtype=np.bool_)
    try:
        for start in range(0, len(passages), _AT_ONCE):
            places = {
                one.point_id: place
                for place, one in enumerate(passages[start : start + _AT_ONCE], start)
            }
            for record in workspace.store.retrieve(
                live.collection, list(places), with_vectors=True
            ):
                place = places[record.id]
                if record.payload["content_hash"] == passages[place].content_hash:
                    vectors[place], known[place] = record.dense, True
    except LockstepError:  # whatever keeps it from being read, passages can be encoded
        return None
    known[unusable_rows(vectors)] = False
    vectors[known] = normalised(vectors[known])  # they may be kept in half precision
    return Indexed(live.collection, vectors, known)


def _encodes_alike(version: IndexVersion, encoder: Encoder) -> bool:
    spec = version.spec
    same_windows = spec.window_tokens == encoder.max_tokens
    return version.model_digest == encoder.version.digest and same_windows and not spec.fp8
