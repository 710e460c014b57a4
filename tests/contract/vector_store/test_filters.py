"""A filter of each kind, and the documents it matches."""

from collections.abc import Iterator

import pytest
from points import SCHEMA, documents, field, make_points, point_id
from qdrant_stand_in import StandIn
from vector_stores import ENGINES, fresh_name, open_store

from lockstep.store.port import Json, VectorStore

LIBRARY: dict[str, Json] = {
    "a": {
        "year": 1999,
        "score": 0.5,
        "lang": "en",
        "tags": ["x", "y"],
        "open": True,
        "when": "2020-01-01T00:00:00Z",
        "place": {"lon": 13.4, "lat": 52.5},
        "authors": [{"name": "Ada", "age": 30}, {"name": "Bob", "age": 50}],
    },
    "b": {
        "year": 2010,
        "score": -1.25,
        "lang": "de",
        "tags": ["y"],
        "open": False,
        "when": "2021-06-15T12:30:00+02:00",
        "place": {"lon": 2.35, "lat": 48.85},
        "authors": [{"name": "Ada", "age": 50}],
    },
    "c": {
        "year": 2020,
        "lang": "日本",
        "tags": [],
        "nothing": None,
        "when": "2022-12-31",
        "place": [{"lon": 139.7, "lat": 35.7}, {"lon": 13.3, "lat": 52.4}],
    },
    "d": {},
}


def lon_lat(lon: float, lat: float) -> Json:
    return {"lon": lon, "lat": lat}


FILTERS: list[tuple[str, Json, str]] = [
    ("nothing asked", {}, "abcd"),
    ("empty list", {"must": []}, "abcd"),
    ("value text", {"must": [field("lang", match={"value": "en"})]}, "a"),
    ("value unicode", {"must": [field("lang", match={"value": "日本"})]}, "c"),
    ("value number", {"must": [field("year", match={"value": 2010})]}, "b"),
    ("value true", {"must": [field("open", match={"value": True})]}, "a"),
    ("value false", {"must": [field("open", match={"value": False})]}, "b"),
    ("value in a list", {"must": [field("tags", match={"value": "x"})]}, "a"),
    ("one object", {"must": field("lang", match={"value": "de"})}, "b"),
    ("any texts", {"must": [field("lang", match={"any": ["en", "de"]})]}, "ab"),
    ("any numbers", {"must": [field("year", match={"any": [1999, 2020]})]}, "ac"),
    ("any of none", {"must": [field("lang", match={"any": []})]}, ""),
    ("except", {"must": [field("lang", match={"except": ["en"]})]}, "bc"),
    ("must not", {"must_not": [field("lang", match={"value": "en"})]}, "bcd"),
    ("must not, one object", {"must_not": field("lang", match={"value": "en"})}, "bcd"),
    (
        "should",
        {"should": [field("lang", match={"value": "en"}), field("year", range={"gte": 2020})]},
        "ac",
    ),
    (
        "min should",
        {
            "min_should": {
                "conditions": [
                    field("lang", match={"value": "en"}),
                    field("year", range={"lt": 2015}),
                    field("tags", match={"value": "y"}),
                ],
                "min_count": 2,
            }
        },
        "ab",
    ),
    ("range", {"must": [field("year", range={"gt": 1999, "lte": 2020})]}, "bc"),
    ("range of floats", {"must": [field("score", range={"lt": 0.0})]}, "b"),
    ("range of times", {"must": [field("when", range={"gte": "2021-01-01T00:00:00Z"})]}, "bc"),
    ("range of zones", {"must": [field("when", range={"lt": "2021-06-15T10:31:00Z"})]}, "ab"),
    (
        "range of days",
        {"must": [field("when", range={"gt": "2020-01-01", "lt": "2022-01-01"})]},
        "b",
    ),
    ("open range", {"must": [field("year", range={"gte": 2010, "lt": None})]}, "bc"),
    (
        "geo radius",
        {"must": [field("place", geo_radius={"center": lon_lat(13.4, 52.5), "radius": 20000})]},
        "ac",
    ),
    (
        "geo box",
        {
            "must": [
                field(
                    "place",
                    geo_bounding_box={
                        "top_left": lon_lat(2.0, 49.0),
                        "bottom_right": lon_lat(3.0, 48.0),
                    },
                )
            ]
        },
        "b",
    ),
    (
        "geo polygon",
        {
            "must": [
                field(
                    "place",
                    geo_polygon={
                        "exterior": {
                            "points": [
                                lon_lat(13, 52),
                                lon_lat(14, 52),
                                lon_lat(14, 53),
                                lon_lat(13, 53),
                                lon_lat(13, 52),
                            ]
                        }
                    },
                )
            ]
        },
        "ac",
    ),
    ("values count", {"must": [field("tags", values_count={"gte": 1})]}, "ab"),
    ("is empty", {"must": [{"is_empty": {"key": "tags"}}]}, "cd"),
    ("is null", {"must": [{"is_null": {"key": "nothing"}}]}, "c"),
    ("is empty, as a test", {"must": [field("tags", is_empty=True)]}, "cd"),
    ("is not empty", {"must": [field("tags", is_empty=False)]}, "ab"),
    ("has id", {"must": [{"has_id": [point_id(0), point_id(3)]}]}, "ad"),
    ("has id of none", {"must": [{"has_id": []}]}, ""),
    ("has not id", {"must_not": [{"has_id": [point_id(0)]}]}, "bcd"),
    ("has vector", {"must": [{"has_vector": "dense"}]}, "abcd"),
    (
        "nested: one element has both",
        {
            "must": [
                {
                    "nested": {
                        "key": "authors",
                        "filter": {
                            "must": [
                                field("name", match={"value": "Ada"}),
                                field("age", range={"gte": 50}),
                            ]
                        },
                    }
                }
            ]
        },
        "b",
    ),
    (
        "not nested: any element has each",
        {
            "must": [
                field("authors[].name", match={"value": "Ada"}),
                field("authors[].age", range={"gte": 50}),
            ]
        },
        "ab",
    ),
    (
        "filters in filters",
        {
            "must": [
                {"should": [field("year", match={"value": 1999}), {"is_empty": {"key": "year"}}]},
                {"must_not": [field("lang", match={"value": "en"})]},
            ]
        },
        "d",
    ),
    ("a deep key", {"must": [field("place.lat", range={"gt": 50})]}, "a"),
]


@pytest.fixture(scope="module", params=ENGINES)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[tuple[VectorStore, str]]:
    store = open_store(request.param, tmp_path_factory.mktemp("library"), stand_in)
    name = fresh_name()
    store.create(name, SCHEMA, {})
    payloads = [{"document_id": document_id, **each} for document_id, each in LIBRARY.items()]
    store.upsert(name, make_points(range(len(payloads)), payloads))
    yield store, name
    store.drop(name)
    store.close()


@pytest.mark.parametrize(
    ("filter", "expected"), [each[1:] for each in FILTERS], ids=[f[0] for f in FILTERS]
)
def test_filters(library: tuple[VectorStore, str], filter: Json, expected: str) -> None:
    store, name = library
    assert documents(store, name, filter) == set(expected)
    assert store.count(name, filter) == len(expected)
