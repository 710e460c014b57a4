"""What a search can ask for, on a real index: pages, groups, likeness, diversity, highlights."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from workspaces import CORPUS, Templates, build_next

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import CursorExpired, DocumentNotFound, InvalidInput, Unavailable
from lockstep.gates.searchers import LocalSearcher
from lockstep.search.asked import asked
from lockstep.search.boosts import PopularityBoost
from lockstep.search.diversity import DiversityChoice
from lockstep.search.highlights import HighlightChoice
from lockstep.search.hits import FirstHits, Found
from lockstep.search.plan import make_plan
from lockstep.search.request import GroupChoice, Mode, SearchRequest, SearchResponse
from lockstep.search.search import search
from lockstep.store.deadline import within
from lockstep.store.edge import EdgeStore
from lockstep.store.edge_collection import EdgeCollection
from lockstep.store.port import Record
from lockstep.store.reading import CollectionReader

ODD = {"must": [{"key": "parity", "match": {"value": 1}}]}


@pytest.fixture(scope="module")
def workspace(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    root = templates.live(tmp_path_factory.mktemp("features") / "workspace", documents=120)
    with open_workspace(root) as workspace:
        yield workspace


def ask(workspace: Workspace, query: str = "red river", **fields: Any) -> SearchResponse:
    return workspace.search(CORPUS, SearchRequest(query, **fields))


def documents(response: SearchResponse) -> list[str]:
    return [hit.document_id for hit in response.hits]


class Nap:
    """A question that the engine's process takes half a second to read, and cannot answer."""

    def __reduce__(self) -> Any:
        return time.sleep, (0.5,)


def test_who_waits_for_the_engine_is_told_by_the_deadline(workspace: Workspace) -> None:
    generation = workspace.serving.current(CORPUS)
    ask(workspace)
    with ThreadPoolExecutor(1) as pool:
        nap = pool.submit(workspace.store.ask, generation.collection, cast(Any, Nap()))
        asked = cast(EdgeStore, workspace.store)._collection(generation.collection)
        while not asked._lock.locked():
            time.sleep(0.001)
        with within(0.05), pytest.raises(Unavailable, match="ask the engine"):
            search(generation, workspace.store, SearchRequest("red river"))
        assert not nap.done()
        assert nap.exception() is not None
    assert ask(workspace).hits


@pytest.mark.parametrize("mode", Mode)
def test_pages_follow_each_other_without_gaps_or_repeats(workspace: Workspace, mode: Mode) -> None:
    request = SearchRequest("red river stone", limit=7, mode=mode)
    pages = [workspace.search(CORPUS, request)]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(workspace.search(CORPUS, replace(request, cursor=cursor)))
    walked = [hit for page in pages for hit in page.hits]
    at_once = ask(workspace, "red river stone", limit=200, mode=mode).hits
    assert walked == at_once
    assert len({hit.document_id for hit in walked}) == len(walked) > 50
    scores = [hit.score for hit in walked]
    assert scores == sorted(scores, reverse=True)


def test_a_list_goes_on_with_its_version_across_a_promotion(
    templates: Templates, tmp_path: Path
) -> None:
    with open_workspace(templates.live(tmp_path / "workspace")) as workspace:
        request = SearchRequest("red river", limit=5)
        first = workspace.search(CORPUS, request)
        expected = workspace.search(CORPUS, replace(request, offset=5)).hits
        build_next(workspace, tmp_path, seed=2)
        resumed = replace(request, cursor=first.next_cursor)
        second = workspace.search(CORPUS, resumed)
        assert second.index_version == first.index_version == "docs--v0001"
        assert second.hits == expected
        assert workspace.search(CORPUS, request).index_version == "docs--v0002"
        workspace.retirement.drop(CORPUS, soaked=False)
        with pytest.raises(CursorExpired, match="has been dropped"):
            workspace.search(CORPUS, resumed)


def test_more_like_a_document_is_near_it_and_not_itself(workspace: Workspace) -> None:
    like = SearchRequest(like="doc-4", limit=5, mode=Mode.DENSE)
    found = workspace.search(CORPUS, like)
    assert "doc-4" not in documents(found)
    text = workspace.corpora.get(CORPUS, "doc-4")
    generation = workspace.serving.current(CORPUS)
    passage = generation.passages([text])[0]
    vectors = generation.encoder.encode_passages(
        [passage.encoded_text, *(f"{hit.title}\n{hit.text}" for hit in found.hits)]
    )
    assert found.hits[0].score == pytest.approx(float(np.max(vectors[1:] @ vectors[0])), abs=0.05)
    hybrid = workspace.search(CORPUS, SearchRequest(like="doc-4", limit=5, filter=ODD))
    assert {hit.metadata["parity"] for hit in hybrid.hits} == {1}


def test_what_is_not_there_or_out_of_scope_has_no_likeness(workspace: Workspace) -> None:
    absent = SearchRequest(like="doc-999")
    hidden = SearchRequest(like="doc-4", scope=ODD)
    for request in (absent, hidden):
        with pytest.raises(DocumentNotFound, match=f"has no document '{request.like}'"):
            workspace.search(CORPUS, request)
    assert workspace.search(CORPUS, SearchRequest(like="doc-5", scope=ODD)).hits


def test_groups_of_a_field_have_their_size(workspace: Workspace) -> None:
    found = ask(workspace, limit=50, group_by=GroupChoice("parity", size=3))
    assert Counter(hit.metadata["parity"] for hit in found.hits) == {0: 3, 1: 3}
    assert found.next_cursor is None
    assert ask(workspace, group_by=GroupChoice("absent")).hits == []


def test_a_threshold_cuts_the_tail(workspace: Workspace) -> None:
    everything = ask(workspace, limit=20).hits
    threshold = everything[9].score
    cut = ask(workspace, limit=20, score_threshold=threshold)
    assert cut.hits == [hit for hit in everything if hit.score >= threshold]
    assert cut.next_cursor is None


def test_diversity_reorders_the_best_and_changes_nothing_at_full_relevance(
    workspace: Workspace,
) -> None:
    plain = documents(ask(workspace, limit=30))
    same = ask(workspace, limit=30, diversity=DiversityChoice(relevance=1.0, candidates=30))
    assert documents(same) == plain
    other = documents(ask(workspace, limit=30, diversity=DiversityChoice(0.1, candidates=30)))
    assert other != plain
    assert sorted(other) == sorted(plain)
    assert other[0] == plain[0]


@pytest.mark.parametrize("by_meaning", [False, True])
def test_highlights_are_sentences_of_their_hit(workspace: Workspace, by_meaning: bool) -> None:
    choice = HighlightChoice(sentences=2, by_meaning=by_meaning)
    found = ask(workspace, limit=5, highlight=choice)
    assert found.hits
    for hit in found.hits:
        assert hit.highlights is not None
        assert 1 <= len(hit.highlights) <= 2
        for sentence in hit.highlights:
            assert hit.text[sentence.start : sentence.end] == sentence.text
            words = [hit.text[start:end] for start, end in sentence.terms]
            assert {word.casefold() for word in words} <= {"red", "river", "rivers"}
    assert ask(workspace, limit=5).hits[0].highlights is None


def test_explain_tells_what_the_filter_leaves(workspace: Workspace) -> None:
    plain, filtered = ask(workspace, explain=True), ask(workspace, explain=True, filter=ODD)
    assert plain.explain is not None
    assert filtered.explain is not None
    assert plain.explain["matching_filter"] is None
    assert 0 < filtered.explain["matching_filter"] < filtered.explain["passages"]
    scoped = ask(workspace, explain=True, scope=ODD).explain
    assert scoped == {"passages": filtered.explain["matching_filter"], "matching_filter": None}


def test_a_batch_answers_as_its_searches_do(workspace: Workspace) -> None:
    requests = [
        SearchRequest("red river"),
        SearchRequest("tall stone", mode=Mode.LEXICAL),
        SearchRequest(like="doc-3", limit=3),
        SearchRequest("cold wind", mode=Mode.DENSE, filter=ODD),
    ]
    together = workspace.search_batch(CORPUS, requests)
    alone = [workspace.search(CORPUS, request) for request in requests]
    assert [documents(answer) for answer in together] == [documents(answer) for answer in alone]


def test_a_batch_has_bounds(workspace: Workspace) -> None:
    cursor = ask(workspace, limit=2).next_cursor
    for requests in (
        [SearchRequest("red")] * 101,
        [SearchRequest("red river", limit=2, cursor=cursor)],
    ):
        with pytest.raises(InvalidInput, match="at most 100 searches"):
            workspace.search_batch(CORPUS, requests)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query": "red", "like": "doc-1"}, "Both query and like"),
        ({}, "The query is empty"),
        ({"query": "red", "cursor": "x", "offset": 3}, "offset is 3 beside a cursor"),
        ({"query": "red", "limit": 60, "diversity": DiversityChoice()}, "at least offset"),
        ({"query": "red", "score_threshold": float("nan")}, "score_threshold is nan"),
        (
            {"query": "red", "limit": 51, "highlight": HighlightChoice(by_meaning=True)},
            "at most 50 hits",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SearchRequest(**fields)


@pytest.mark.parametrize(
    ("field", "size"), [("", 1), (" ", 1), ("x" * 257, 1), ("a", 0), ("a", 101)]
)
def test_groups_out_of_range_are_refused(field: str, size: int) -> None:
    with pytest.raises(InvalidInput, match=r"group_by\.(field|size) is"):
        GroupChoice(field, size)


def test_a_searcher_of_the_gates_encodes_each_query_anew(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = workspace.serving.current(CORPUS)
    encode, encoded = generation.encoder.encode_queries, []

    def counting(texts: list[str]) -> Any:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(generation.encoder, "encode_queries", counting)
    searcher = LocalSearcher(generation, workspace.store)
    first, second = (searcher.ask("tall cloud", Mode.HYBRID, 5) for _ in range(2))
    assert encoded == ["tall cloud", "tall cloud"]
    assert first.document_ids == second.document_ids


class Counting(CollectionReader):
    """Reads by trips, and notes how much each brings."""

    def retrieve(self, ids: Sequence[str], **options: bool) -> list[Record]:
        reads.append(len(ids))
        return super().retrieve(ids, **options)


reads: list[int] = []


def by_trips(workspace: Workspace, request: SearchRequest) -> Found:
    """What the embedded engine answers in its own process, asked for one read at a time."""
    generation = workspace.serving.current(CORPUS)
    reads.clear()
    plan = make_plan(request, generation, asked(generation, workspace.store, request))
    question = FirstHits(request, plan, request.window)
    return question(Counting(workspace.store, generation.collection))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"group_by_document": False, "explain": True},
        {"mode": Mode.DENSE, "group_by": GroupChoice("parity", 3), "limit": 4},
        {"filter": ODD, "limit": 60},
        {"boosts": [PopularityBoost("parity", midpoint=1, weight=2)], "explain": True},
    ],
    ids=str,
)
def test_the_engine_answers_as_if_it_was_asked_step_by_step(
    workspace: Workspace, fields: dict[str, Any]
) -> None:
    request = SearchRequest("red river", **fields)
    assert by_trips(workspace, request).hits == workspace.search(CORPUS, request).hits


@pytest.mark.parametrize(("grouped", "expected"), [(True, 25), (False, 10)])
def test_over_a_network_many_are_read_at_once(
    workspace: Workspace, grouped: bool, expected: int
) -> None:
    request = SearchRequest("red river", group_by_document=grouped)
    assert len(by_trips(workspace, request).hits) == 10
    assert set(reads[:-1] or reads) == {expected}


def test_a_search_asks_an_engine_of_its_own_process_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = []
    call = EdgeCollection.call

    def counting(collection: EdgeCollection, operation: str, *arguments: Any) -> Any:
        trips.append(operation)
        return call(collection, operation, *arguments)

    collection = workspace.serving.current(CORPUS).collection
    opened = cast(EdgeStore, workspace.store)._collection(collection)
    monkeypatch.setattr(opened, "call", partial(counting, opened))
    assert ask(workspace).hits
    assert trips == ["ask"]
