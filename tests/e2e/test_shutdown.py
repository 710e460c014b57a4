"""A server that is told to stop finishes what it accepted, and takes nothing more."""

import os
import signal
import socket
import threading
from pathlib import Path

import httpx2
import pytest
from server_process import STOP_S, ServerProcess, until

SEARCHES = 12
# Real work: many sentences are encoded. All of them are done within the server's SHUTDOWN_S.
SLOW = {
    "searches": [
        {"query": f"red river {n}", "limit": 50, "highlight": {"by_meaning": True, "sentences": 10}}
        for n in range(8)
    ]
}


def _at_work(server: ServerProcess) -> float:
    """Searches that have their turn, and those in line."""
    lines = server.http.get("/metrics").text.splitlines()
    wanted = ("lockstep_searches_at_work ", "lockstep_searches_waiting ")
    return sum(float(line.split()[1]) for line in lines if line.startswith(wanted))


class Callers:
    """Searches that are sent at the same time, each on a connection of its own."""

    def __init__(self, server: ServerProcess) -> None:
        self._url = f"{server.http.base_url}/v1/corpora/docs/search/batch"
        self.answers: list[int | str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(SEARCHES)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        try:
            self.answers.append(httpx2.post(self._url, json=SLOW, timeout=STOP_S).status_code)
        except httpx2.HTTPError as error:
            self.answers.append(repr(error))

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.fixture
def server(root: Path, tmp_path: Path) -> ServerProcess:
    """Two searches at work at a time, so that most stand in line."""
    return ServerProcess(
        root,
        tmp_path / "log",
        LOCKSTEP_SEARCH_PLACES="2",
        LOCKSTEP_SEARCH_WAIT_S="60",
        LOCKSTEP_SEARCH_TIMEOUT_S="60",
    )


def test_what_was_accepted_is_answered_and_no_more_is_taken(server: ServerProcess) -> None:
    with server:
        callers = Callers(server)
        until(lambda: _at_work(server) == SEARCHES - len(callers.answers))
        assert len(callers.answers) < SEARCHES - 2
        address = (server.http.base_url.host, server.http.base_url.port)
        server.process.terminate()
        until(lambda: not _is_open(address))
        callers.join()
        assert callers.answers == [200] * SEARCHES
        server.process.join(STOP_S)
        assert server.process.exitcode == 0
    assert "stopped" in server.log()
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(server: ServerProcess, second: signal.Signals) -> None:
    with server:
        callers = Callers(server)
        until(lambda: _at_work(server) > 2)
        pid = server.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        until(lambda: "Shutting down" in server.log() or not _is_open_server(server))
        os.kill(pid, second)
        server.process.join(STOP_S)
        assert server.process.exitcode == 128 + second
        callers.join()
        assert len(callers.answers) == SEARCHES
        assert callers.answers.count(200) < SEARCHES


def _is_open_server(server: ServerProcess) -> bool:
    return _is_open((server.http.base_url.host, server.http.base_url.port))


def _is_open(address: tuple[str, int | None]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionError:
        return False
    return True
