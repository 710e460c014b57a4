"""Several servers over one Qdrant follow the same alias, without a failed or mixed answer."""

from pathlib import Path

import pytest
from benchmarks.replicas import run
from engines import Engine, server_engine
from server_process import ServerProcess
from workspaces import build_live, build_next

from lockstep.bootstrap import open_workspace

__all__ = ["server_engine"]  # a fixture


@pytest.mark.slow
def test_every_server_follows_and_no_answer_is_mixed(
    server_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = server_engine.root(tmp_path / "workspace")
    with open_workspace(root) as workspace:
        build_live(workspace, tmp_path)
        build_next(workspace, tmp_path, seed=2, promote=False)
        with (
            ServerProcess(root, tmp_path / "one.log") as one,
            ServerProcess(root, tmp_path / "two.log") as two,
        ):
            load = run(workspace, [one, two], swaps=2, searchers=1)
    assert load.failed == load.mismatched == []
    assert set(load.answers) == {"docs--v0001", "docs--v0002"}
    assert "longest" in capsys.readouterr().out
