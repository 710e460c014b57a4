"""The follower: what waits for it, and what it holds on to."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from actions import document
from workspaces import CORPUS, Templates

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.index.versions import IndexVersion


@pytest.fixture
def workspace(templates: Templates, tmp_path: Path) -> Iterator[Workspace]:
    with open_workspace(templates.live(tmp_path / "workspace")) as workspace:
        yield workspace


def test_a_writer_may_wait_while_the_first_generation_is_loaded(workspace: Workspace) -> None:
    """Loading applies changes on the way; the two must not wait for each other's lock."""
    follower = workspace.follower()
    seq = workspace.corpora.write(CORPUS, [document(1000)]).head_seq
    waited: list[bool] = []
    writer = threading.Thread(
        target=lambda: waited.append(follower.wait_applied(CORPUS, seq, 30)), daemon=True
    )

    def prepare(version: IndexVersion) -> None:
        writer.start()
        writer.join(1.0)  # it is waiting for the generation now
        follower.apply(version)

    loader = threading.Thread(
        target=workspace.serving.refresh, args=(CORPUS,), kwargs={"prepare": prepare}, daemon=True
    )
    loader.start()
    loader.join(20)
    writer.join(20)

    assert not loader.is_alive(), "loading and waiting have locked each other out"
    assert waited == [True]
