"""Facets: how they are asked for."""

from typing import Any

import pytest
from generations import generation

from lockstep.errors import InvalidInput, SearchUnsupported
from lockstep.search.facets import Facet, checked_facets, require_countable
from lockstep.search.request import SearchRequest


def test_a_name_asks_for_ten_values() -> None:
    assert checked_facets(["lang", Facet("year", 3)]) == (Facet("lang", 10), Facet("year", 3))


REFUSED: dict[str, tuple[Any, str]] = {
    "one name": ("lang", "expected a list of fields"),
    "a set": ({"lang"}, "expected a list of fields"),
    "twice": (["lang", Facet("lang", 3)], "'lang' is asked for twice"),
    "many": ([f"f{n}" for n in range(11)], "11 facets; at most 10"),
    "no text": ([5], "is 5; expected a metadata field"),
    "odd": (["a b"], "is 'a b'; expected a metadata field"),
    "empty": ([""], "expected a metadata field"),
    "long": (["é" * 5000], "200 characters at most"),
}


@pytest.mark.parametrize(("facets", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_counted_is_refused(facets: Any, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SearchRequest("query", facets=facets)
    assert says in refused.value.message


@pytest.mark.parametrize("limit", [0, -1, 101, 10**30, True, 1.5, "10", None, float("nan")])
def test_a_limit_is_from_1_to_100(limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit of"):
        Facet("lang", limit)


def test_a_version_counts_what_it_was_built_to_count() -> None:
    indexes = {"lang": "keyword", "year": "integer", "when": "datetime", "open": "bool"}
    require_countable(generation(indexes), [Facet("lang"), Facet("year"), Facet("open")])
    for name, has in (("when", "its index is of type datetime"), ("x", "it has no index of it")):
        with pytest.raises(SearchUnsupported) as refused:
            require_countable(generation(indexes), [Facet("lang"), Facet(name)])
        assert f"'{name}': {has}. It can count lang, open, year;" in refused.value.message
        assert f"--index {name}:keyword" in refused.value.next_step
    with pytest.raises(SearchUnsupported, match="It can count none"):
        require_countable(generation({}), [Facet("lang")])


def test_the_next_step_keeps_all_other_indexes() -> None:
    indexes = {"lang": "keyword", "price": "float", "when": "datetime"}
    with pytest.raises(SearchUnsupported) as refused:
        require_countable(generation(indexes), [Facet("nope")])
    assert refused.value.next_step == (
        "lockstep reindex docs --model tiny@1 --index lang:keyword --index nope:keyword "
        "--index price:float --index when:datetime"
    )


def test_a_field_of_another_type_is_not_turned_unawares() -> None:
    with pytest.raises(SearchUnsupported) as refused:
        require_countable(generation({"lang": "keyword", "price": "float"}), [Facet("price")])
    assert refused.value.next_step == (
        "A field has one type: count another field, or give 'price' the type keyword, after which "
        "nothing can use it as float any more: lockstep reindex docs --model tiny@1 "
        "--index lang:keyword --index price:keyword"
    )
