"""Damage and bad input: a clear error each, nothing half done, and the live index still answers."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from actions import add_model, document
from workspaces import CORPUS, Templates, build_next

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import (
    ArtefactDamaged,
    CollectionDamaged,
    CorpusNotFound,
    IndexVersionNotFound,
    InvalidInput,
    LeaseHeld,
    ManifestDamaged,
    ModelRejected,
    NothingToRollBack,
    PromotionRefused,
    SearchUnsupported,
)
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import State
from lockstep.search.request import PrefilterChoice, SearchRequest
from lockstep.testing import nan_model, tiny_model
from lockstep_indexer.build.reindex import reindex


@pytest.fixture
def root(templates: Templates, tmp_path: Path) -> Path:
    return templates.live(tmp_path / "workspace")


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    """A live index of 60 documents, which every test must leave answering."""
    with open_workspace(root) as workspace:
        yield workspace
        answer = workspace.search(CORPUS, "red river")
        assert answer.index_version == "docs--v0001"
        assert answer.hits


def test_an_empty_corpus_is_not_indexed(workspace: Workspace) -> None:
    workspace.corpora.create("empty")
    model = workspace.models.resolve("tiny")
    with pytest.raises(InvalidInput, match=r"no documents to index. .*lockstep ingest empty"):
        reindex(workspace, "empty", model, SpecOptions())
    assert workspace.catalog.versions("empty") == []


def test_an_unknown_corpus_is_named_with_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(CorpusNotFound, match=r"nowhere.*docs"):
        workspace.search("nowhere", "red")


def test_an_unknown_version_is_named_with_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(IndexVersionNotFound, match="no index version v9; it has v1"):
        workspace.rollouts.promote(CORPUS, 9)


def test_a_model_that_gives_nan_is_not_registered(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="NaN"):
        workspace.models.add("broken", str(nan_model(tmp_path / "nan")))
    assert [version.name for version in workspace.models.list()] == ["tiny"]


def test_a_model_of_another_dimension_gets_an_index_of_its_own(
    workspace: Workspace, tmp_path: Path
) -> None:
    wide = workspace.models.add("wide", str(tiny_model(tmp_path / "wide", dim=48, seed=3)))
    done = reindex(workspace, CORPUS, wide, SpecOptions(), promote=True)
    assert workspace.search(CORPUS, "red river").index_version == done.version.collection
    workspace.rollouts.rollback(CORPUS)


def test_a_damaged_model_is_not_built_with(workspace: Workspace, tmp_path: Path) -> None:
    ref = add_model(workspace, tmp_path / "second", seed=2)
    model = workspace.models.resolve(ref)
    weights = next(workspace.settings.data.rglob(f"{model.digest}*/**/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    with pytest.raises(ArtefactDamaged, match=r"model\.safetensors"):
        reindex(workspace, CORPUS, model, SpecOptions(), promote=True)


def test_a_deleted_candidate_folder_is_not_promoted(workspace: Workspace, tmp_path: Path) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    workspace.store.release("docs--v0002")
    shutil.rmtree(next(workspace.settings.data.rglob("docs--v0002/shard")))
    with pytest.raises(CollectionDamaged, match="docs--v0002"):
        workspace.rollouts.promote(CORPUS)


def test_a_half_written_manifest_stops_a_promotion_and_no_search(
    workspace: Workspace, tmp_path: Path
) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    assert workspace.search(CORPUS, "red river").hits  # the generation is loaded
    manifest = workspace.settings.data / "index" / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ManifestDamaged, match=r"manifest\.previous\.json"):
        workspace.rollouts.promote(CORPUS)
    assert workspace.search(CORPUS, "red river").index_version == "docs--v0001"
    manifest.write_bytes(whole)


def test_what_cannot_go_live_says_why(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(PromotionRefused, match="no candidate"):
        workspace.rollouts.promote(CORPUS)
    done = build_next(workspace, tmp_path, seed=2, promote=False)
    for state, word in (
        (State.BUILDING, "unfinished"),
        (State.FAILED, "failed: for the test"),
        (State.DROPPED, "dropped"),
    ):
        workspace.catalog.set_state(done.version, state, reason="for the test")
        with pytest.raises(PromotionRefused, match=word):
            workspace.rollouts.promote(CORPUS, 2)


def test_a_candidate_that_stays_behind_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    done = build_next(workspace, tmp_path, seed=2, promote=False)
    workspace.corpora.write(CORPUS, [document(700)])
    impatient = replace(workspace.rollouts, wait_s=0.2)
    with (
        workspace.leases.hold(done.version.collection),  # somebody applies, and is not done
        pytest.raises(PromotionRefused, match="lags behind: 1 changes"),
    ):
        impatient.promote(CORPUS)
    assert workspace.store.aliases() == {CORPUS: "docs--v0001"}
    assert workspace.rollouts.promote(CORPUS).live.number == 2  # once it is free
    workspace.rollouts.rollback(CORPUS)


def test_the_first_version_has_nothing_to_roll_back_to(workspace: Workspace) -> None:
    with pytest.raises(NothingToRollBack, match="v1 is the first"):
        workspace.rollouts.rollback(CORPUS)


def test_a_dropped_version_cannot_be_rolled_back_to(root: Path, tmp_path: Path) -> None:
    with open_workspace(root) as workspace:
        build_next(workspace, tmp_path, seed=2)
        assert [v.number for v in workspace.retirement.drop(CORPUS, soaked=False).dropped] == [1]
        with pytest.raises(NothingToRollBack, match="v1, which is dropped"):
            workspace.rollouts.rollback(CORPUS)
        assert set(workspace.store.collections()) == {"docs--v0002"}
        assert workspace.search(CORPUS, "red river").hits


def test_two_builds_of_one_version_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    ref = add_model(workspace, tmp_path / "second", seed=2)
    model = workspace.models.resolve(ref)
    spec = build_next(workspace, tmp_path, seed=3, promote=False).version.spec
    begun = workspace.catalog.add(CORPUS, model, spec)
    with (
        workspace.leases.hold(begun.collection),
        pytest.raises(LeaseHeld, match=r"docs--v0003.*process"),
    ):
        reindex(workspace, CORPUS, model, SpecOptions())
    done = reindex(workspace, CORPUS, model, SpecOptions())  # it is free: the build goes on
    assert done.resumed
    assert done.version.number == begun.number


def test_a_prefilter_that_is_not_there_is_refused_with_the_reason(workspace: Workspace) -> None:
    request = SearchRequest("red", prefilter=PrefilterChoice(dims=8))
    with pytest.raises(SearchUnsupported, match="does not say that it was trained with Matryoshka"):
        workspace.search(CORPUS, request)
