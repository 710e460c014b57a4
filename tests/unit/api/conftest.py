"""A real workspace behind the app, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from workspaces import build_live, build_next, new_root

from lockstep.api.app import create_app
from lockstep.bootstrap import open_workspace
from lockstep.settings import load_settings

MAX_DOCUMENT_BYTES = 4096


@pytest.fixture(scope="package")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Corpus 'docs': v1 was dropped, v2 is live, v3 a candidate with another model."""
    folder = tmp_path_factory.mktemp("api")
    root = new_root(folder / "workspace", max_document_bytes=MAX_DOCUMENT_BYTES)
    with open_workspace(root) as workspace:
        build_live(workspace, folder)
        build_next(workspace, folder, seed=2)
        workspace.rollouts.drop("docs", soaked=False)
        build_next(workspace, folder, seed=3, promote=False)
    app = create_app(load_settings(Path(root)))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
