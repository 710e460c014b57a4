"""Mining with the vectors of the live index: what is taken from it, and what is not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_corpus import DOCUMENTS, small_corpus, text_of

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.errors import StoreUnavailable
from lockstep.index.spec import Datatype, SpecOptions
from lockstep_indexer.build.reindex import reindex
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.negatives import run
from lockstep_indexer.train.negatives.indexed import Indexed, indexed
from lockstep_indexer.train.negatives.passages import Passages, corpus_passages
from lockstep_indexer.train.negatives.settings import Mining
from lockstep_indexer.train.negatives.similarity import TextEncoder


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with small_corpus(tmp_path) as opened:
        yield opened


def build(workspace: Workspace, options: SpecOptions | None = None) -> None:
    version = workspace.models.resolve("tiny@1")
    reindex(workspace, "docs", version, options or SpecOptions(), promote=True)


def passages_of(workspace: Workspace) -> Passages:
    return corpus_passages(workspace, "docs", workspace.encoders.get("tiny@1"))


def known_of(workspace: Workspace) -> Indexed | None:
    return indexed(workspace, "docs", workspace.encoders.get("tiny@1"), passages_of(workspace).all)


def pairs() -> TrainingData:
    examples = [
        Example((" ".join(text_of(n).split()[::-1]), f"Title {n}\n{text_of(n)}"), group=f"d{n}")
        for n in range(10, 20)
    ]
    return TrainingData(Kind.PAIRS, examples, {"files": []})


@pytest.mark.parametrize("datatype", ["float32", "float16"])
def test_stored_vectors_are_those_of_the_model(workspace: Workspace, datatype: Datatype) -> None:
    build(workspace, SpecOptions(datatype=datatype))
    found = known_of(workspace)
    assert found is not None
    assert found.known.all()
    texts = [one.encoded_text for one in passages_of(workspace).all]
    fresh = workspace.encoders.get("tiny@1").encode_passages(texts)
    assert (found.vectors * fresh).sum(axis=1).min() > 0.9999
    assert np.abs(np.linalg.norm(found.vectors, axis=1) - 1).max() < 1e-5


def test_what_the_index_has_is_not_encoded_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(workspace)
    workspace.corpora.write("docs", [Document("d5", "A rope, written anew.", title="Title 5")])
    with monkeypatch.context() as without:
        without.setattr(run, "indexed", lambda *_: None)
        expected = run.mine_corpus(workspace, "docs", pairs(), Mining(negatives=2), model="tiny@1")
    encoded: list[str] = []
    really = TextEncoder.passages

    def watched(self: TextEncoder, texts: Sequence[str]) -> object:
        encoded.extend(texts)
        return really(self, texts)

    monkeypatch.setattr(TextEncoder, "passages", watched)
    found = run.mine_corpus(workspace, "docs", pairs(), Mining(negatives=2), model="tiny@1")
    assert encoded == ["Title 5\nA rope, written anew."]
    told = {"collection": "docs--v0001", "passages": DOCUMENTS - 1}
    assert found.data.lineage["index"] == told
    assert found.data.examples == expected.data.examples


def test_an_index_of_another_model_or_of_other_windows_is_not_read(workspace: Workspace) -> None:
    assert known_of(workspace) is None
    build(workspace, SpecOptions(window_tokens=16))
    assert known_of(workspace) is None


def test_another_text_under_the_same_id_is_not_taken(workspace: Workspace) -> None:
    """As where documents were cut by other rules when the index was built."""
    build(workspace)
    passages = [replace(one, text=one.text + " ") for one in passages_of(workspace).all]
    found = indexed(workspace, "docs", workspace.encoders.get("tiny@1"), passages)
    assert found is not None
    assert not found.known.any()


def test_what_was_read_before_a_failure_is_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(workspace)
    read = type(workspace.store).retrieve
    calls: list[int] = []

    def failing(store: Any, collection: str, ids: Sequence[str], **options: bool) -> object:
        calls.append(len(ids))
        if len(calls) > 1:
            raise StoreUnavailable("It is away.")
        return read(store, collection, ids, **options)

    monkeypatch.setattr(type(workspace.store), "retrieve", failing)
    monkeypatch.setattr("lockstep_indexer.train.negatives.indexed._AT_ONCE", 30)
    found = known_of(workspace)
    assert found is not None
    assert (int(found.known.sum()), found.unread) == (30, "It is away.")


def test_an_index_that_cannot_be_read_is_done_without(workspace: Workspace) -> None:
    """Nor is it kept from others: what was read is let go of."""
    build(workspace)
    workspace.store.release("docs--v0001")
    assert known_of(workspace) is not None
    with open_workspace(workspace.settings.data.parent) as other:
        other.store.count("docs--v0001")  # this one has it open now
        found = run.mine_corpus(workspace, "docs", pairs(), Mining(negatives=2), model="tiny@1")
    told = found.data.lineage["index"]
    assert told["passages"] == 0
    assert "is open in process" in told["unread"]
