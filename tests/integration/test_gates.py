"""Gates: what is worse or wrong does not go live, what is as good does, and the report says why."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from workspaces import CORPUS, build_next, copied, generation

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import (
    ArtefactDamaged,
    CollectionDamaged,
    GateFailed,
    InvalidInput,
    PromotionRefused,
    StoreUnavailable,
)
from lockstep.index.gate_report import Verdict
from lockstep.index.rollouts import Consent
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import State
from lockstep.settings import init_workspace
from lockstep.store.port import Readiness
from lockstep.testing import tiny_model
from lockstep.testing_faults import FAULTS
from lockstep_indexer.build.reindex import reindex

DOCUMENTS, QUERIES = 100, 40
WORDS = ["".join(pair) for pair in itertools.product(("ba", "do", "ki", "lu", "me"), repeat=3)]
# The latency gate has its own test: on a busy machine two versions of one millisecond may differ.
TOML = "[gates]\nqueries = 30\nlatency = false\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace: a live v1 by tiny@1, and judged queries that it answers well."""
    folder = tmp_path_factory.mktemp("gates")
    init_workspace(folder / "workspace")
    (folder / "workspace" / "lockstep.toml").write_text(TOML)
    with open_workspace(folder / "workspace") as workspace:
        workspace.corpora.create(CORPUS)
        workspace.corpora.write(CORPUS, [document(n) for n in range(DOCUMENTS)])
        workspace.query_sets.replace(CORPUS, judged(range(QUERIES)))
        build_next(workspace, folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def proposing(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a candidate v2, built by a model that is equal to the live one."""
    folder = copied(built, tmp_path_factory.mktemp("proposing"))
    with open_workspace(folder / "workspace") as workspace:
        build_next(workspace, folder, seed=1, promote=False)
    return folder


@pytest.fixture
def _gates_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUERIES", "IDENTITY_SAMPLES", "KNOWN_ITEM_MARGIN"):
        monkeypatch.delenv(f"LOCKSTEP_GATES__{name}", raising=False)


@pytest.fixture
def workspace(built: Path, tmp_path: Path, _gates_by_default: None) -> Iterator[Workspace]:
    """A copy with v1 alone, for one test."""
    with open_workspace(copied(built, tmp_path) / "workspace") as workspace:
        yield workspace


@pytest.fixture
def proposed(proposing: Path, tmp_path: Path, _gates_by_default: None) -> Iterator[Workspace]:
    """A copy with the candidate, for one test."""
    with open_workspace(copied(proposing, tmp_path) / "workspace") as workspace:
        yield workspace


def document(number: int) -> Document:
    """Words drawn from many, so that few documents are alike."""
    draws = random.Random(number)
    text = " ".join(draws.choice(WORDS) for _ in range(30))
    return Document(f"doc-{number}", f"{text}.", f"{draws.choice(WORDS)} {draws.choice(WORDS)}")


def deaf_model(folder: Path) -> str:
    """A model that hardly hears the words: it goes by how long a text is."""
    path = tiny_model(folder, seed=1) / "model.safetensors"
    weights = load_file(path)
    weights["embeddings.word_embeddings.weight"] *= 0.01
    save_file(weights, path, metadata={"format": "pt"})
    return str(folder)


def judged(numbers: range) -> QuerySet:
    """Each query is made of words of one document, which answers it."""
    queries = {f"q{n}": " ".join(document(n).text.split()[4:9]) for n in numbers}
    return QuerySet("test", queries, {f"q{n}": {f"doc-{n}": 1} for n in numbers})


def verdicts(workspace: Workspace) -> dict[str, Verdict]:
    report = workspace.catalog.history(CORPUS)[0].report
    assert report is not None
    return {result.gate: result.verdict for result in report.results}


def test_an_equal_model_passes_every_gate(workspace: Workspace, tmp_path: Path) -> None:
    build_next(workspace, tmp_path, seed=1)
    assert verdicts(workspace) == {
        "completeness": Verdict.PASSED,
        "identity": Verdict.PASSED,
        "health": Verdict.PASSED,
        "prefilter": Verdict.SKIPPED,
        "quality (hybrid, test)": Verdict.PASSED,
        "quality (dense, test)": Verdict.PASSED,
        "drift": Verdict.PASSED,
    }
    assert workspace.rollouts.live(CORPUS).number == 2


def test_the_prefilter_gets_as_many_candidates_as_it_needs(
    workspace: Workspace, tmp_path: Path
) -> None:
    options = SpecOptions(prefilter_dim=4)
    build_next(workspace, tmp_path, seed=1, options=options, promote=False)
    consent = Consent("the short vectors of this model change the answers", force=True)
    swap = workspace.rollouts.promote(CORPUS, consent=consent)
    assert swap.gates is not None
    measured = {result.gate: result.measured for result in swap.gates.results}["prefilter"]
    curve = measured["curve"]
    assert [share >= 0.95 for share in curve.values()] == [False] * (len(curve) - 1) + [True]
    live = workspace.rollouts.live(CORPUS)
    assert live.prefilter_candidates == measured["candidates"] == int(list(curve)[-1])


@pytest.mark.parametrize("kind", FAULTS)
def test_a_wrong_index_is_refused(workspace: Workspace, tmp_path: Path, kind: str) -> None:
    source = str(tiny_model(tmp_path / "prompted", seed=1, prompts={"document": "small stone: "}))
    model = workspace.models.add("prompted", source)
    version = reindex(workspace, CORPUS, model, SpecOptions()).version
    FAULTS[kind](workspace, generation(workspace, version.number), np.random.default_rng(5))
    with pytest.raises(GateFailed, match=r"identity|completeness") as caught:
        workspace.rollouts.promote(CORPUS)
    assert caught.value.report is not None
    assert caught.value.report["passed"] is False
    assert workspace.store.aliases() == {CORPUS: "docs--v0001"}
    assert workspace.catalog.get(CORPUS, version.number).state is State.CANDIDATE


def test_a_worse_model_is_refused_by_its_judged_quality(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = workspace.models.add("worse", deaf_model(tmp_path / "worse"))
    with pytest.raises(GateFailed, match=r"quality \(dense, test\): nDCG@10"):
        reindex(workspace, CORPUS, model, SpecOptions(), promote=True)
    assert verdicts(workspace)["completeness"] is Verdict.PASSED
    assert workspace.rollouts.live(CORPUS).number == 1


def test_a_worse_model_is_refused_without_judgments_too(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.query_sets.drop(CORPUS, "test")
    model = workspace.models.add("worse", deaf_model(tmp_path / "worse"))
    with pytest.raises(GateFailed, match="known items"):
        reindex(workspace, CORPUS, model, SpecOptions(), promote=True)


def test_a_few_judged_queries_do_not_take_the_place_of_known_items(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.query_sets.replace(CORPUS, judged(range(15)))
    model = workspace.models.add("worse", deaf_model(tmp_path / "worse"))
    with pytest.raises(GateFailed, match="known items"):
        reindex(workspace, CORPUS, model, SpecOptions(), promote=True)


def test_judgments_of_documents_that_are_not_there_prove_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    dead = judged(range(1000, 1060))
    workspace.query_sets.replace(CORPUS, dead)
    model = workspace.models.add("worse", deaf_model(tmp_path / "worse"))
    with pytest.raises(GateFailed, match="known items"):
        reindex(workspace, CORPUS, model, SpecOptions(), promote=True)


def test_a_query_that_no_search_takes_stops_no_promotion(
    workspace: Workspace, tmp_path: Path
) -> None:
    usual = judged(range(QUERIES))
    long = {**usual.queries, "long": "word " * 5000}
    judgments = {**usual.judgments, "long": {"doc-1": 1}}
    workspace.query_sets.replace(CORPUS, QuerySet("test", long, judgments))
    build_next(workspace, tmp_path, seed=1)
    assert workspace.rollouts.live(CORPUS).number == 2


def test_a_live_model_that_is_gone_fails_the_comparison_and_can_be_overridden(
    workspace: Workspace, tmp_path: Path
) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    live = workspace.rollouts.live(CORPUS)
    artefacts = workspace.settings.data / "models"
    next(p for p in artefacts.rglob("model.safetensors") if live.model_digest in str(p)).unlink()
    with open_workspace(workspace.settings.root) as fresh:
        workspace.store.release("docs--v0002")
        workspace.store.release("docs--v0001")
        with pytest.raises(GateFailed, match="comparison: docs--v0001 cannot be compared with"):
            fresh.rollouts.promote(CORPUS)
        consent = Consent("its model is lost", force=True)
        assert fresh.rollouts.promote(CORPUS, consent=consent).live.number == 2
        with pytest.raises(ArtefactDamaged):  # and nobody could serve what a rollback would bring
            fresh.rollouts.rollback(CORPUS)
        assert fresh.rollouts.live(CORPUS).number == 2


def test_what_goes_wrong_inside_a_gate_is_recorded_and_can_be_overridden(
    proposed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:

    def damaged(_: str) -> Readiness:
        raise CollectionDamaged("it is broken")

    monkeypatch.setattr(proposed.store, "readiness", damaged)
    with pytest.raises(GateFailed, match="health: it is broken"):
        proposed.rollouts.promote(CORPUS)
    assert verdicts(proposed)["completeness"] is Verdict.PASSED
    proposed.rollouts.promote(CORPUS, consent=Consent("it is not", force=True))


def test_a_rollback_need_not_wait_for_a_candidate_that_is_judged(
    workspace: Workspace, tmp_path: Path
) -> None:
    build_next(workspace, tmp_path, seed=1)
    with workspace.leases.hold(f"judging of {CORPUS}"):
        assert workspace.rollouts.rollback(CORPUS).live.number == 1


def test_what_went_live_while_a_candidate_was_judged_is_not_undone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_next(workspace, tmp_path, seed=1)
    build_next(workspace, tmp_path, seed=1, promote=False)
    judge = type(workspace.gatekeeper).judge

    def slow(*arguments: Any, **options: Any) -> Any:
        workspace.rollouts.rollback(CORPUS)
        return judge(*arguments, **options)

    monkeypatch.setattr(type(workspace.gatekeeper), "judge", slow)
    with pytest.raises(PromotionRefused, match="v1 went live"):
        workspace.rollouts.promote(CORPUS)
    assert workspace.rollouts.live(CORPUS).number == 1


def test_a_failure_after_the_alias_is_told_as_what_it_is(
    proposed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias = proposed.store.set_alias

    def then_fail(alias: str, collection: str) -> None:
        set_alias(alias, collection)
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(proposed.store, "set_alias", then_fail)
    with pytest.raises(StoreUnavailable):
        proposed.rollouts.promote(CORPUS)
    step = proposed.catalog.history(CORPUS)[0]
    assert (step.outcome, step.detail) == ("done", "it is live; after that: the answer was lost")
    assert proposed.rollouts.live(CORPUS).number == 2


def test_force_needs_a_reason_and_is_recorded(workspace: Workspace, tmp_path: Path) -> None:
    model = workspace.models.add("worse", deaf_model(tmp_path / "worse"))
    reindex(workspace, CORPUS, model, SpecOptions())
    with pytest.raises(InvalidInput, match="needs a reason"):
        Consent(force=True)
    swap = workspace.rollouts.promote(CORPUS, consent=Consent("the test says so", force=True))
    assert swap.live.number == 2
    step = workspace.catalog.history(CORPUS)[0]
    assert (step.step, step.outcome, step.reason) == ("promote", "done", "the test says so")
    assert step.report is not None
    assert not step.report.passed


def test_an_equal_model_is_refused_where_a_better_one_is_asked_for(proposed: Workspace) -> None:
    with pytest.raises(GateFailed, match="interval above 0 asked for"):
        proposed.rollouts.promote(CORPUS, consent=Consent(require_better=True))


def test_better_can_be_asked_for_always_and_takes_judgments(proposed: Workspace) -> None:
    proposed.query_sets.drop(CORPUS, "test")
    gates = proposed.settings.gates.model_copy(update={"require_better": True})
    object.__setattr__(proposed.gatekeeper, "settings", gates)
    with pytest.raises(GateFailed, match="on judged queries asked for"):
        proposed.rollouts.promote(CORPUS)


def test_a_small_set_says_how_many_queries_are_needed(workspace: Workspace, tmp_path: Path) -> None:
    workspace.query_sets.replace(CORPUS, judged(range(20, 44)))
    build_next(workspace, tmp_path, seed=4, promote=False)
    with pytest.raises(GateFailed) as caught:
        workspace.rollouts.promote(CORPUS)
    report = caught.value.report or {}
    details = " ".join(result["detail"] for result in report["results"])
    assert "it is worse" in details or "are needed" in details


def test_an_engine_that_is_not_ready_fails(
    proposed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Readiness(False, "yellow, 900 points")
    monkeypatch.setattr(proposed.store, "readiness", lambda _: state)
    with pytest.raises(GateFailed, match="health: not ready: yellow"):
        proposed.rollouts.promote(CORPUS)


def test_a_gate_can_be_turned_off(proposed: Workspace) -> None:
    gates = proposed.settings.gates.model_copy(update={"drift": False, "quality": False})
    object.__setattr__(proposed.gatekeeper, "settings", gates)
    proposed.rollouts.promote(CORPUS)
    assert set(verdicts(proposed)) == {"completeness", "identity", "health", "prefilter"}


def test_a_comparison_names_the_queries_that_changed_most(
    workspace: Workspace, tmp_path: Path
) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    found = workspace.gatekeeper.compare(generation(workspace, 2), generation(workspace, 1))
    overlaps = [change.overlap for change in found.changes]
    assert overlaps == sorted(overlaps)
    assert overlaps[0] < 0.9
    assert found.changes[0].gain is not None
    assert found.to_json()["changes"][0]["before"]


def test_the_first_version_has_nothing_to_be_compared_with(workspace: Workspace) -> None:
    report = workspace.catalog.history(CORPUS)[0].report
    assert report is not None
    assert report.live is None
    skipped = {result.gate for result in report.results if result.verdict is Verdict.SKIPPED}
    assert "quality (hybrid, test)" in skipped
