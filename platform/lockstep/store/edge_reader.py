"""Reads of one embedded collection, checked and in the port's own words.

Runs in the worker process that owns the shard; see `edge_worker`.
"""

from collections.abc import Sequence

from lockstep.store.checks import check_branches, share_by_id
from lockstep.store.edge_shard import Shard
from lockstep.store.filters import check_filter
from lockstep.store.payload_functions import PayloadFunction
from lockstep.store.port import Branch, Candidate, Json, Record


class ShardReader:
    """A Reader of the shard next to it, by ids as the engine writes them: those that it found."""

    is_near = True

    def __init__(self, collection: str, shard: Shard) -> None:
        self._collection = collection
        self._shard = shard

    def retrieve(
        self, ids: Sequence[str], *, with_vectors: bool = False, with_late: bool = False
    ) -> list[Record]:
        names = self._shard.schema.vector_names(vectors=with_vectors, late=with_late)
        found = {record.id: record for record in self._shard.retrieve(ids, names)}
        return [found[point_id] for point_id in ids if point_id in found]

    def search(
        self, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        if filter is not None:
            check_filter(filter)
        check_branches(self._collection, self._shard.schema, branches)
        return self._shard.search(branches, filter) if branches else []

    def evaluate(
        self, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        if not ids or not functions:
            return [{} for _ in functions]
        return [share_by_id(answer) for answer in self._shard.evaluate(ids, functions)]
