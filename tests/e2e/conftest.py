"""The workspace that a server of its own is started on."""

import shutil
from pathlib import Path

import pytest
from workspaces import build_live, build_next, new_root

from lockstep.bootstrap import open_workspace


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 is live; v2, by another model with another space, is a candidate."""
    folder = tmp_path_factory.mktemp("built")
    root = new_root(folder / "workspace")
    with open_workspace(root) as workspace:
        build_live(workspace, folder)
        build_next(workspace, folder, seed=2, promote=False)
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy for one test, where it may break what it likes."""
    return shutil.copytree(built, tmp_path / "workspace")
