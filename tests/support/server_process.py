"""A server in a process of its own, spoken to over loopback."""

import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from actions import fork_server

from lockstep.api.server import serve
from lockstep.settings import load_settings

START_S = 90
STOP_S = 60


def _serve(root: Path, log: Path, environment: dict[str, str]) -> None:
    """What the server's process does: everything that it says goes into the log."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(environment)
    sys.stdin = None  # uvicorn hands it on to its workers; the fork server's cannot be
    os.setsid()  # a Ctrl-C in the terminal is for the tests
    serve(load_settings(root))


class ServerProcess:
    """Serves a workspace on a free port until the block ends; killed if it must be."""

    def __init__(self, root: Path, log: Path, **environment: str) -> None:
        self.root = root
        self._log = log
        log.touch()
        # Under a fork server, which has imported what takes seconds to import.
        self.process = fork_server().Process(
            target=_serve, args=(root, log, {"LOCKSTEP_PORT": "0", **environment}), daemon=False
        )
        self.process.start()
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        until(lambda: self._url() or not self.process.is_alive(), within_s=START_S)
        if (url := self._url()) is None:
            raise AssertionError(f"The server did not start:\n{self.log()}")
        self.http = self._closing.enter_context(httpx2.Client(base_url=url, timeout=60))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.close()
        self.kill()

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """End it as the kernel does when memory runs out: at once, with no last words."""
        self.process.kill()
        self.process.join()

    def stop(self) -> int:
        """Ask it to end; the exit code."""
        self.process.terminate()
        self.process.join(STOP_S)
        assert self.process.exitcode is not None, "the server did not stop"
        return self.process.exitcode

    def search(self, query: str = "red river", **body: Any) -> dict[str, Any]:
        response = self.http.post("/v1/corpora/docs/search", json={"query": query, **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def write(self, *documents: dict[str, Any], wait: bool = False) -> dict[str, Any]:
        response = self.http.post(
            "/v1/corpora/docs/documents",
            json={"documents": documents},
            params={"wait": "indexed", "timeout_s": 30} if wait else {},
        )
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def _url(self) -> str | None:
        found = re.search(r"ready at (http://[^\s\"]+)[\n\"]", self.log())
        return found and found[1]


def until(condition: Callable[[], Any], *, within_s: float = 30) -> None:
    """Wait for a condition that is bound to become true."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within_s} s")
        time.sleep(0.05)
