"""Points are written, read back, deleted, and scrolled through."""

import pytest
from points import documents, make_points, point_id, sparse

from lockstep.store.edge import EdgeStore
from lockstep.store.port import (
    Branch,
    DenseBranch,
    Json,
    Points,
    SparseBranch,
    VectorStore,
    not_newer_than,
)


class TestPoints:
    def test_upserting_twice_is_upserting_once(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(20))
        store.upsert(collection, points)
        store.upsert(collection, points)
        assert store.count(collection) == 20
        store.optimize(collection)
        store.upsert(collection, points)
        assert store.count(collection) == 20

    def test_an_upsert_replaces_vectors_and_payload(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(3)))
        replaced = make_points(range(3), [{"document_id": "new"}] * 3, seed=9)
        store.upsert(collection, replaced)
        [record] = store.retrieve(collection, [point_id(1)], with_vectors=True)
        assert record.payload == {"document_id": "new"}
        assert record.dense == pytest.approx(replaced.dense[1], abs=1e-6)

    def test_an_empty_batch_changes_nothing(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(0)))
        assert store.count(collection) == 0

    def test_retrieve_keeps_the_order_and_leaves_out_the_absent(
        self, store: VectorStore, collection: str
    ) -> None:
        store.upsert(collection, make_points(range(10)))
        asked = [point_id(number) for number in (7, 99, 2, 9)]
        found = store.retrieve(collection, asked)
        assert [record.id for record in found] == [asked[0], asked[2], asked[3]]
        assert all(record.dense is None and record.bm25 is None for record in found)

    def test_vectors_come_back(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(4))
        store.upsert(collection, points)
        for row, record in enumerate(store.retrieve(collection, points.ids, with_vectors=True)):
            assert record.dense == pytest.approx(points.dense[row], abs=1e-6)
            assert points.prefilter is not None
            assert record.prefilter == pytest.approx(points.prefilter[row], abs=1e-6)
            assert record.bm25 is not None
            assert record.bm25.indices.tolist() == points.bm25[row].indices.tolist()
            assert record.bm25.values == pytest.approx(points.bm25[row].values, abs=1e-6)

    def test_unicode_payloads_come_back(self, store: VectorStore, collection: str) -> None:
        payload = {"document_id": "文書/α β\n🙂", "metadata": {"ключ": ["é", None, 1.5, True]}}
        store.upsert(collection, make_points(range(1), [payload]))
        assert store.retrieve(collection, [point_id(0)])[0].payload == payload
        match = {"must": [{"key": "document_id", "match": {"value": "文書/α β\n🙂"}}]}
        assert documents(store, collection, match) == {"文書/α β\n🙂"}

    def test_a_passage_without_words_is_stored(self, store: VectorStore, collection: str) -> None:
        points = make_points(range(1))
        wordless = Points(points.ids, points.dense, points.prefilter, [sparse()], points.payloads)
        store.upsert(collection, wordless)
        branches: list[Branch] = [
            SparseBranch(sparse((1, 1.0)), 5),
            DenseBranch(points.dense[0], 5),
        ]
        lexical, dense = store.search(collection, branches)
        assert lexical == []
        assert [candidate.id for candidate in dense] == [point_id(0)]

    def test_deleting_by_document_spares_the_ids_to_keep(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [{"document_id": "a"}] * 4 + [{"document_id": "b"}] * 2
        store.upsert(collection, make_points(range(6), payloads))
        stale = {
            "must": [{"key": "document_id", "match": {"value": "a"}}],
            "must_not": [{"has_id": [point_id(0), point_id(2)]}],
        }
        store.delete(collection, stale)
        left = {record.id for record in store.scroll(collection).records}
        assert left == {point_id(number) for number in (0, 2, 4, 5)}

    def test_a_delete_by_seq_spares_what_came_later(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [
            {"document_id": "a", "seq": 5},
            {"document_id": "a", "seq": 6},
            {"document_id": "a", "seq": 7},
            {"document_id": "a"},
        ]
        store.upsert(collection, make_points(range(4), payloads))
        of_a = {"key": "document_id", "match": {"value": "a"}}
        store.delete(collection, {"must": [of_a, not_newer_than(6)]})
        assert [record.payload for record in store.scroll(collection).records] == [payloads[2]]

    def test_an_upsert_by_seq_replaces_what_came_before(
        self, store: VectorStore, collection: str
    ) -> None:
        payloads: list[Json] = [{"document_id": "old"}, {"document_id": "old", "seq": 4}]
        store.upsert(collection, make_points(range(2), payloads))
        changed = make_points(range(3), [{"document_id": "new", "seq": 5}] * 3, seed=1)
        store.upsert(collection, changed, keep_newer_than=5)
        store.upsert(collection, changed, keep_newer_than=5)
        for row, record in enumerate(store.retrieve(collection, changed.ids, with_vectors=True)):
            assert record.payload == {"document_id": "new", "seq": 5}
            assert record.dense == pytest.approx(changed.dense[row], abs=1e-6)

    def test_an_upsert_by_seq_leaves_what_came_later(
        self, store: VectorStore, collection: str
    ) -> None:
        if isinstance(store, EdgeStore):
            pytest.skip("one process has it open, so nothing later can have come from elsewhere")
        later = make_points(range(1), [{"document_id": "a", "seq": 6}])
        store.upsert(collection, later, keep_newer_than=6)
        late = make_points(range(2), [{"document_id": "a", "seq": 5}] * 2, seed=1)
        store.upsert(collection, late, keep_newer_than=5)
        first, second = store.retrieve(collection, late.ids, with_vectors=True)
        assert first.payload["seq"] == 6
        assert first.dense == pytest.approx(later.dense[0], abs=1e-6)
        assert second.payload["seq"] == 5

    def test_flush_and_optimize_keep_the_points(self, store: VectorStore, collection: str) -> None:
        store.upsert(collection, make_points(range(50)))
        store.flush(collection)
        store.optimize(collection)
        store.optimize(collection)
        assert store.count(collection) == 50


class TestScroll:
    @pytest.mark.parametrize("limit", [1, 7, 25, 26, 100])
    def test_pages_hold_every_point_once_in_order(
        self, store: VectorStore, collection: str, limit: int
    ) -> None:
        store.upsert(collection, make_points(range(25)))
        seen, start = [], None
        while True:
            page = store.scroll(collection, start_id=start, limit=limit)
            assert len(page.records) <= limit
            seen += [record.id for record in page.records]
            if (start := page.next_id) is None:
                break
        assert seen == sorted(point_id(number) for number in range(25))

    def test_fields_select_what_is_read(self, store: VectorStore, collection: str) -> None:
        payload = {"document_id": "a", "hash": "h", "metadata": {"n": 1}}
        store.upsert(collection, make_points(range(1), [payload]))

        def read(fields: list[str] | None) -> Json:
            return store.scroll(collection, fields=fields).records[0].payload

        assert read(None) == payload
        assert read(["hash", "document_id"]) == {"document_id": "a", "hash": "h"}
        assert read([]) == {}

    def test_an_empty_collection_has_one_empty_page(
        self, store: VectorStore, collection: str
    ) -> None:
        page = store.scroll(collection)
        assert page.records == []
        assert page.next_id is None
