"""The server process: uvicorn around the app, with one style of log line."""

import gc
import logging
import logging.config
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvicorn

from lockstep.api.app import create_app
from lockstep.api.auth import require_safe
from lockstep.api.logs import log_config
from lockstep.api.running import run_parts
from lockstep.errors import InvalidSetting
from lockstep.settings import Settings

logger = logging.getLogger(__name__)

SHUTDOWN_S = 10
KEEP_ALIVE_S = 75
_BACKLOG = 2048

Ready = Callable[[str], None]


def serve(settings: Settings, *, access_log: bool = True, on_ready: Ready | None = None) -> None:
    """Serve a workspace until a signal ends it; then finish the requests at hand.

    One process: the embedded engine has one owner. Port 0 takes a free one. `on_ready` gets the
    URL once requests are answered; without it, a log line says so. Raises InvalidSetting where the
    address cannot be taken, CollectionInUse where another server has the embedded index open.
    """
    logging.config.dictConfig(log_config(settings, access_log=access_log))
    with listening(settings) as listener, run_parts(settings) as running:
        require_safe(settings, running.keys)
        app = create_app(settings)
        app.state.running = running
        config = uvicorn.Config(
            app,
            lifespan="off",  # what it would do is done around the server, where errors can be told
            log_config=None,
            access_log=False,  # the app writes a line of its own, without query strings
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        running.follower.url = url_of(listener)
        gc.collect()
        gc.freeze()  # what was loaded stays: to look through all of it held up requests for 0.3 s
        _Server(config, on_ready or _log_ready).run(sockets=[listener])
    logger.info("stopped")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Ready) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            self._on_ready(url_of(listener))

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
