"""Several server processes on one address, over a Qdrant server.

uvicorn's supervisor starts them, each with a workspace of its own, and starts another where one
dies. They are to one another what servers on several machines are: replicas, which agree by leases.
"""

import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import multiprocess
from uvicorn.supervisors import Multiprocess

from lockstep.api.app import create_app
from lockstep.api.logs import log_config
from lockstep.api.telemetry import provider_from_environment
from lockstep.settings import Settings

logger = logging.getLogger(__name__)

# A worker whose interpreter answers nothing for this long is killed and replaced.
HUNG_S = 60
# Over the time that requests may take to finish: for threads to end, and connections to close.
_ENDING_S = 20.0
_POLL_S = 0.05  # a process tells nobody that it is ready, or has ended
_FIGURES = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported


@dataclass(frozen=True)
class WorkerApp:
    """Makes the app of one worker, in the worker."""

    settings: Settings
    url: str
    figures: Path
    access_log: bool

    def __call__(self) -> FastAPI:
        threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
        traces = provider_from_environment()
        return create_app(self.settings, url=self.url, figures=self.figures, tracer_provider=traces)


class WorkerConfig(uvicorn.Config):
    """What a worker begins with, before it has an app."""

    def configure_logging(self) -> None:
        app = self.app
        if not isinstance(app, WorkerApp):
            raise TypeError(f"the app is a {type(app).__name__}; expected a WorkerApp")
        logging.config.dictConfig(log_config(app.settings, access_log=app.access_log))
        # uvicorn raises the signal that stopped it again at its end: that is no failure.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(0))


class Workers(Multiprocess):
    """The supervisor of the workers, in the process that was started."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        figures: Path,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config, [listener])
        self._figures = figures
        self._on_ready = on_ready
        self.failed = False

    def init_processes(self) -> None:
        super().init_processes()
        for process in self.processes:
            while not process.is_ready(timeout=1):
                self.handle_signals()
                if self.should_exit.is_set():
                    return
                if not process.process.is_alive():
                    self.failed = True
                    self.should_exit.set()
                    return
                time.sleep(_POLL_S)
        self._on_ready()

    def keep_subprocess_alive(self) -> None:
        if self.should_exit.is_set():  # by a signal
            return
        before = [process.pid for process in self.processes]
        super().keep_subprocess_alive()
        self.failed = self.should_exit.is_set()
        for old, process in zip(before, self.processes, strict=True):
            if process.pid != old and old is not None:
                # What it was doing is done no more; what it had counted stays counted.
                # The library has types, but not for this call.
                multiprocess.mark_process_dead(old, str(self._figures))  # type: ignore[no-untyped-call]
                logger.error("worker %d died; worker %s takes its place", old, process.pid)

    def join_all(self) -> None:
        """Wait for the workers to finish what they accepted; a second signal ends them at once."""
        limit_s = (self.config.timeout_graceful_shutdown or 0) + _ENDING_S
        deadline = time.monotonic() + limit_s
        while any(process.process.is_alive() for process in self.processes):
            if self.signal_queue or time.monotonic() > deadline:
                self.failed = True
                for process in self.processes:
                    process.process.kill()
            time.sleep(_POLL_S)
        super().join_all()


@contextmanager
def shared_figures() -> Iterator[Path]:
    """A folder in which the workers that are started meanwhile add up their metrics."""
    with tempfile.TemporaryDirectory(prefix="lockstep-metrics-") as folder:
        os.environ[_FIGURES] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[_FIGURES]


def _end_with_parent() -> None:
    """Nobody could stop a worker whose supervisor was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
