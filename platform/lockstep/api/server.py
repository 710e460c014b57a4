"""The server process: uvicorn around the app, with one style of log line."""

import gc
import logging
import logging.config
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import uvicorn

from lockstep.api.app import create_app
from lockstep.api.auth import require_safe
from lockstep.api.key_ring import KeyRing
from lockstep.api.logs import log_config
from lockstep.api.running import run_parts
from lockstep.api.telemetry import provider_from_environment
from lockstep.api.workers import HUNG_S, WorkerApp, WorkerConfig, Workers, shared_figures
from lockstep.bootstrap import assemble
from lockstep.errors import InvalidSetting, Unavailable
from lockstep.settings import Settings

logger = logging.getLogger(__name__)

SHUTDOWN_S = 10
KEEP_ALIVE_S = 75
_BACKLOG = 2048

_HOW_TO_SERVE: dict[str, Any] = {
    "log_config": None,
    "access_log": False,  # the app writes a line of its own, without query strings
    "server_header": False,
    "timeout_keep_alive": KEEP_ALIVE_S,
    "timeout_graceful_shutdown": SHUTDOWN_S,
}

Ready = Callable[[str], None]


def serve(settings: Settings, *, access_log: bool = True, on_ready: Ready | None = None) -> None:
    """Serve a workspace until a signal ends it; then finish the requests at hand.

    Port 0 takes a free one. `on_ready` gets the URL once requests are answered; without it, a log
    line says so. Several workers need a Qdrant server: the embedded engine has one owner. Raises
    InvalidSetting where the address cannot be taken or a worker cannot run, CollectionInUse where
    another server has the embedded index open.
    """
    logging.config.dictConfig(log_config(settings, access_log=access_log))
    if settings.workers > 1:
        _serve_by_workers(settings, access_log=access_log, on_ready=on_ready or _log_ready)
    else:
        _serve_alone(settings, on_ready or _log_ready)
    logger.info("stopped")


def _serve_alone(settings: Settings, on_ready: Ready) -> None:
    traces = provider_from_environment()  # before anything is opened that it traces
    with listening(settings) as listener, run_parts(settings) as running:
        require_safe(settings, running.keys)
        app = create_app(settings, tracer_provider=traces)
        app.state.running = running
        running.follower.url = url_of(listener)
        gc.collect()
        gc.freeze()  # what was loaded stays: to look through all of it held up requests for 0.3 s
        # What a lifespan would do is done around the server, where errors can be told.
        _Server(uvicorn.Config(app, lifespan="off", **_HOW_TO_SERVE), on_ready).run([listener])


def _serve_by_workers(settings: Settings, *, access_log: bool, on_ready: Ready) -> None:
    if not settings.store_url:
        raise InvalidSetting(
            f"{settings.workers} workers cannot share the embedded engine: one process has its "
            "index open.",
            next_step="Serve with one worker, or name a Qdrant server: store_url in lockstep.toml.",
        )
    with listening(settings) as listener, shared_figures() as figures:
        _require_startable(settings)
        url = url_of(listener)
        app = WorkerApp(settings, url, figures, access_log)
        config = WorkerConfig(
            app,
            factory=True,
            workers=settings.workers,
            timeout_worker_healthcheck=HUNG_S,
            **_HOW_TO_SERVE,
        )
        workers = Workers(config, listener, figures, lambda: on_ready(url))
        workers.run()
    if workers.failed:
        raise Unavailable(
            "The workers did not start, or did not end by themselves.",
            next_step="The lines above say why; start the server again.",
        )


def _require_startable(settings: Settings) -> None:
    """Raise here, in one process, what would keep every worker from starting."""
    with assemble(settings, command="lockstep serve") as workspace:
        keys = KeyRing(workspace.keys.in_use)
        keys.refresh()
        require_safe(settings, keys)
        workspace.query_log.require_key()
        workspace.store.aliases()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Ready) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            self._on_ready(url_of(listener))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends the server once it has answered; a second one ends it at once."""
        if self.should_exit:
            # What is written is safe against this: it is as if the machine had lost its power.
            os._exit(128 + sig)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """To be told to stop is no failure: uvicorn would raise the signal again at the end."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket that accepts connections at the settings' host and port, until the block ends."""
    host, port = settings.host, settings.port
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(_tcp_socket(host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            raise InvalidSetting(
                f"The server cannot listen on host '{host}', port {port}: {error.strerror}.",
                next_step="Stop the process that does, or choose another port; 0 takes a free one.",
            ) from error
        yield listener


@contextmanager
def _tcp_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to an address. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    family, kind, protocol, _, address = found[0]
    # With its protocol named: else asyncio does not know that it is TCP, leaves out TCP_NODELAY,
    # and every answer comes 40 ms late.
    with socket.socket(family, kind, protocol) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        yield bound


def url_of(listener: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _log_ready(url: str) -> None:
    logger.info("ready at %s", url)
