"""Reads of one collection by a store's own calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from lockstep.store.payload_functions import PayloadFunction
from lockstep.store.port import Branch, Candidate, Json, Record, VectorStore


@dataclass(frozen=True)
class CollectionReader:
    """A Reader each read of which is a call of the store."""

    store: VectorStore
    collection: str
    is_near: bool = False

    def retrieve(
        self, ids: Sequence[str], *, with_vectors: bool = False, with_late: bool = False
    ) -> list[Record]:
        return self.store.retrieve(
            self.collection, ids, with_vectors=with_vectors, with_late=with_late
        )

    def search(
        self, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        return self.store.search(self.collection, branches, filter)

    def evaluate(
        self, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        return self.store.evaluate(self.collection, ids, functions)
