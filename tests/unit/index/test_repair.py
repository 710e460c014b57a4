"""Which documents of an index are named as wrong: the first half of a repair."""

from collections.abc import Iterator

import pytest
from actions import document
from workspaces import CORPUS, Templates, generation

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import RepairRefused
from lockstep.index.differences import AsOf, Differences, compare
from lockstep.index.passages import point_id
from lockstep.index.versions import State

COLLECTION = "docs--v0001"


@pytest.fixture(scope="module")
def workspace(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    root = templates.live(tmp_path_factory.mktemp("repair") / "workspace", documents=40)
    with open_workspace(root) as workspace:
        yield workspace


@pytest.fixture(autouse=True)
def mended(workspace: Workspace) -> Iterator[None]:
    """Each test breaks what the one before it had mended."""
    yield
    workspace.repairer.repair(CORPUS, 1)
    assert not differences(workspace).document_ids


def differences(workspace: Workspace) -> Differences:
    seq = workspace.catalog.get(CORPUS, 1).applied_seq
    return compare(workspace.corpora, workspace.store, COLLECTION, of=AsOf(CORPUS, seq))


def delete_points(workspace: Workspace, *ids: str) -> None:
    workspace.store.delete(COLLECTION, {"must": [{"has_id": list(ids)}]})


def write_points(workspace: Workspace, number: int, *, revision: int = 0) -> None:
    live = generation(workspace, 1)
    passages = live.passages([document(number, revision)])
    workspace.store.upsert(COLLECTION, live.points(passages, batch_size=32))


def longest(workspace: Workspace) -> int:
    live = generation(workspace, 1)
    return max(range(40), key=lambda number: len(live.passages([document(number)])))


def test_a_sound_index_differs_in_nothing(workspace: Workspace) -> None:
    found = differences(workspace)
    assert (found.expected, found.documents) == (40, 40)
    assert found.points == found.announced == workspace.store.count(COLLECTION)
    assert found.problems == ()


def test_an_incomplete_document_is_named(workspace: Workspace) -> None:
    number = longest(workspace)
    delete_points(workspace, point_id(f"doc-{number}", 1))
    found = differences(workspace)
    assert found.document_ids == found.incomplete == {f"doc-{number}"}


def test_a_document_without_its_first_passage_is_missing(workspace: Workspace) -> None:
    number = longest(workspace)
    delete_points(workspace, point_id(f"doc-{number}", 0))
    assert differences(workspace).missing == {f"doc-{number}"}


def test_a_left_over_last_passage_is_named(workspace: Workspace) -> None:
    number = longest(workspace)
    workspace.corpora.write(CORPUS, deletes=[f"doc-{number}"])
    workspace.repairer.repair(CORPUS, 1)  # applies the change
    write_points(workspace, number)
    delete_points(workspace, point_id(f"doc-{number}", 0))
    found = differences(workspace)
    assert found.left_over == {f"doc-{number}"}
    workspace.corpora.write(CORPUS, [document(number)])


def test_what_changed_later_is_left_out(workspace: Workspace) -> None:
    delete_points(workspace, *(point_id("doc-3", number) for number in range(9)))
    workspace.corpora.write(CORPUS, [document(3, revision=2), document(41)])
    found = differences(workspace)
    assert found.document_ids == frozenset()
    assert found.changed == {"doc-3", "doc-41"}
    workspace.corpora.write(CORPUS, [document(3)], ["doc-41"])


@pytest.mark.parametrize("state", [State.BUILDING, State.DROPPED])
def test_what_is_unfinished_or_gone_is_refused(workspace: Workspace, state: State) -> None:
    version = workspace.catalog.get(CORPUS, 1)
    workspace.catalog.set_state(version, state)
    try:
        with pytest.raises(RepairRefused, match="nothing to repair"):
            workspace.repairer.repair(CORPUS, 1)
    finally:
        workspace.catalog.set_state(version, State.LIVE)
