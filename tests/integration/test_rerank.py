"""Searches that rerank, on a real index with a real cross-encoder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import CrossEncoder
from workspaces import CORPUS, Templates

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import RerankerNotFound, Unavailable, WrongModelKind
from lockstep.search.diversity import DiversityChoice
from lockstep.search.request import SearchRequest, SearchResponse
from lockstep.search.rerank import RerankChoice
from lockstep.search.search import search
from lockstep.store.deadline import within
from lockstep.testing import tiny_reranker

QUERY = "red river stone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rerank")


@pytest.fixture(scope="module")
def workspace(templates: Templates, folder: Path) -> Iterator[Workspace]:
    with open_workspace(templates.live(folder / "workspace", device="cpu")) as workspace:
        workspace.models.add("ce", tiny_reranker(folder / "ce"))
        yield workspace


def ask(workspace: Workspace, **fields: Any) -> SearchResponse:
    fields.setdefault("rerank", RerankChoice("ce@1", candidates=20))
    return workspace.search(CORPUS, SearchRequest(QUERY, **fields))


def test_hits_stand_in_the_order_that_the_model_itself_gives(
    workspace: Workspace, folder: Path
) -> None:
    plain = ask(workspace, rerank=None, limit=20)
    found = ask(workspace, limit=20, explain=True)
    assert (found.reranker, plain.reranker) == ("ce@1", None)
    assert found.took_ms.rerank > 0 == plain.took_ms.rerank
    texts = {hit.id: f"{hit.title}\n{hit.text}" for hit in plain.hits}
    model = CrossEncoder(str(folder / "ce"), device="cpu")
    pairs = [(QUERY, text) for text in texts.values()]
    expected = dict(zip(texts, model.predict(pairs, show_progress_bar=False), strict=True))
    assert [hit.id for hit in found.hits] == sorted(texts, key=lambda id: -expected[id])
    assert [hit.id for hit in found.hits] != list(texts)
    for hit in found.hits:
        assert hit.score == pytest.approx(float(expected[hit.id]), abs=1e-6)
        assert hit.rerank is not None
        before = plain.hits[hit.rerank["rank_before"] - 1]
        assert (before.id, before.score) == (hit.id, hit.rerank["score_before"])
        assert hit.rerank["score"] == hit.score


def test_the_same_search_gives_the_same_bits_alone_and_in_a_batch(workspace: Workspace) -> None:
    request = SearchRequest(QUERY, limit=20, rerank=RerankChoice("ce", candidates=30))
    other = SearchRequest("tall clouds", limit=5, rerank=RerankChoice("ce@1"))
    alone = [workspace.search(CORPUS, request) for _ in range(3)]
    first, plain, second = workspace.search_batch(
        CORPUS, [request, SearchRequest("red river"), other]
    )
    assert [answer.hits for answer in alone] == [first.hits] * 3
    assert (first.reranker, plain.reranker, second.reranker) == ("ce@1", None, "ce@1")
    assert second.hits == workspace.search(CORPUS, other).hits


def test_pages_join_and_end_with_the_candidates(workspace: Workspace, folder: Path) -> None:
    request = SearchRequest(QUERY, limit=6, rerank=RerankChoice("ce", candidates=20))
    pages = [workspace.search(CORPUS, request)]
    workspace.models.add("ce", tiny_reranker(folder / "later", seed=9))
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(workspace.search(CORPUS, replace(request, cursor=cursor)))
    walked = [hit for page in pages for hit in page.hits]
    assert walked == ask(workspace, limit=20).hits
    assert {page.reranker for page in pages} == {"ce@1"}
    newest = workspace.search(CORPUS, request)
    assert newest.reranker == "ce@2"
    assert newest.hits != pages[0].hits


def test_the_threshold_is_one_of_the_scores_that_are_shown(workspace: Workspace) -> None:
    everything = ask(workspace, limit=20).hits
    threshold = everything[7].score
    assert ask(workspace, limit=20, score_threshold=threshold).hits == everything[:8]


def test_diversity_chooses_among_the_best_that_were_reranked(workspace: Workspace) -> None:
    def documents(relevance: float | None) -> list[str]:
        choice = None if relevance is None else DiversityChoice(relevance, candidates=10)
        rerank = RerankChoice("ce@1", candidates=50)
        found = ask(workspace, limit=10, rerank=rerank, diversity=choice)
        return [hit.document_id for hit in found.hits]

    best = documents(None)
    assert documents(1.0) == best
    assert documents(0.0) != best
    assert sorted(documents(0.0)) == sorted(best)


def test_what_cannot_rerank_is_named(workspace: Workspace) -> None:
    with pytest.raises(RerankerNotFound, match=r"No reranker is 'ce@9'. Known: ce@1"):
        ask(workspace, rerank=RerankChoice("ce@9"))
    with pytest.raises(WrongModelKind, match="tiny@1 is an encoder"):
        ask(workspace, rerank=RerankChoice("tiny"))


def test_what_is_not_done_before_the_deadline_fails(workspace: Workspace) -> None:
    request = SearchRequest(QUERY, rerank=RerankChoice("ce@1"))
    ask(workspace)
    generation = workspace.serving.current(CORPUS)
    with within(0.0), pytest.raises(Unavailable, match="ask the engine"):
        search(generation, workspace.store, request, workspace.rerankers)
    reranker = workspace.rerankers.get(workspace.rerankers.find("ce@1"))
    with within(0.0), pytest.raises(Unavailable, match="reranked"):
        reranker.score(QUERY, ["red river", "blue stone"])
