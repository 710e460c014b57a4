"""Vectors that the live index holds already, so that their passages need not be encoded again."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.bootstrap import Workspace
from lockstep.errors import LockstepError
from lockstep.index.versions import IndexVersion, State
from lockstep.models.encoder import Encoder
from lockstep.models.manifest import Json
from lockstep.models.vectors import Vector, normalised
from lockstep.store.port import Record
from lockstep_indexer.train.negatives.passages import CorpusPassage

_AT_ONCE = 256


@dataclass
class Indexed:
    """What an index version holds of some passages, as models read them: with their titles."""

    collection: str
    vectors: Vector  # (passages, dim), L2-normalised where known
    known: NDArray[np.bool_]  # (passages,)
    unread: str = ""  # why reading ended before its time

    def to_json(self) -> Json:
        read = {"collection": self.collection, "passages": int(self.known.sum())}
        return read | ({"unread": self.unread} if self.unread else {})


def indexed(
    workspace: Workspace, corpus: str, encoder: Encoder, passages: Sequence[CorpusPassage]
) -> Indexed | None:
    """The live version's vectors of the passages that it cut and encoded as `encoder` would.

    None where there is no version that was built by the same model in the same windows. One that
    another process has open, or that fails in between, is read as far as it goes.
    """
    live = next(iter(workspace.catalog.in_state(corpus, State.LIVE)), None)
    if live is None or not _encodes_alike(live, encoder):
        return None
    shape = (len(passages), encoder.dim)
    found = Indexed(live.collection, np.zeros(shape, np.float32), np.zeros(shape[0], np.bool_))
    try:
        for places, vectors in _stored(workspace, live.collection, passages):
            found.vectors[places] = vectors
            found.known[places] = True
    except LockstepError as error:  # whatever it is, the rest can be encoded
        found.unread = error.message
    with suppress(LockstepError):  # others may open it while this goes on
        workspace.store.release(live.collection)
    return found


def _stored(
    workspace: Workspace, collection: str, passages: Sequence[CorpusPassage]
) -> Iterator[tuple[list[int], Vector]]:
    """Places of passages, (n,), and their vectors, (n, dim), some at a time."""
    for start in range(0, len(passages), _AT_ONCE):
        some = passages[start : start + _AT_ONCE]
        places = {one.point_id: place for place, one in enumerate(some, start)}
        records = workspace.store.retrieve(collection, list(places), with_vectors=True)
        vectors = {
            places[record.id]: record.dense
            for record in records
            if record.dense is not None and _is_of(record, passages[places[record.id]])
        }
        if vectors:  # which may be kept in half precision
            yield list(vectors), normalised(np.stack(list(vectors.values())))


def _is_of(record: Record, passage: CorpusPassage) -> bool:
    """Whether a point is of this very text: a document may be cut otherwise than it was."""
    stored = record.payload
    same_document = stored["content_hash"] == passage.content_hash
    return bool(same_document and stored["text"] == passage.text)


def _encodes_alike(version: IndexVersion, encoder: Encoder) -> bool:
    same_windows = version.spec.window_tokens == encoder.max_tokens
    same_model = version.model_digest == encoder.version.digest
    return same_model and same_windows and not version.encoded_in_fp8
