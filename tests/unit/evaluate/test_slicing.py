"""Parts of the queries: each is in a part, and fields that nobody has are told."""

import pytest

from lockstep.corpus.documents import Document
from lockstep.errors import InvalidInput
from lockstep_indexer.evaluate.collection import Asked
from lockstep_indexer.evaluate.slicing import NO_VALUE, partitions

DOCUMENTS = {
    f"d{n}": Document(
        f"d{n}", "word " * (n + 1), metadata={"lang": "de"} if n % 2 else {"source": {"name": "x"}}
    )
    for n in range(12)
}
ASKED = Asked(
    "set",
    {f"q{n:02}": "w" * (n + 1) for n in range(9)},
    {f"q{n:02}": {f"d{n}": 2, f"d{n + 1}": 1, f"d{n + 2}": 0} for n in range(9)},
    unknown=0,
    unknown_ids=(),
    unanswerable=0,
    unasked=0,
)


def test_lengths_part_the_queries_in_thirds() -> None:
    by_query, by_document = partitions(ASKED, DOCUMENTS, [])
    assert {label: len(part) for label, part in by_query.parts.items()} == {
        "1 to 4 characters": 4,
        "5 to 6 characters": 2,
        "7 to 9 characters": 3,
    }
    assert sorted(n for part in by_document.parts.values() for n in part) == list(range(9))


def test_texts_of_one_length_are_one_part() -> None:
    asked = Asked("s", {"a": "xy", "b": "zw"}, {"a": {"d1": 1}, "b": {"d1": 1}}, 0, (), 0, 0)
    parts = partitions(asked, DOCUMENTS, [])[0].parts
    assert {label: list(part) for label, part in parts.items()} == {"2 characters": [0, 1]}


def test_a_query_counts_for_each_value_of_what_is_relevant_to_it() -> None:
    *_, by_lang, by_name = partitions(ASKED, DOCUMENTS, ["lang", "source.name"])
    assert list(by_lang.parts) == ["de", NO_VALUE]  # each has a relevant document of both
    assert [len(part) for part in by_lang.parts.values()] == [9, 9]
    assert list(by_name.parts) == ["x", NO_VALUE]


def test_a_field_that_no_relevant_document_has_is_refused() -> None:
    with pytest.raises(InvalidInput, match="metadata field 'year'; they have lang, source"):
        partitions(ASKED, DOCUMENTS, ["year"])
