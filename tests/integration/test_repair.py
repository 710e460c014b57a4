"""A repair mends whatever is wrong with an index, and encodes nothing but that."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actions import document, fork_server
from repairs import run_repair
from sqlalchemy import update
from workspaces import CORPUS, Templates, build_next, generation

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.corpus.schema import leases
from lockstep.errors import CollectionDamaged, CollectionInUse, LeaseLost, ProbeFailed
from lockstep.index.passages import Passage, point_id
from lockstep.index.probe import ProbeReport
from lockstep.index.rebuilding import reindex_command
from lockstep.index.repair import Repaired, RepairListener
from lockstep.index.versions import State
from lockstep.models.encoder import Encoder
from lockstep.store.port import Points

COLLECTION = "docs--v0001"
DOCUMENTS = 120  # mended in two goes
SAMPLES = 5  # of each of the two checks of a repair


@pytest.fixture(scope="module")
def workspace(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    """One live version that each test breaks and mends again."""
    root = templates.live(tmp_path_factory.mktemp("repair") / "workspace", documents=DOCUMENTS)
    with open_workspace(root) as workspace:
        yield workspace


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passages each call encodes, from now on."""
    counts: list[int] = []
    original = Encoder.encode_passages

    def counted(self: Encoder, texts: Sequence[str], *arguments: Any, **options: Any) -> Any:
        counts.append(len(texts))
        return original(self, texts, *arguments, **options)

    monkeypatch.setattr(Encoder, "encode_passages", counted)
    return counts


def probed(workspace: Workspace) -> ProbeReport:
    """What the prober says of every passage there is."""
    seq = workspace.catalog.get(CORPUS, 1).applied_seq
    return workspace.prober.check(generation(workspace, 1), seq, samples=10_000)


def passages(workspace: Workspace, *documents: Document) -> list[Passage]:
    return generation(workspace, 1).passages(documents)


def write(workspace: Workspace, changed: Callable[[Points], Points], *numbers: int) -> None:
    """Store the points of some documents, changed behind the catalog's back."""
    live = generation(workspace, 1)
    made = live.points(live.passages([document(number) for number in numbers]), batch_size=32)
    for payload in made.payloads:
        payload["seq"] = 1
    workspace.store.upsert(COLLECTION, changed(made))


def delete(workspace: Workspace, *document_ids: str) -> None:
    any_of = {"key": "document_id", "match": {"any": list(document_ids)}}
    workspace.store.delete(COLLECTION, {"must": [any_of]})


def repair(workspace: Workspace, **options: Any) -> Repaired:
    return workspace.repairer.repair(CORPUS, 1, **{"samples": SAMPLES, **options})


def test_nothing_wrong_costs_a_look_and_a_sample(workspace: Workspace, encoded: list[int]) -> None:
    repaired = repair(workspace)
    assert repaired.documents == repaired.passages == 0
    assert encoded == [SAMPLES]
    assert workspace.catalog.history(CORPUS)[0].detail == (
        "nothing was wrong; 0 passages encoded and written"
    )


def test_deleted_points_are_encoded_again(workspace: Workspace, encoded: list[int]) -> None:
    delete(workspace, "doc-7", "doc-99")
    wrong = passages(workspace, document(7), document(99))
    repaired = repair(workspace)
    assert repaired.found.missing == {"doc-7", "doc-99"}
    assert repaired.passages == len(wrong)
    assert sum(encoded) == 2 * SAMPLES + len(wrong)
    assert probed(workspace).problems == ()


def test_a_missing_passage_of_a_long_document(workspace: Workspace, encoded: list[int]) -> None:
    long = max(map(document, range(DOCUMENTS)), key=lambda each: len(passages(workspace, each)))
    wrong = passages(workspace, long)
    assert len(wrong) > 2
    only = {"must": [{"has_id": [point_id(long.id, len(wrong) - 1)]}]}
    workspace.store.delete(COLLECTION, only)
    repaired = repair(workspace)
    assert repaired.found.document_ids == repaired.found.incomplete == {long.id}
    assert sum(encoded) == 2 * SAMPLES + len(wrong)
    assert probed(workspace).problems == ()


def test_left_over_points_are_deleted(workspace: Workspace, encoded: list[int]) -> None:
    workspace.corpora.write(CORPUS, deletes=["doc-13"])
    write(workspace, lambda points: points, 13, 5000)  # 5000 was never in the corpus
    del encoded[:]
    repaired = repair(workspace)
    assert repaired.applied == 1
    assert "doc-5000" in repaired.found.left_over
    assert probed(workspace).problems == ()
    write(workspace, lambda points: points, 13)  # its tombstone is applied by now
    del encoded[:]
    assert repair(workspace).found.left_over == {"doc-13"}
    assert sum(encoded) == 2 * SAMPLES
    assert probed(workspace).problems == ()
    workspace.corpora.write(CORPUS, [document(13)])
    repair(workspace)


def test_stale_documents_are_replaced(workspace: Workspace, encoded: list[int]) -> None:
    stale = replace(document(21), text="An older text, of fewer passages.")
    live = generation(workspace, 1)
    points = live.points(live.passages([stale]), batch_size=32)
    workspace.store.upsert(COLLECTION, points)
    del encoded[:]
    repaired = repair(workspace)
    assert repaired.found.out_of_date == {"doc-21"}
    assert sum(encoded) == 2 * SAMPLES + len(passages(workspace, document(21)))
    assert probed(workspace).problems == ()


def rolled(points: Points) -> Points:
    return replace(points, dense=np.roll(points.dense, 1, axis=1))


def other_weights(points: Points) -> Points:
    return replace(points, bm25=[replace(each, values=each.values * 2) for each in points.bm25])


@pytest.mark.parametrize("wrong", [rolled, other_weights])
def test_wrong_vectors_are_found_by_a_deep_repair(
    workspace: Workspace, encoded: list[int], wrong: Callable[[Points], Points]
) -> None:
    write(workspace, wrong, 3, 101)
    del encoded[:]
    outlooks: list[int] = []
    listener = RepairListener(outlook=lambda outlook: outlooks.append(outlook.passages))
    repaired = repair(workspace, deep=True, listener=listener)
    assert repaired.disagreeing == 2
    everything = workspace.store.count(COLLECTION)
    mended = len(passages(workspace, document(3), document(101)))
    assert outlooks == [everything]  # said before it began
    assert sum(encoded) == 2 * SAMPLES + everything + mended
    assert probed(workspace).problems == ()


def test_a_sample_that_disagrees_makes_the_repair_deep(workspace: Workspace) -> None:
    write(workspace, rolled, 30, 60)
    assert "2" not in repair(workspace, samples=1).summary.split(";")[0]  # not sampled, not seen
    repaired = repair(workspace, samples=10_000)
    assert (repaired.deep, repaired.disagreeing) == (True, 2)
    assert probed(workspace).problems == ()


def test_writes_go_on_while_it_repairs(workspace: Workspace) -> None:
    """Each stage meets documents that changed, came and went since the one before."""
    delete(workspace, *(f"doc-{number}" for number in range(70, 90)))
    write(workspace, rolled, 1, 2, 3)
    revision = 0
    lags: dict[object, int] = {}

    def busy(stage: object) -> None:
        nonlocal revision
        revision += 1
        lags[stage] = workspace.applier.lag(CORPUS, 1)
        changed = [document(number, revision) for number in (2, 72, 80)]
        workspace.corpora.write(CORPUS, changed, [f"doc-{100 + revision}"])

    repair(workspace, deep=True, listener=RepairListener(stage=busy, outlook=busy))
    assert revision > 4
    assert lags["encoding all again"] > 0  # what was written just before
    assert lags["optimising"] == 0  # it followed the log while it mended
    assert probed(workspace).problems == ()
    repair(workspace)
    assert probed(workspace).problems == ()
    assert workspace.applier.lag(CORPUS, 1) == 0


def test_a_repair_that_lost_its_lease_writes_nothing_more(workspace: Workspace) -> None:
    delete(workspace, "doc-50")

    def stolen(stage: str) -> None:
        if stage == "mending":
            with workspace.database.writing() as connection:
                connection.execute(update(leases).values(token=leases.c.token + 1))

    with pytest.raises(LeaseLost):
        repair(workspace, listener=RepairListener(stage=stolen))
    assert workspace.catalog.history(CORPUS)[0].outcome == "failed"
    with workspace.database.writing() as connection:  # nobody lets go of a stolen lease
        connection.execute(update(leases).values(holder="", expires_at=0))
    assert probed(workspace).differences.missing == {"doc-50"}
    repair(workspace)
    assert probed(workspace).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize(("die", "turn"), [("before the points", 2), ("after the points", 1)])
def test_a_killed_repair_can_run_again(
    templates: Templates, tmp_path: Path, die: str, turn: int
) -> None:
    root = templates.live(tmp_path / "workspace", documents=DOCUMENTS)
    with open_workspace(root) as workspace:
        delete(workspace, *(f"doc-{number}" for number in range(DOCUMENTS)))
    process = fork_server().Process(target=run_repair, args=(root, CORPUS, 1, die, turn))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with open_workspace(root) as workspace:
        repaired = repair(workspace)
        assert 0 < len(repaired.found.missing) < DOCUMENTS
        assert probed(workspace).problems == ()


def test_a_failed_version_becomes_a_candidate_again(workspace: Workspace, tmp_path: Path) -> None:
    build_next(workspace, tmp_path, seed=2, promote=False)
    version = workspace.catalog.get(CORPUS, 2)
    workspace.catalog.set_state(version, State.FAILED, reason="1 document is missing")
    only = {"key": "document_id", "match": {"value": "doc-8"}}
    workspace.store.delete(version.collection, {"must": [only]})
    before = probed(workspace)
    aliases = workspace.store.aliases()
    repaired = workspace.repairer.repair(CORPUS, 2, samples=SAMPLES)
    assert repaired.found.missing == {"doc-8"}
    assert repaired.version.state is State.CANDIDATE
    assert repaired.version.reason is None
    assert workspace.store.aliases() == aliases
    assert probed(workspace) == before


def test_what_cannot_be_mended_stays_failed(workspace: Workspace, tmp_path: Path) -> None:
    """An engine that loses what it is given: that is said, with the way out."""
    build_next(workspace, tmp_path, seed=3, promote=False)
    version = workspace.catalog.versions(CORPUS)[-1]
    workspace.catalog.set_state(version, State.FAILED, reason="broken")
    flush = type(workspace.store).flush

    def forgetful(self: object, collection: str) -> None:
        only = {"must": [{"key": "document_id", "match": {"value": "doc-14"}}]}
        workspace.store.delete(version.collection, only)
        flush(self, collection)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(workspace.store), "flush", forgetful)
        workspace.store.flush(version.collection)
        with pytest.raises(ProbeFailed, match="not sound after the repair") as caught:
            workspace.repairer.repair(CORPUS, version.number, samples=SAMPLES)
    assert "lockstep reindex docs --model" in caught.value.next_step
    assert workspace.catalog.get(CORPUS, version.number).state is State.FAILED


def test_beside_a_process_that_has_it_open(workspace: Workspace) -> None:
    workspace.store.count(COLLECTION)
    with (
        open_workspace(workspace.settings.root) as other,
        pytest.raises(CollectionInUse) as caught,
    ):
        other.repairer.repair(CORPUS, 1)
    assert "Stop that process" in caught.value.next_step


def test_a_collection_that_cannot_open_needs_a_reindex(
    workspace: Workspace, tmp_path: Path
) -> None:
    version = build_next(workspace, tmp_path, seed=4, promote=False).version
    workspace.store.release(version.collection)
    shard = workspace.settings.data / "index" / "collections" / version.collection / "shard"
    (shard / "edge_config.json").write_text("not JSON")
    with pytest.raises(CollectionDamaged, match="cannot be repaired") as caught:
        workspace.repairer.repair(CORPUS, version.number)
    assert caught.value.next_step == f"Build it anew: {reindex_command(version)}"
