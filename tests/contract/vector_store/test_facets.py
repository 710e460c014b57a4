"""Facets: how many points hold which value."""

import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from points import DIM, SHORT, make_points
from qdrant_stand_in import StandIn
from vector_stores import ENGINES, fresh_name, open_store

from lockstep.errors import InvalidFilter, SearchUnsupported
from lockstep.store.edge import EdgeStore
from lockstep.store.port import CollectionSchema, Json, VectorStore

SHELF_SCHEMA = CollectionSchema(
    dense_dim=DIM,
    prefilter_dim=SHORT,
    payload_indexes={
        "metadata.lang": "keyword",
        "metadata.year": "integer",
        "metadata.open": "bool",
        "metadata.uid": "uuid",
        "metadata.price": "float",
        "metadata.when": "datetime",
        "metadata.blurb": "text",
        'metadata."in print"': "keyword",
        "metadata.言語": "keyword",
        "metadata.authors[].name": "keyword",
    },
)
UID = str(uuid.UUID(int=7))
SHELF: list[Json] = [
    {"lang": "en", "year": 2000, "open": True, "uid": UID, "in print": "yes", "言語": "英"},
    {"lang": "de", "year": 2000, "open": False, "uid": UID, "blurb": "red"},
    {"lang": ["en", "fr", "en"], "year": [2000, 1990], "open": True},
    {"lang": "fr", "authors": [{"name": "Ada"}, {"name": "Bob"}, {"name": "Ada"}]},
    {"lang": None, "year": None, "authors": [{"name": "Ada"}]},
    {},
]
# What no index of its type holds; the in-memory engine has no indexes.
MISPLACED: list[Json] = [{"lang": 5, "year": "2000", "open": "yes", "uid": "x"}, {"lang": True}]


@pytest.fixture(scope="module", params=ENGINES)
def shelf(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[tuple[VectorStore, str]]:
    store = open_store(request.param, tmp_path_factory.mktemp("shelf"), stand_in)
    name = fresh_name()
    store.create(name, SHELF_SCHEMA, {})
    rows = [*SHELF, *(MISPLACED if isinstance(store, EdgeStore) else [])]
    payloads: list[Json] = [{"document_id": f"d{n}", "metadata": row} for n, row in enumerate(rows)]
    store.upsert(name, make_points(range(len(rows)), payloads))
    yield store, name
    store.drop(name)
    store.close()


FACETS: list[tuple[str, list[tuple[object, int]]]] = [
    ("metadata.lang", [("en", 2), ("fr", 2), ("de", 1)]),
    ("metadata.year", [(2000, 3), (1990, 1)]),
    ("metadata.open", [(True, 2), (False, 1)]),
    ("metadata.uid", [(UID, 2)]),
    ('metadata."in print"', [("yes", 1)]),
    ("metadata.言語", [("英", 1)]),
    ("metadata.authors[].name", [("Ada", 2), ("Bob", 1)]),
]


class TestFacets:
    @pytest.mark.parametrize(("field", "expected"), FACETS, ids=[each[0] for each in FACETS])
    def test_values_are_counted_once_per_point(
        self, shelf: tuple[VectorStore, str], field: str, expected: list[tuple[object, int]]
    ) -> None:
        store, name = shelf
        found = [(each.value, each.count) for each in store.facet(name, field, limit=10)]
        assert found == expected
        assert [type(value) for value, _ in found] == [type(value) for value, _ in expected]
        limited = store.facet(name, field, limit=1)
        assert [(each.value, each.count) for each in limited] == expected[:1]

    def test_a_filter_decides_what_is_counted(self, shelf: tuple[VectorStore, str]) -> None:
        store, name = shelf
        open_ones = {"must": [{"key": "metadata.open", "match": {"value": True}}]}
        found = store.facet(name, "metadata.lang", limit=10, filter=open_ones)
        assert [(each.value, each.count) for each in found] == [("en", 2), ("fr", 1)]
        none = {"must": [{"key": "metadata.lang", "match": {"value": "xx"}}]}
        assert store.facet(name, "metadata.lang", limit=10, filter=none) == []
        with pytest.raises(InvalidFilter):
            store.facet(name, "metadata.lang", limit=10, filter={"muss": []})

    @pytest.mark.parametrize(
        ("field", "says"),
        [
            ("metadata.none", "no payload index"),
            ("metadata.price", "an index of type float"),
            ("metadata.when", "an index of type datetime"),
            ("metadata.blurb", "an index of type text"),
            ("metadata.lang]", "no payload index"),
        ],
    )
    def test_what_cannot_be_counted_is_said(
        self, shelf: tuple[VectorStore, str], field: str, says: str
    ) -> None:
        store, name = shelf
        with pytest.raises(SearchUnsupported, match=says):
            store.facet(name, field, limit=10)

    def test_many_values_are_counted_exactly_wherever_they_are_stored(
        self, store: VectorStore
    ) -> None:
        """Of equal counts the first values; counts add up over what is optimised and what not."""
        name = fresh_name()
        schema = CollectionSchema(DIM, SHORT, payload_indexes={"metadata.n": "keyword"})
        store.create(name, schema, {})
        rows: list[Json] = [{"metadata": {"n": f"v{n * n % 101:03}"}} for n in range(300)]
        store.upsert(name, make_points(range(200), rows[:200]))
        store.optimize(name)
        store.upsert(name, make_points(range(200, 300), rows[200:]))
        counted = Counter(row["metadata"]["n"] for row in rows)
        expected = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
        for limit in (1, 7, 30, 100):
            found = [
                (each.value, each.count) for each in store.facet(name, "metadata.n", limit=limit)
            ]
            assert found == expected[:limit]
