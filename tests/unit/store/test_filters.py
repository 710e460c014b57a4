"""Filter JSON: what is refused, where, and what a user's filter becomes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from lockstep.errors import InvalidFilter
from lockstep.store.edge_filter import edge_filter
from lockstep.store.filters import check_filter, prefixed

UUID_A = "00000000-0000-0000-0000-00000000000a"


def must(**condition: object) -> dict[str, Any]:
    return {"must": [condition]}


@pytest.mark.parametrize(
    ("filter", "place", "expected"),
    [
        ([], "The filter is []", "an object"),
        ({"musst": []}, "The filter holds 'musst'", "must, must_not, should"),
        ({"must": ["year"]}, "at must[0], is 'year'", "a condition"),
        ({"must": "year"}, "at must, is 'year'", "a condition"),
        (must(key="year"), "at must[0], holds 0 tests", "match, range"),
        (must(key="year", range={"gt": 1}, match={"value": 1}), "holds 2 tests", "one of match"),
        (must(key="year", equals=3), "at must[0], holds 'equals'", "one of match"),
        (must(key=3, match={"value": 1}), "at must[0].key, is 3", "text"),
        (must(key="", match={"value": 1}), "at must[0].key, is ''", "text"),
        (must(key="a\0", match={"value": 1}), "at must[0].key, is 'a\\x00'", "authors[].name"),
        (must(key="../a", match={"value": 1}), "at must[0].key, is '../a'", "expected a field"),
        (must(key="\ud800", match={"value": 1}), "at must[0].key", "without a lone surrogate"),
        (must(key="a", match={"value": "\ud800"}), "at must[0].match.value", "lone surrogate"),
        (must(key="a", match={"any": ["b", "\ud800"]}), "at must[0].match.any[1]", "surrogate"),
        (must(key="a", match={"value": 10**30}), "at must[0].match.value", "from -2^63 to 2^63"),
        (must(key="a", match={"any": [10**30]}), "at must[0].match.any", "from -2^63 to 2^63"),
        (must(key="a", mach={"value": 1}), "at must[0], holds 'mach'", "Did you mean 'match'?"),
        ({"mus": []}, "The filter holds 'mus'", "Did you mean 'must'?"),
        (must(is_empty={"key": "../a"}), "at must[0].is_empty.key, is '../a'", "a field"),
        (
            {"min_should": {"conditions": [], "min_count": -1}},
            "at min_should.min_count, is -1",
            "a whole number from 0",
        ),
        (must(key="a", match={"value": 1.5}), "at must[0].match.value, is 1.5", "whole number"),
        (must(key="a", match={"value": 2**70}), "at must[0].match.value", "whole number"),
        (must(key="a", match={"any": ["a", 1]}), "at must[0].match.any", "texts or of whole"),
        (must(key="a", match={"any": [True]}), "at must[0].match.any", "texts or of whole"),
        (must(key="a", match={"except": "en"}), "at must[0].match.except", "a list"),
        (must(key="a", match={"value": 1, "text": "x"}), "at must[0].match", "exactly one"),
        (must(key="a", match={"like": "x"}), "at must[0].match, holds 'like'", "text_any"),
        (must(key="a", range={}), "at must[0].range", "at least one of gt"),
        (must(key="a", range={"gte": "5"}), "at must[0].range.gte, is '5'", "RFC 3339"),
        (must(key="a", range={"gte": "yesterday"}), "at must[0].range.gte", "RFC 3339"),
        (must(key="a", range={"gte": True}), "at must[0].range.gte, is True", "a number"),
        (must(key="a", range={"gt": 1, "lt": "2020-01-01"}), "at must[0].range.lt", "one kind"),
        (must(key="a", range={"min": 1}), "at must[0].range, holds 'min'", "gt, gte, lt, lte"),
        (must(key="a", range={"gt": float("nan")}), "at must[0].range.gt", "a number"),
        (must(key="a", values_count={"gt": 1.5}), "at must[0].values_count.gt", "whole number"),
        (must(key="a", is_empty="yes"), "at must[0].is_empty, is 'yes'", "true or false"),
        (must(is_empty="tags"), "at must[0].is_empty, is 'tags'", "an object"),
        (must(is_null={}), "at must[0].is_null, lacks 'key'", ""),
        (must(has_id="x"), "at must[0].has_id", "a list"),
        (must(has_id=["x"]), "at must[0].has_id[0], is 'x'", "a UUID"),
        (must(has_vector=3), "at must[0].has_vector, is 3", "text"),
        (must(slice={"index": 0, "total": 2}), "at must[0], holds 'slice'", "must"),
        (must(nested={"key": "a"}), "at must[0].nested, lacks 'filter'", ""),
        (
            must(nested={"key": "a", "filter": must(has_id=[UUID_A])}),
            "at must[0].nested.filter.must[0].has_id, stands inside 'nested'",
            "",
        ),
        (
            must(key="a", geo_radius={"center": {"lon": 200, "lat": 0}, "radius": 1}),
            "at must[0].geo_radius.center",
            "a longitude and a latitude",
        ),
        (
            must(key="a", geo_polygon={"exterior": {"points": [{"lon": 0, "lat": 0}] * 3}}),
            "at must[0].geo_polygon.exterior",
            "4 points or more",
        ),
        (
            {"min_should": {"conditions": [], "min_count": "1"}},
            "at min_should.min_count",
            "a whole number",
        ),
        ({"should": [{"must": [{"key": "a"}]}]}, "at should[0].must[0], holds 0 tests", ""),
    ],
)
def test_a_refusal_names_the_place(filter: object, place: str, expected: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        check_filter(filter)
    assert place in refused.value.message
    assert expected in refused.value.message


def test_a_refusal_shows_the_right_form() -> None:
    with pytest.raises(InvalidFilter) as refused:
        check_filter(must(key="year", range={"from": 2020}))
    assert '{"key": "year", "range": {"gte": 2020, "lt": 2025}}' in refused.value.next_step


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = must(key="a", match={"value": 1})
    for _ in range(5000):
        deep = {"must": [deep]}
    with pytest.raises(InvalidFilter, match="nested more than"):
        check_filter(deep)


def test_prefixed_rewrites_every_outer_key() -> None:
    user = {
        "must": {"key": "year", "range": {"gte": 2020}},
        "should": [
            {"is_empty": {"key": "tags"}},
            {"is_null": {"key": "gone"}},
            {"nested": {"key": "authors", "filter": must(key="name", match={"value": "Ada"})}},
            {"must_not": [{"key": "deep", "match": {"any": ["x"]}}]},
        ],
        "min_should": {"conditions": [{"key": "a", "match": {"value": 1}}], "min_count": 1},
        "must_not": None,
    }
    assert prefixed(user, "metadata.") == {
        "must": [{"key": "metadata.year", "range": {"gte": 2020}}],
        "should": [
            {"is_empty": {"key": "metadata.tags"}},
            {"is_null": {"key": "metadata.gone"}},
            {
                "nested": {
                    "key": "metadata.authors",
                    "filter": must(key="name", match={"value": "Ada"}),
                }
            },
            {"must_not": [{"key": "metadata.deep", "match": {"any": ["x"]}}]},
        ],
        "min_should": {
            "conditions": [{"key": "metadata.a", "match": {"value": 1}}],
            "min_count": 1,
        },
    }


def test_a_users_ids_are_document_ids() -> None:
    assert prefixed({"must_not": [{"has_id": ["doc 1", "文書"]}]}, "metadata.") == {
        "must_not": [{"key": "document_id", "match": {"any": ["doc 1", "文書"]}}]
    }
    with pytest.raises(InvalidFilter, match=r"must\[0\].has_id\[0\]"):
        prefixed(must(has_id=[7]), "metadata.")


def test_prefixed_leaves_its_argument_alone() -> None:
    user = must(key="year", match={"value": 1})
    prefixed(user, "metadata.")
    assert user == must(key="year", match={"value": 1})


keys = st.sampled_from(["year", "a.b", "tags[]", "名前"])
texts = st.text(min_size=1, max_size=5)
whole = st.integers(-(2**40), 2**40)
bounds = st.sampled_from(["gt", "gte", "lt", "lte"])
times = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
matches = st.one_of(
    st.fixed_dictionaries({"value": texts | whole | st.booleans()}),
    st.fixed_dictionaries({"any": st.lists(texts) | st.lists(whole)}),
    st.fixed_dictionaries({"except": st.lists(texts) | st.lists(whole)}),
    *(
        st.fixed_dictionaries({kind: texts})
        for kind in ("text", "text_any", "phrase", "prefix", "substring")
    ),
)
ranges = st.one_of(
    st.dictionaries(bounds, whole | st.floats(-1e9, 1e9), min_size=1),
    st.dictionaries(bounds, times, min_size=1),
)
conditions = st.one_of(
    st.fixed_dictionaries({"key": keys, "match": matches}),
    st.fixed_dictionaries({"key": keys, "range": ranges}),
    st.fixed_dictionaries({"key": keys, "is_empty": st.booleans()}),
    st.fixed_dictionaries(
        {"key": keys, "values_count": st.dictionaries(bounds, st.integers(0, 9), min_size=1)}
    ),
    st.fixed_dictionaries({"is_null": st.fixed_dictionaries({"key": keys})}),
    st.fixed_dictionaries({"has_id": st.lists(st.uuids().map(str), max_size=3)}),
)


def clauses(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(
        st.sampled_from(["must", "should", "must_not"]), inner | st.lists(inner, max_size=3)
    )


filters = clauses(st.recursive(conditions, lambda inner: clauses(inner), max_leaves=6))


@given(filters)
def test_what_passes_is_read_by_both_engines(filter: dict[str, Any]) -> None:
    check_filter(filter)
    read = models.Filter.model_validate(filter)
    assert set(read.model_dump(exclude_none=True)) == set(filter)
    assert edge_filter(filter) is not None


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["must", "key", "match", "range", "value", "has_id", "nested", "x"]),
            inner,
        )
    ),
)


@given(junk)
def test_anything_is_either_read_or_refused(filter: Any) -> None:
    try:
        check_filter(filter)
    except InvalidFilter:
        return
    models.Filter.model_validate(filter)


@given(filters)
def test_prefixed_filters_are_filters(filter: dict[str, Any]) -> None:
    check_filter(prefixed(filter, "metadata."))
