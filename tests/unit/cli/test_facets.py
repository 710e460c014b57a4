"""Declared indexes, facets and boosts on the command line."""

import re

import pytest

from .conftest import Cli

BOOST = "popularity:number:5:0.5"


def test_an_indexed_field_is_counted_until_a_reindex_leaves_it_out(cli: Cli) -> None:
    indexes = ("--index", "lang:keyword", "--index", "year:integer")
    built = cli("reindex", "docs", "--model", "tiny", *indexes, "--promote")
    assert built.code == 0, built.err
    assert "lang:keyword year:integer" in built.out
    found = cli("search", "docs", "python", "--facet", "lang", "--facet", "year:1", "-n", "1")
    assert found.code == 0, found.err
    assert re.search(r"lang +documents *\n─+\s+de +20 *\n\s*en +20 *\n", found.out), found.out
    assert re.search(r"year +documents *\n─+\s+none", found.out), found.out
    report = cli("search", "docs", "python", "--facet", "lang:1", "--json").json
    assert report["answers"][0]["facets"] == {"lang": [{"value": "de", "count": 20}]}
    planned = cli("plan", "docs", "--model", "tiny")
    assert "payload_indexes lang:keyword year:integer → none" in " ".join(planned.out.split())
    without = cli("reindex", "docs", "--model", "tiny", "--index", "year:integer")
    assert "v3 indexes lang:keyword; v4 does not." in without.out
    refused = cli("search", "docs", "python", "--facet", "lang", "--index-version", "4")
    assert refused.code == 1
    assert "It can count year" in refused.err
    assert "--index lang:keyword --index year:integer" in refused.err


def test_a_boost_is_shown_with_the_scores_it_makes(reading: Cli) -> None:
    shown = reading("search", "docs", "python", "-n", "1", "--boost", BOOST, "--explain")
    assert shown.code == 0, shown.err
    assert "popularity of number: 0.5 × 0.0000" in " ".join(shown.out.split())
    forms = ("recency:published:30d:0.3", "recency:a:12h:1", 'recency:"a:b":2:1')
    for form in forms:
        assert reading("search", "docs", "python", "--boost", form, "--json").code == 0


BAD = {
    ("reindex", "--index", "lang"): "names no type; expected FIELD:TYPE",
    ("reindex", "--index", "lang:string"): "expected one of keyword, integer, float",
    ("plan", "--index", "a b:keyword"): "expected a metadata field",
    ("plan", "--index", "a:keyword", "--index", "a:text"): "two types: keyword and text",
    ("search", "--facet", "a b"): "expected a metadata field",
    ("search", "--facet", "lang:0"): "expected 1 to 100",
    ("search", "--facet", "lang:" + "9" * 5000): "expected a metadata field",
    ("search", "--boost", "views"): "is no boost; expected recency:FIELD",
    ("search", "--boost", "magic:views:1:1"): "is no boost; expected recency:FIELD",
    ("search", "--boost", "recency:when:soon:1"): "holds no number",
    ("search", "--boost", "recency:when:d:1"): "holds no number",
    ("search", "--boost", "popularity:views:1:nan"): "expected 0 to 100",
    ("search", "--boost", "popularity:views:inf:1"): "midpoint",
}


@pytest.mark.parametrize(("arguments", "says"), BAD.items(), ids=[" ".join(a)[:40] for a in BAD])
def test_what_cannot_be_meant_is_a_usage_error(
    reading: Cli, arguments: tuple[str, ...], says: str
) -> None:
    command, *options = arguments
    given = ("query",) if command == "search" else ("--model", "tiny")
    result = reading(command, "docs", *given, *options)
    assert result.code == 2
    assert says in " ".join(result.err.replace("│", " ").split())
