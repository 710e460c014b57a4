"""One running server for all clients: v1 is live, v2 a candidate."""

from collections.abc import Iterator

import pytest
from actions import fill
from server_process import ServerProcess
from workspaces import CORPUS, build_next, new_root

from lockstep.bootstrap import open_workspace
from lockstep.index.spec import SpecOptions


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("clients")
    root = new_root(folder / "workspace")
    with open_workspace(root) as workspace:
        fill(workspace, CORPUS, range(60))
        counting = SpecOptions(payload_indexes={"parity": "integer"})
        build_next(workspace, folder, seed=1, options=counting)
        build_next(workspace, folder, seed=2, promote=False)
    with ServerProcess(root, folder / "log", LOCKSTEP_QUERY_LOG__SHARE="1") as server:
        yield server


@pytest.fixture(scope="package")
def url(server: ServerProcess) -> str:
    return str(server.http.base_url)
