"""An evaluation asks what applications ask, builds what is lacking, and leaves nothing behind."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actions import document
from workspaces import CORPUS, Templates

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import (
    CorpusNotFound,
    InvalidInput,
    ModelNotFound,
    ModelRejected,
    RerankerNotFound,
)
from lockstep.index.generation import Generation
from lockstep.index.spec import SpecOptions
from lockstep.models.vectors import truncated
from lockstep.search.request import Mode, SearchRequest
from lockstep.testing import nan_model, tiny_model, tiny_reranker
from lockstep_indexer.build.reindex import Listener, reindex
from lockstep_indexer.evaluate import asking
from lockstep_indexer.evaluate.evaluating import evaluate
from lockstep_indexer.evaluate.indexes import Searchable, _stored
from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.measures import NDCG, Measure, figures
from lockstep_indexer.evaluate.options import Guarding, Options
from lockstep_indexer.evaluate.results import Evaluation
from lockstep_indexer.evaluate.ways import Way

DOCUMENTS = 60
OPTIONS = Options(dims=(8,), prefilter_dim=8, candidates=1_000)
PLAIN = Options(dims=(), prefilter_dim=0, ways=frozenset({Kind.DENSE}))  # no copies are made
DENSE, BM25, SHORT = Way(Kind.DENSE), Way(Kind.BM25), Way(Kind.DENSE, 8)


def judged(numbers: Sequence[int] = range(12)) -> QuerySet:
    """Words of a document as its query; the document, and less so the one after it, answer it."""
    return QuerySet(
        "judged",
        {f"q{n}": f"{document(n).title} revision" for n in numbers},
        {f"q{n}": {f"doc-{n}": 3, f"doc-{n + 1}": 1} for n in numbers},
    )


@pytest.fixture(scope="module", autouse=True)
def _few_timings() -> Iterator[None]:
    """Nothing here is about time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_TIMED", 2)
        patch.setattr(asking, "_WARM_UP", 0)
        yield


@pytest.fixture(scope="module")
def root(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose corpus has an index by tiny@1."""
    folder = tmp_path_factory.mktemp("evaluate") / "workspace"
    templates.live(folder, documents=DOCUMENTS)
    return folder


@pytest.fixture(scope="module")
def workspace(root: Path) -> Iterator[Workspace]:
    with open_workspace(root) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def beir(root: Path) -> Path:
    """The same documents as a folder."""
    folder = root / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = [document(n) for n in range(DOCUMENTS)]
    lines = [{"_id": d.id, "title": d.title, "text": d.text, "metadata": d.metadata} for d in rows]
    _write(folder / "corpus.jsonl", lines)
    asked = judged()
    _write(folder / "queries.jsonl", [{"_id": k, "text": t} for k, t in asked.queries.items()])
    qrels = [f"{q}\t{d}\t{g}" for q, each in asked.judgments.items() for d, g in each.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *qrels]))
    return folder


@pytest.fixture(scope="module")
def there(workspace: Workspace) -> Evaluation:
    """By the index that is there."""
    return evaluate(workspace, CORPUS, judged(), ["tiny"], OPTIONS)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def left_over(workspace: Workspace) -> list[Path]:
    return list((workspace.settings.data / "evaluation").iterdir())


def test_an_index_that_is_there_is_asked_as_applications_ask_it(
    workspace: Workspace, there: Evaluation
) -> None:
    [model] = there.models
    assert model.cost.used == "docs--v0001"
    modes = {BM25: Mode.LEXICAL, DENSE: Mode.DENSE, Way(Kind.HYBRID): Mode.HYBRID}
    for way, mode in modes.items():
        asked = there.bm25 if way == BM25 else model.results[way]
        assert asked is not None
        run = {
            key: [
                hit.document_id
                for hit in workspace.search(CORPUS, SearchRequest(text, limit=100, mode=mode)).hits
            ]
            for key, text in judged().queries.items()
        }
        assert asked.run == run
        expected = figures(judged().judgments, run, there.measures)
        assert all(asked.figures[m] == pytest.approx(expected[m], abs=1e-9) for m in expected)
    assert left_over(workspace) == []


def test_short_vectors_find_what_an_exact_comparison_of_them_finds(
    workspace: Workspace, there: Evaluation
) -> None:
    [model] = there.models
    generation = Generation.load(workspace.rollouts.live(CORPUS), workspace.encoders)
    page = workspace.store.scroll(generation.collection)
    ids = [record.id for record in page.records]
    records = workspace.store.retrieve(generation.collection, ids, with_vectors=True)
    stored = truncated(np.stack([np.asarray(r.dense) for r in records]), 8)
    run = model.results[SHORT].run
    for key, text in judged().queries.items():
        query = truncated(generation.encoder.encode_queries([text]), 8)[0]
        order = np.argsort(-(stored @ query), kind="stable")
        documents = list(dict.fromkeys(records[n].payload["document_id"] for n in order))
        assert run[key][:5] == documents[:5]
    # Rescoring all there is by the whole vectors is the whole vectors' search.
    prefilter, dense = (model.results[way].mean(NDCG) for way in (Way(Kind.PREFILTER), DENSE))
    assert prefilter == pytest.approx(dense, abs=1e-9)
    assert model.prefilter == (8, 1_000)


def test_the_prefilter_rescores_what_the_short_vectors_find(
    workspace: Workspace,
) -> None:
    ways = frozenset({Kind.DENSE, Kind.PREFILTER})
    options = replace(OPTIONS, dims=(), ways=ways, candidates=100)
    [model] = evaluate(workspace, CORPUS, judged(), ["tiny"], options).models
    generation = Generation.load(workspace.rollouts.live(CORPUS), workspace.encoders)
    stored = list(_stored(Searchable(generation, workspace.store)))
    documents = [payload["document_id"] for points in stored for payload in points.payloads]
    whole = np.concatenate([points.dense for points in stored])
    assert len(documents) > 500  # passages
    left_out = 0
    for key, text in judged().queries.items():
        query = generation.encoder.encode_queries([text])
        order = np.argsort(-(truncated(whole, 8) @ truncated(query, 8)[0]))
        # The engine finds them by eight bits, so the last places are not certain. It looks deeper
        # for documents further down than these.
        near = {documents[n] for n in order[:120]}
        assert set(model.results[Way(Kind.PREFILTER)].run[key][:5]) <= near
        left_out += len(set(model.results[DENSE].run[key][:5]) - near)
    assert left_out > 0


def test_a_temporary_index_gives_what_a_built_one_gives(
    workspace: Workspace, beir: Path, there: Evaluation
) -> None:
    built = evaluate(workspace, beir, judged(), ["tiny"], OPTIONS)
    assert built.models[0].cost.used is None
    assert built.models[0].cost.documents == DOCUMENTS
    assert built.models[0].cost.bytes > 0
    for way, result in there.models[0].results.items():
        same = built.models[0].results[way]
        assert same.mean(NDCG) == pytest.approx(result.mean(NDCG), abs=1e-6)
    assert left_over(workspace) == []


def test_models_are_compared_and_the_guard_speaks(
    workspace: Workspace, tmp_path: Path, beir: Path
) -> None:
    paths = [str(tiny_model(tmp_path / f"{seed}" / "model", seed=seed)) for seed in (21, 22)]
    before = workspace.models.list(), workspace.catalog.versions(CORPUS)
    ways = frozenset({Kind.DENSE, Kind.HYBRID})
    guard = Guarding(beir, margin=1.0)
    options = replace(PLAIN, ways=ways, guard=guard, slices=("parity",))
    found = evaluate(workspace, CORPUS, judged(), paths, options)
    assert (workspace.models.list(), workspace.catalog.versions(CORPUS)) == before
    assert [model.ref for model in found.models] == paths  # not model@1 and model@1
    assert not any(model.registered for model in found.models)
    dense = next(each for each in found.comparisons if each.way == DENSE)
    one, other = (m.results[DENSE].figures[found.headline] for m in found.models)
    assert dense.paired.difference == pytest.approx(float((other - one).mean()))
    assert (dense.wins, dense.losses) == (int((other > one).sum()), int((other < one).sum()))
    assert dense.adjusted_p >= dense.paired.p_value
    assert found.guard is not None
    assert {line.verdict for line in found.guard.lines} == {"flagged"}  # of so few queries
    assert [slices.by for slices in found.slices][-1] == "parity"
    assert json.loads(json.dumps(found.to_json()))["models"][1]["cost"]["used"] is None
    assert left_over(workspace) == []


def test_an_index_that_is_behind_is_not_asked(templates: Templates, tmp_path: Path) -> None:
    templates.live(tmp_path / "workspace", documents=DOCUMENTS)
    with open_workspace(tmp_path / "workspace") as workspace:
        workspace.corpora.write(CORPUS, [document(500)])
        found = evaluate(workspace, CORPUS, judged(), ["tiny"], PLAIN)
        assert found.models[0].cost.documents == DOCUMENTS + 1
        assert "docs--v0001 is 1 changes behind" in " ".join(found.notes)
        assert not any("written meanwhile" in note for note in found.notes)

        def write(stage: str) -> None:
            if "asking" in stage:
                workspace.corpora.write(CORPUS, [document(501)])

        moved = evaluate(
            workspace, CORPUS, judged(), ["tiny"], PLAIN, listener=Listener(stage=write)
        )
        assert "written meanwhile" in moved.notes[-1]


def test_models_are_compared_on_passages_of_the_same_length(
    templates: Templates, tmp_path: Path
) -> None:
    templates.live(tmp_path / "workspace", documents=DOCUMENTS)
    other = str(tiny_model(tmp_path / "other" / "model", seed=31))
    with open_workspace(tmp_path / "workspace") as workspace:
        short = SpecOptions(window_tokens=12)
        reindex(workspace, CORPUS, workspace.models.resolve("tiny"), short, promote=True)
        found = evaluate(workspace, CORPUS, judged(), ["tiny", other], PLAIN)
        there, built = (model.cost for model in found.models)
        assert (there.used, built.used) == ("docs--v0002", None)
        assert there.passages == built.passages > DOCUMENTS
        # An index of other passages than were asked for is of no use here.
        asked = replace(PLAIN, window_tokens=24)
        again = evaluate(workspace, CORPUS, judged(), ["tiny"], asked)
    assert again.models[0].cost.used is None
    assert "docs--v0002 has other windows" in again.notes[-1]


def test_a_model_that_is_not_registered_is_compiled_for_its_queries_and_not_kept(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tiny_model(tmp_path / "model", seed=41)
    auto = workspace.settings.model_copy(update={"query_encoder": "auto"})
    found = evaluate(replace(workspace, settings=auto), CORPUS, judged(), [str(path)], PLAIN)
    assert "OpenVINO" in found.models[0].queries_by
    assert "torch" in evaluate(workspace, CORPUS, judged(), [str(path)], PLAIN).models[0].queries_by
    compiled = workspace.artefacts.local_root / ".compiled"
    assert not list(compiled.glob(f"{found.models[0].digest}*"))


def test_nothing_is_left_of_an_evaluation_that_is_interrupted_or_was_killed(
    workspace: Workspace, beir: Path
) -> None:
    remains = workspace.settings.data / "evaluation" / "0123"
    remains.mkdir(parents=True, exist_ok=True)
    (remains / "points").write_text("of a process that was killed")

    def interrupt(stage: str) -> None:
        if "asking" in stage:
            assert len(left_over(workspace)) == 1  # its own
            assert not remains.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(workspace, beir, judged(), ["tiny"], PLAIN, listener=Listener(stage=interrupt))
    assert left_over(workspace) == []


def test_hits_are_reranked_by_a_registered_reranker(workspace: Workspace, root: Path) -> None:
    workspace.models.add("judge", str(tiny_reranker(root / "judge")))
    ways = frozenset({Kind.HYBRID, Kind.RERANK})
    options = replace(PLAIN, ways=ways, rerank="judge", rerank_candidates=10)
    found = evaluate(workspace, CORPUS, judged(range(2)), ["tiny"], options)
    reranked = found.models[0].results[Way(Kind.RERANK)]
    hybrid = found.models[0].results[Way(Kind.HYBRID)]
    assert {key: set(ids) for key, ids in reranked.run.items()} == {
        key: set(ids[:10]) for key, ids in hybrid.run.items()
    }
    assert reranked.mean(Measure("Recall", 100)) is None  # ten hits cannot tell
    assert reranked.to_json(found.asked.ids, Measure("Recall", 100))["per_query"] == {}


def test_judgments_that_say_nothing_are_counted(workspace: Workspace) -> None:
    queries = {"q1": document(1).title, "gone": "green", "none": "blue", "void": "  "}
    judgments = {
        "q1": {"doc-1": 1, "nowhere": 1},
        "gone": {"nowhere": 2},
        "none": {"doc-2": 0},
        "void": {"doc-3": 1},
    }
    asked = QuerySet("some", queries, judgments)
    found = evaluate(workspace, CORPUS, asked, ["tiny"], PLAIN)
    assert found.asked.ids == ["q1"]
    assert (found.asked.unknown, found.asked.unanswerable, found.asked.unasked) == (2, 2, 1)
    assert found.models[0].results[DENSE].mean(Measure("Recall", 100)) == 0.5  # one is not there


def refused(kind: type[Exception], match: str, **options: Any) -> Any:
    return pytest.param(kind, match, options, id=match[:30])


@pytest.mark.parametrize(
    ("kind", "match", "given"),
    [
        refused(CorpusNotFound, "no corpus 'nowhere'", corpus="nowhere"),
        refused(InvalidInput, "No model is given", models=[]),
        refused(ModelNotFound, "No model version is 'ghost'", models=["ghost"]),
        refused(InvalidInput, "are the same model version, tiny@1", models=["tiny", "tiny@1"]),
        refused(InvalidInput, "are the same model version, tiny@1", models=["tiny", "tiny"]),
        refused(
            InvalidInput,
            "has none of the 1 documents that 'x' judges",
            judged=QuerySet("x", {"q": "red"}, {"q": {"nowhere": 1}}),
        ),
        refused(
            InvalidInput,
            "none can be asked",
            judged=QuerySet("x", {"q": "red"}, {"q": {"doc-1": 0}}),
        ),
        refused(InvalidInput, "metadata field 'year'", options=Options(slices=("year",))),
        refused(InvalidInput, "Vectors of 32 dimensions", options=Options(dims=(32,))),
        refused(InvalidInput, "A prefilter of 32 dim", options=Options(prefilter_dim=32)),
        refused(RerankerNotFound, "No reranker is 'ghost'", options=Options(rerank="ghost")),
        refused(InvalidInput, "only 'tiny' is given", options=Options(guard=Guarding(Path()))),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anything_is_encoded(
    workspace: Workspace, kind: type[Exception], match: str, given: dict[str, Any]
) -> None:
    def fail(stage: str) -> None:
        assert stage in ("reading", "loading models")

    with pytest.raises(kind, match=match):
        evaluate(
            workspace,
            given.get("corpus", CORPUS),
            given.get("judged", judged()),
            given.get("models", ["tiny"]),
            given.get("options"),
            listener=Listener(stage=fail),
        )
    assert left_over(workspace) == []


def test_a_model_that_cannot_load_is_refused_beside_one_that_can(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(ModelRejected):
        evaluate(workspace, CORPUS, judged(), ["tiny", str(nan_model(tmp_path / "nan"))], OPTIONS)
    shutil.rmtree(tmp_path / "nan")
    assert left_over(workspace) == []
