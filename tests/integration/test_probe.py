"""An index that does not hold its corpus is found out, whatever is wrong with it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from actions import document
from engines import Engine, real_engine
from workspaces import CORPUS, Templates, build_live, build_next, generation

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.errors import GateFailed, ProbeFailed
from lockstep.index import spec
from lockstep.index.generation import Generation
from lockstep.index.passages import point_id
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import State
from lockstep.lexical.bm25 import Bm25Settings
from lockstep.store.port import Points

__all__ = ["real_engine"]  # a fixture


@pytest.fixture
def workspace(real_engine: Engine, templates: Templates, tmp_path: Path) -> Iterator[Workspace]:
    if not real_engine.is_server:
        templates.live(tmp_path / "workspace", documents=100)
    with open_workspace(real_engine.root(tmp_path / "workspace")) as workspace:
        if real_engine.is_server:
            build_live(workspace, tmp_path, documents=100)
        yield workspace


def problems(workspace: Workspace) -> str:
    seq = workspace.catalog.get(CORPUS, 1).applied_seq
    return " ".join(workspace.prober.check(generation(workspace, 1), seq).problems)


def points(live: Generation, *numbers: int, revision: int = 0) -> Points:
    passages = live.passages([document(number, revision) for number in numbers])
    return live.points(passages, batch_size=32)


def only_document(document_id: str) -> dict[str, object]:
    return {"must": [{"key": "document_id", "match": {"value": document_id}}]}


def test_a_sound_index_has_no_problems(workspace: Workspace) -> None:
    report = workspace.prober.check(generation(workspace, 1), 100)
    assert report.problems == ()
    assert report.documents == 100
    assert report.points == workspace.store.count("docs--v0001")
    assert report.samples.samples == 64
    assert report.samples.min_cosine > 0.9999
    assert set(report.samples.self_found) == {"dense", "bm25"}


def test_a_missing_document_is_named(workspace: Workspace) -> None:
    workspace.store.delete("docs--v0001", only_document("doc-7"))
    assert "1 of 100 documents are missing in the index (doc-7)." in problems(workspace)


def test_a_left_over_document_is_named(workspace: Workspace) -> None:
    workspace.store.upsert("docs--v0001", points(generation(workspace, 1), 500))
    assert "left over in the index (doc-500)" in problems(workspace)


def test_a_stale_document_is_named(workspace: Workspace) -> None:
    live = generation(workspace, 1)
    workspace.store.delete("docs--v0001", only_document("doc-9"))
    workspace.store.upsert("docs--v0001", points(live, 9, revision=5))
    assert "out of date in the index (doc-9)" in problems(workspace)


def test_a_missing_passage_is_noticed(workspace: Workspace) -> None:
    live = generation(workspace, 1)
    long = next(n for n in range(100) if len(live.passages([document(n)])) > 1)
    workspace.store.delete("docs--v0001", {"must": [{"has_id": [point_id(f"doc-{long}", 1)]}]})
    assert "Passages are missing or left over" in problems(workspace)


def test_vectors_that_belong_to_other_documents_are_noticed(workspace: Workspace) -> None:
    right = points(generation(workspace, 1), *range(100))
    workspace.store.upsert("docs--v0001", replace(right, dense=np.roll(right.dense, 1, axis=0)))
    assert "encoded again, do not agree" in problems(workspace)


def test_an_index_that_was_encoded_in_eight_bits_may_be_as_far_off(
    workspace: Workspace,
) -> None:
    live = generation(workspace, 1)
    coarse = replace(live.version, encoded_in_fp8=True)
    right = points(live, *range(100))
    noise = np.random.default_rng(0).standard_normal(right.dense.shape).astype(np.float32)
    noise *= 0.12 / np.linalg.norm(noise, axis=1, keepdims=True)  # cosine .993
    workspace.store.upsert("docs--v0001", replace(right, dense=right.dense + noise))
    assert "at least 0.999 expected" in problems(workspace)
    assert workspace.prober.check(replace(live, version=coarse), 100).problems == ()
    workspace.store.upsert("docs--v0001", replace(right, dense=np.roll(right.dense, 1, axis=0)))
    wrong = " ".join(workspace.prober.check(replace(live, version=coarse), 100).problems)
    assert "at least 0.98 expected" in wrong


def test_vectors_of_another_model_are_noticed(workspace: Workspace, tmp_path: Path) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    foreign = points(generation(workspace, 2), *range(100))
    workspace.store.upsert("docs--v0001", foreign)
    assert "encoded again, do not agree" in problems(workspace)


def test_changes_after_the_checkpoint_are_not_held_against_it(workspace: Workspace) -> None:
    workspace.corpora.write(CORPUS, [document(500), document(3, revision=2)], ["doc-4"])
    report = workspace.prober.check(generation(workspace, 1), 100)
    assert report.problems == ()
    assert report.documents == 98


def test_a_candidate_that_is_not_sound_is_not_promoted(
    workspace: Workspace, tmp_path: Path
) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    workspace.store.delete("docs--v0002", only_document("doc-7"))
    with pytest.raises(GateFailed, match="doc-7"):
        workspace.rollouts.promote(CORPUS)
    assert workspace.store.aliases() == {CORPUS: "docs--v0001"}
    assert workspace.catalog.history(CORPUS)[0].outcome == "failed"


def test_a_build_that_is_not_sound_is_marked_as_failed(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize = type(workspace.store).optimize

    def lossy(self: object, collection: str) -> None:
        workspace.store.delete(collection, only_document("doc-7"))
        optimize(self, collection)  # type: ignore[arg-type]

    monkeypatch.setattr(type(workspace.store), "optimize", lossy)
    with pytest.raises(ProbeFailed):
        build_next(workspace, tmp_path, seed=2)
    version = workspace.catalog.get(CORPUS, 2)
    assert version.state is State.FAILED
    assert "doc-7" in (version.reason or "")


def test_a_forced_prefilter_is_probed_too(workspace: Workspace, tmp_path: Path) -> None:
    done = build_next(workspace, tmp_path, seed=2, options=SpecOptions(prefilter_dim=8))
    assert set(done.probe.samples.self_found) == {"dense", "prefilter", "bm25"}


def test_an_index_of_before_texts_were_normalised_stays_sound(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [Document(id=f"cafe-{n}", text=f"Cafe\u0301 ﬁnance number {n}") for n in range(50)]
    workspace.corpora.write(CORPUS, odd, [])
    with monkeypatch.context() as before:
        before.setattr(spec, "Bm25Settings", partial(Bm25Settings, nfkc=False))
        build_next(workspace, tmp_path, seed=2, promote=False)
    old = generation(workspace, 2)
    assert not old.version.spec.bm25.nfkc
    assert workspace.prober.check(old, old.version.applied_seq).problems == ()
