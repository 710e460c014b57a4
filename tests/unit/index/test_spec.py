"""Index specs: what is stored, what is read again, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep.errors import InvalidInput
from lockstep.index.late_interaction import LateInteraction
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.lexical.bm25 import Bm25Settings
from lockstep.models.manifest import ModelManifest
from lockstep.store.payload_indexes import MAX_INDEXES

SPEC = IndexSpec(window_tokens=64, prefilter_dim=None, bm25=Bm25Settings(avg_length=10.0))
INDEXED = IndexSpec(64, None, SPEC.bm25, payload_indexes={"lang": "keyword", "when": "datetime"})


def test_a_spec_without_indexes_reads_as_before_there_were_any() -> None:
    assert "payload_indexes" not in SPEC.to_json()
    assert IndexSpec.from_json(SPEC.to_json()) == SPEC


def test_indexes_are_stored_with_the_spec() -> None:
    assert IndexSpec.from_json(INDEXED.to_json()) == INDEXED
    assert INDEXED != SPEC


def test_a_collection_indexes_metadata_and_what_counting_documents_takes() -> None:
    assert INDEXED.schema(8).payload_indexes == {
        "metadata.lang": "keyword",
        "metadata.when": "datetime",
        "passage": "integer",
    }
    uncounted = IndexSpec(64, None, SPEC.bm25, payload_indexes={"when": "datetime"})
    assert uncounted.schema(8).payload_indexes == {"metadata.when": "datetime"}
    assert SPEC.schema(8).payload_indexes == {}


def test_late_interaction_is_stored_only_where_there_is_one() -> None:
    late = LateInteraction("colbert@2", "d" * 64, dim=128, max_tokens=48)
    spec = replace(SPEC, late_interaction=late)
    assert "late_interaction" not in SPEC.to_json()
    assert "late_dim" not in SPEC.schema(8).to_json()
    assert IndexSpec.from_json(spec.to_json()) == spec
    assert spec.schema(8).late_dim == 128


def test_eight_bits_are_stored_only_where_they_are_allowed() -> None:
    model = ModelManifest(
        files={}, dim=8, max_tokens=64, pooling="mean", normalised=True, similarity="cosine"
    )
    coarse = resolve(SpecOptions(fp8=True), model, 10.0)
    assert "fp8" not in SPEC.to_json()
    assert IndexSpec.from_json(coarse.to_json()) == coarse
    assert not coarse.matches(SpecOptions(), model)


def test_a_spec_of_before_texts_were_normalised_stays_as_it_was() -> None:
    model = ModelManifest(
        files={}, dim=8, max_tokens=64, pooling="mean", normalised=True, similarity="cosine"
    )
    stored = resolve(SpecOptions(), model, 10.0).to_json()
    assert stored["bm25"].pop("nfkc") is True
    old = IndexSpec.from_json(stored)
    assert not old.bm25.nfkc
    assert old.to_json() == stored
    assert not old.matches(SpecOptions(), model)


def test_a_passage_fits_both_models() -> None:
    late = LateInteraction("colbert@2", "d" * 64, dim=128, max_tokens=48)
    model = ModelManifest(
        files={}, dim=8, max_tokens=64, pooling="mean", normalised=True, similarity="cosine"
    )
    assert resolve(SpecOptions(), model, 1.0).window_tokens == 64
    assert resolve(SpecOptions(late_interaction=late), model, 1.0).window_tokens == 48
    asked = SpecOptions(late_interaction=late, window_tokens=32)
    assert resolve(asked, model, 1.0).window_tokens == 32


@pytest.mark.parametrize(
    "field", ["lang", "x-y", "日本", "author.name", "authors[].name", '"in print"', 'a."b.c".d']
)
def test_a_field_is_a_path(field: str) -> None:
    SpecOptions(payload_indexes={field: "keyword"})


REFUSED: dict[str, tuple[Any, str]] = {
    "type": ({"lang": "string"}, "'string'; expected one of keyword, integer, float, bool"),
    "type of another type": ({"lang": ["keyword"]}, "expected one of keyword"),
    "no mapping": (["lang"], "expected a type by field"),
    "empty field": ({"": "keyword"}, "expected a metadata field"),
    "space": ({"in print": "keyword"}, "'in print'; expected a metadata field"),
    "quote": ({'"a': "keyword"}, "expected a metadata field"),
    "open": ({"a.": "keyword"}, "expected a metadata field"),
    "element": ({"tags[]": "keyword"}, "expected a metadata field"),
    "number": ({"tags[0]": "keyword"}, "expected a metadata field"),
    "line": ({"a\n": "keyword"}, "expected a metadata field"),
    "quoted line": ({'"a\nb"': "keyword"}, "expected a metadata field"),
    "dollar": ({"$score": "keyword"}, "expected a metadata field"),
    "long": ({"a" * 201: "keyword"}, "200 characters at most"),
    "no text": ({5: "keyword"}, "expected a metadata field"),
    "many": ({f"f{n}": "keyword" for n in range(MAX_INDEXES + 1)}, "at most 32"),
}


@pytest.mark.parametrize(("indexes", "says"), REFUSED.values(), ids=REFUSED)
def test_what_no_engine_could_index_is_refused(indexes: Any, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SpecOptions(payload_indexes=indexes)
    assert says in str(refused.value)
