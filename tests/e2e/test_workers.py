"""Several workers of one server: one address, one set of figures, no failed answer."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from engines import Engine, server_engine
from server_process import ServerProcess, until
from typer.testing import CliRunner
from workspaces import build_live, new_root

from lockstep.bootstrap import open_workspace
from lockstep.errors import InvalidSetting
from lockstep_indexer.cli.app import app

__all__ = ["server_engine"]  # a fixture


def _workers(server: ServerProcess) -> set[int]:
    children = psutil.Process(server.process.pid).children()
    return {one.pid for one in children if "spawn_main" in " ".join(one.cmdline())}


@contextmanager
def _through_each(server: ServerProcess) -> Iterator[dict[int, httpx2.Client]]:
    """A client of each worker: a connection goes to whichever takes it."""
    clients: dict[int, httpx2.Client] = {}
    with ExitStack() as stack:
        while clients.keys() != (workers := _workers(server)):
            before = {pid: _connections(pid) for pid in workers}
            url = server.http.base_url
            client = stack.enter_context(httpx2.Client(base_url=url, timeout=60))
            client.get("/healthz")
            pid = next(pid for pid in workers if _connections(pid) - before[pid])
            clients[pid] = client
        yield clients


def _connections(pid: int) -> set[int]:
    """The ports of those who are connected to a process."""
    found = psutil.Process(pid).net_connections("tcp")
    return {one.raddr.port for one in found if one.status == psutil.CONN_ESTABLISHED}


def _found(client: httpx2.Client) -> set[str]:
    body = {"query": "zebra", "mode": "lexical", "limit": 50}
    answer = client.post("/v1/corpora/docs/search", json=body)
    assert answer.status_code == 200, answer.text
    return {hit["document_id"] for hit in answer.json()["hits"]}


def _written(client: httpx2.Client, id: str) -> str:
    answer = client.post(
        "/v1/corpora/docs/documents",
        params={"wait": "indexed", "timeout_s": 30},
        json={"documents": [{"id": id, "text": "zebra zebra"}]},
    )
    assert answer.json()["indexed"] == "yes"
    return id


def _figure(server: ServerProcess, name: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))


@pytest.mark.slow
def test_workers_answer_as_one_and_outlive_each_other(
    server_engine: Engine, tmp_path: Path
) -> None:
    root = server_engine.root(tmp_path / "workspace")
    with open_workspace(root) as workspace:
        build_live(workspace, tmp_path)
    with ServerProcess(root, tmp_path / "log", LOCKSTEP_WORKERS="2") as server:
        with _through_each(server) as clients:
            assert len(clients) == 2
            ids = {_written(client, f"by-{pid}") for pid, client in clients.items()}
            assert all(_found(client) == ids for client in clients.values())
        assert _figure(server, "lockstep_workers") == 2
        assert _figure(server, "lockstep_searches_total") == 2

        os.kill(min(clients), signal.SIGKILL)
        until(lambda: "takes its place" in server.log(), within_s=90)
        until(lambda: _figure(server, "lockstep_workers") == 2, within_s=90)
        with _through_each(server) as clients:
            assert all(_found(client) == ids for client in clients.values())
        assert _figure(server, "lockstep_searches_total") == 4

        port = server.http.base_url.port
        assert server.stop() == 0
        assert not any(psutil.pid_exists(pid) for pid in clients)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass
    assert "Traceback" not in server.log()


def test_the_embedded_engine_has_one_owner(tmp_path: Path) -> None:
    root = new_root(tmp_path / "workspace")
    arguments = ["--workspace", str(root), "serve", "--workers", "2", "--port", "0"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InvalidSetting)
    assert "2 workers cannot share the embedded engine" in str(result.exception)
    assert "store_url" in str(result.exception)
