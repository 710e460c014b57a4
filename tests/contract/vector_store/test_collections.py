"""Collections, their metadata, and the aliases that name them."""

from collections.abc import Callable

import numpy as np
import pytest
from points import DIM, SCHEMA, make_points, point_id, unit
from vector_stores import fresh_name

from lockstep.errors import CollectionExists, CollectionNotFound, Conflict, StoreUnavailable
from lockstep.store.payload_functions import Saturation
from lockstep.store.port import CollectionSchema, DenseBranch, VectorStore


class TestCollections:
    def test_metadata_comes_back_as_it_was_given(self, store: VectorStore) -> None:
        name, metadata = fresh_name(), {"α": [1, 2.5, None, {"deep": "日本"}], "null": None}
        store.create(name, SCHEMA, metadata)
        assert store.collections()[name] == metadata

    def test_set_metadata_replaces_all_of_it(self, store: VectorStore) -> None:
        name = fresh_name()
        store.create(name, SCHEMA, {"old": 1, "both": {"a": 1}})
        store.set_metadata(name, {"new": 2, "both": {"b": 2}})
        assert store.collections()[name] == {"new": 2, "both": {"b": 2}}

    def test_a_caller_cannot_change_what_is_stored(self, store: VectorStore) -> None:
        name = fresh_name()
        store.create(name, SCHEMA, {"list": [1]})
        store.collections()[name]["list"].append(2)
        assert store.collections()[name] == {"list": [1]}

    def test_a_name_is_taken_once(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(3)))
        with pytest.raises(CollectionExists, match=collection):
            store.create(collection, SCHEMA, {})
        assert store.count(collection) == 3

    def test_drop_is_idempotent_and_frees_the_name(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        store.drop(collection)
        store.drop(collection)
        assert collection not in store.collections()
        store.create(collection, CollectionSchema(dense_dim=8), {})
        assert store.count(collection) == 0

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.count("test-absent"),
            lambda store: store.scroll("test-absent"),
            lambda store: store.retrieve("test-absent", [point_id(1)]),
            lambda store: store.upsert("test-absent", make_points(range(1))),
            lambda store: store.delete("test-absent", {}),
            lambda store: store.flush("test-absent"),
            lambda store: store.optimize("test-absent"),
            lambda store: store.set_metadata("test-absent", {}),
            lambda store: store.set_alias("live", "test-absent"),
            lambda store: store.search("test-absent", [DenseBranch(unit(np.ones(DIM)), 1)]),
            lambda store: store.facet("test-absent", "lang", limit=1),
            lambda store: store.evaluate("test-absent", [point_id(1)], [Saturation("n", 1.0)]),
        ],
    )
    def test_an_absent_collection_is_named(
        self, store: VectorStore, call: Callable[[VectorStore], object]
    ) -> None:
        with pytest.raises(CollectionNotFound, match="test-absent"):
            call(store)

    def test_a_released_collection_opens_again(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(5)))
        store.release(collection)
        store.release(collection)
        assert store.count(collection) == 5

    def test_a_closed_store_says_so(self, store: VectorStore, collection: str) -> None:
        store.drop(collection)
        store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            store.count(collection)


class TestAliases:
    def test_an_alias_is_overwritten_in_place(self, store: VectorStore) -> None:
        first, second, alias = fresh_name(), fresh_name(), fresh_name()
        store.create(first, SCHEMA, {})
        store.create(second, SCHEMA, {})
        store.set_alias(alias, first)
        assert store.aliases()[alias] == first
        store.set_alias(alias, second)
        assert store.aliases()[alias] == second

    def test_what_an_alias_names_cannot_be_dropped(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        store.set_alias("live-" + collection, collection)
        with pytest.raises(Conflict, match="live"):
            store.drop(collection)
        assert store.count(collection) == 3
