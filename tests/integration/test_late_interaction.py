"""Late interaction: token vectors are built, kept, checked and ranked by like all other vectors."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from actions import add_model, document, fill
from workspaces import CORPUS, build_next, generation, new_root

from lockstep import failpoints
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import DimensionMismatch, ModelNotFound, SearchUnsupported, WrongModelKind
from lockstep.index.late_interaction import LateInteraction
from lockstep.index.passages import encoded_text
from lockstep.index.spec import SpecOptions
from lockstep.search.request import Mode, SearchRequest
from lockstep.search.rerank import RerankChoice
from lockstep.store.port import Points, Vector
from lockstep.testing import tiny_token_model
from lockstep_indexer.build.model_refs import late_interaction_of
from lockstep_indexer.build.plan import plan
from lockstep_indexer.build.reindex import reindex

LATE = "docs--v0002"
RERANK = RerankChoice(candidates=20)
SAMPLES = 70  # one or two passages of each document


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Version 1 without token vectors, and live; version 2 with them."""
    folder = tmp_path_factory.mktemp("late")
    with open_workspace(new_root(folder / "workspace")) as workspace:
        fill(workspace, CORPUS, range(60))
        build_next(workspace, folder, seed=1)
        build_next(workspace, folder, seed=1, promote=False, options=options(workspace, folder))
        yield workspace


def options(workspace: Workspace, folder: Path) -> SpecOptions:
    version = workspace.models.add("tokens", tiny_token_model(folder / "tokens", seed=3))
    return SpecOptions(late_interaction=LateInteraction.of(version), datatype="float16")


def max_sim(query: Vector, tokens: Vector) -> float:
    return float((query @ tokens.T).max(axis=1).sum())


def test_the_best_hits_are_put_in_order_by_their_tokens(workspace: Workspace) -> None:
    request = SearchRequest("quick 23 tall 9", limit=20, explain=True, rerank=RERANK)
    answer = workspace.search(CORPUS, request, index_version=2)
    encoder = workspace.encoders.tokens("tokens@1")
    query = encoder.encode_query(request.query)
    for hit in answer.hits:
        [passage] = encoder.encode_passages([encoded_text(hit.title, hit.text)])
        assert hit.score == pytest.approx(max_sim(query, passage), rel=2e-3)
        assert hit.rerank is not None
        assert hit.rerank["score"] == hit.score
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    before = workspace.search(CORPUS, SearchRequest(request.query, limit=20), index_version=2)
    assert {hit.id for hit in answer.hits} == {hit.id for hit in before.hits}
    assert [hit.id for hit in answer.hits] != [hit.id for hit in before.hits]
    assert (answer.index_version, answer.reranker) == (LATE, "tokens@1")
    assert answer.took_ms.rerank > 0


@pytest.mark.parametrize("mode", Mode)
def test_the_same_request_gives_the_same_answer(workspace: Workspace, mode: Mode) -> None:
    request = SearchRequest("tall engine", mode=mode, rerank=RERANK)
    first, *others = [workspace.search(CORPUS, request, index_version=2).hits for _ in range(5)]
    assert all(other == first for other in others)
    assert workspace.search_batch(CORPUS, [request] * 2, index_version=2)[1].hits == first


def test_pages_join(workspace: Workspace) -> None:
    request = SearchRequest("quick cloud", limit=5, rerank=RERANK)
    pages = [workspace.search(CORPUS, request, index_version=2)]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(workspace.search(CORPUS, replace(request, cursor=cursor)))
    whole = workspace.search(CORPUS, replace(request, limit=20), index_version=2)
    assert [hit for page in pages for hit in page.hits] == whole.hits
    assert {page.index_version for page in pages} == {LATE}


def test_an_index_without_them_says_how_to_get_them(workspace: Workspace) -> None:
    with pytest.raises(SearchUnsupported) as refused:
        workspace.search(CORPUS, SearchRequest("red", rerank=RERANK))
    assert "docs--v0001 has no late interaction vectors" in refused.value.message
    command = "lockstep reindex docs --model tiny@1 --late-interaction REF"
    assert command in str(refused.value.next_step)
    assert workspace.search(CORPUS, SearchRequest("red")).reranker is None


def test_the_spec_keeps_which_model_they_are_of(workspace: Workspace) -> None:
    with_tokens, without = (workspace.catalog.get(CORPUS, number) for number in (2, 1))
    model = workspace.models.get("tokens", 1)
    assert with_tokens.spec.late_interaction == LateInteraction("tokens@1", model.digest, 16, 64)
    assert "late_interaction" not in without.spec.to_json()
    assert with_tokens.model_refs == ["tiny@1", "tokens@1"]


def test_a_generation_takes_no_other_model(workspace: Workspace) -> None:
    version = workspace.catalog.get(CORPUS, 2)
    late = version.spec.late_interaction
    assert late is not None
    for changed, error in (
        (replace(late, digest="0" * 64), DimensionMismatch),
        (replace(late, model="tokens@9"), ModelNotFound),
        (replace(late, model="tiny@1"), WrongModelKind),
    ):
        spec = replace(version.spec, late_interaction=changed)
        with pytest.raises(error):
            type(generation(workspace, 2)).load(replace(version, spec=spec), workspace.encoders)


def test_what_is_written_is_found_by_its_tokens(workspace: Workspace) -> None:
    workspace.corpora.write(CORPUS, [document(7, revision=1), document(200)])
    version = workspace.catalog.get(CORPUS, 2)
    with workspace.leases.hold(LATE) as lease:
        workspace.applier.apply(generation(workspace, 2), lease)
    report = workspace.prober.check(
        generation(workspace, 2), workspace.corpora.head_seq(CORPUS), samples=SAMPLES
    )
    assert report.problems == ()
    assert report.documents == version.applied_seq + 1
    assert report.samples.self_found["late"] == 1


def shuffled(points: Points) -> Points:
    """The tokens of each passage in another order: MaxSim alone would not see it."""
    assert points.late is not None
    return replace(points, late=[np.ascontiguousarray(each[::-1]) for each in points.late])


def cut(points: Points) -> Points:
    assert points.late is not None
    return replace(points, late=[each[:-1] for each in points.late])


@pytest.mark.parametrize("damaged", [shuffled, cut])
def test_other_tokens_are_found_out_and_mended(
    workspace: Workspace, damaged: Callable[[Points], Points]
) -> None:
    made = generation(workspace, 2)
    points = damaged(made.points(made.passages([document(9)]), batch_size=32))
    for payload in points.payloads:
        payload["seq"] = 10
    workspace.store.upsert(LATE, points)
    seq = workspace.catalog.get(CORPUS, 2).applied_seq
    [problem] = workspace.prober.check(made, seq, samples=SAMPLES).problems
    assert "do not agree with their stored 'late' vector" in problem
    workspace.repairer.repair(CORPUS, 2, samples=SAMPLES)
    assert workspace.prober.check(made, seq, samples=SAMPLES).problems == ()


def test_an_interrupted_build_goes_on(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    left = iter(range(2))

    def stop(name: str) -> None:
        if name == "after the points" and next(left, None) is None:
            raise Stopped

    with open_workspace(new_root(tmp_path / "workspace", batch_documents=16)) as workspace:
        fill(workspace, CORPUS, range(60))
        chosen = options(workspace, tmp_path)
        model = workspace.models.resolve(add_model(workspace, tmp_path / "model", seed=1))
        failpoints.arm(stop)
        try:
            with pytest.raises(Stopped):
                reindex(workspace, CORPUS, model, chosen)
        finally:
            failpoints.arm(None)
    with open_workspace(tmp_path / "workspace") as workspace:
        # Without token vectors it is another index, which resumes nothing.
        assert not reindex(workspace, CORPUS, model, SpecOptions(datatype="float16")).resumed
        done = reindex(workspace, CORPUS, model, chosen)
        assert done.resumed
        assert done.progress.documents == 60 - 2 * 16
        report = workspace.prober.check(generation(workspace, 1), 60, samples=SAMPLES)
        assert report.problems == ()


def test_a_plan_counts_the_vectors_of_tokens(workspace: Workspace) -> None:
    late = late_interaction_of(workspace, "tokens")
    without = plan(workspace, CORPUS, "tiny", SpecOptions())
    made = plan(workspace, CORPUS, "tiny", SpecOptions(late_interaction=late))
    assert made.changed["late_interaction"] == (None, "tokens@1")
    stored = generation(workspace, 2)
    passages = stored.passages(list(workspace.corpora.spread(CORPUS, 1000)))
    tokens = stored.points(passages, batch_size=32).late
    assert tokens is not None
    assert made.space.index.late == pytest.approx(sum(map(len, tokens)) * 16 * 4, rel=0.1)
    assert made.space.index.content == without.space.index.content + made.space.index.late
    assert made.encoding.likely > made.late_encoding.likely > 0
