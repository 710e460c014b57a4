"""A real server that asks for keys: known and forgotten in time, and silent about secrets."""

import json
from pathlib import Path

import pytest
from server_process import ServerProcess, until
from workspaces import CORPUS

from lockstep.bootstrap import open_workspace
from lockstep.corpus.api_key import Scope
from lockstep.errors import StoreUnavailable
from lockstep.gates.searchers import RemoteSearcher
from lockstep.search.request import Mode

SEARCH = f"/v1/corpora/{CORPUS}/search"
WORDS = {"query": "embarrassing words"}


def test_keys_come_and_go_while_a_server_runs_and_stay_out_of_its_log(
    root: Path, tmp_path: Path
) -> None:
    with (
        ServerProcess(root, tmp_path / "log", LOCKSTEP_LOG_FORMAT="text") as server,
        open_workspace(root) as workspace,
    ):

        def status(key: str | None) -> int:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return server.http.post(SEARCH, json=WORDS, headers=headers).status_code

        assert status(None) == 200  # on this machine, before there is a key
        first = workspace.keys.create("first", [Scope.SEARCH])[1]
        second = workspace.keys.create("second", [Scope.ADMIN])[1]
        until(lambda: (status(first), status(second), status(None)) == (200, 200, 401))

        # A command that judges versions is let in by the key that the server laid beside it.
        local = workspace.replicas.local_key()
        url = str(server.http.base_url)
        ours = RemoteSearcher(CORPUS, 1, "docs--v0001", url, local)
        assert ours.ask("red river", Mode.HYBRID, 3).document_ids
        stranger = RemoteSearcher(CORPUS, 1, "docs--v0001", url)
        with pytest.raises(StoreUnavailable, match="401"):
            stranger.ask("red", Mode.HYBRID, 3)
        for searcher in (ours, stranger):
            searcher._client.close()

        workspace.keys.revoke("first")
        until(lambda: (status(first), status(second)) == (401, 200))
        workspace.keys.revoke("second")
        until(lambda: status(second) == 401)
        assert status(None) == 401  # the last key is gone, and nothing is open again

        log = server.log()
        assert local is not None
        for secret in (first, second, local, "embarrassing"):
            assert secret not in log
        assert "POST /v1/corpora/{corpus}/search 200" in log
        assert "key=second" in log


def test_json_lines_are_json_from_the_first_to_the_last(root: Path, tmp_path: Path) -> None:
    with ServerProcess(root, tmp_path / "log", LOCKSTEP_LOG_FORMAT="json") as server:
        server.http.post(SEARCH, json=WORDS, headers={"X-Request-Id": "r-1"})
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.log().splitlines()]
    (search,) = [line for line in lines if line.get("request_id") == "r-1"]
    assert (search["logger"], search["route"]) == (
        "lockstep.access",
        "/v1/corpora/{corpus}/search",
    )
    assert lines[-1]["message"] == "stopped"


def test_what_others_can_reach_does_not_start_without_a_key(root: Path, tmp_path: Path) -> None:
    server = ServerProcess(root, tmp_path / "log", LOCKSTEP_HOST="0.0.0.0")
    with pytest.raises(AssertionError, match="can be reached from other machines"), server:
        pass


def test_a_real_server_refuses_long_headers_and_names_that_it_does_not_know(
    root: Path, tmp_path: Path
) -> None:
    """The parser of HTTP, which has no such limits, is not there in other tests."""
    with ServerProcess(root, tmp_path / "log") as server:

        def status(**headers: str) -> int:
            return server.http.get("/v1/corpora", headers=headers).status_code

        assert status() == 200
        assert status(long="x" * 300_000) == 431
        assert status(host="evil.example:7333") == 403
