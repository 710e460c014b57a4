"""A server in a process of its own, spoken to over loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

START_S = 90
STOP_S = 60

_MAIN = """
import sys
from pathlib import Path
from lockstep.api.server import serve
from lockstep.settings import load_settings

serve(load_settings(Path(sys.argv[1])))
"""


class ServerProcess:
    """Serves a workspace on a free port until the block ends; killed if it must be."""

    def __init__(self, root: Path, log: Path, **environment: str) -> None:
        self.root = root
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(root)],
                stderr=stderr,
                env={**os.environ, "LOCKSTEP_PORT": "0", "OMP_NUM_THREADS": "1", **environment},
            )
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        until(lambda: self._url() or self.process.poll() is not None, within_s=START_S)
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
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """End it as the kernel does when memory runs out: at once, with no last words."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

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
        found = re.search(r"ready at (http://\S+)\n", self.log())
        return found and found[1]


def until(condition: Callable[[], Any], *, within_s: float = 30) -> None:
    """Wait for a condition that is bound to become true."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within_s} s")
        time.sleep(0.05)
