"""A small HTTP server that answers by a script, one step for each request."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """An answer; text is sent as it is, all else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Take the request and say nothing until the script is over."""


@dataclass(frozen=True)
class Cut:
    """Take the request and end the connection without an answer."""


Step = Reply | Hang | Cut


@dataclass(frozen=True)
class Request:
    line: str
    headers: Mapping[str, str]
    body: Any


class ScriptedServer:
    """Answers with the steps in turn, and with the last one ever after."""

    def __init__(self, *steps: Step) -> None:
        self.requests: list[Request] = []
        self._steps = steps
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, request: Request) -> Step:
        self.requests.append(request)
        return self._steps[min(len(self.requests), len(self._steps)) - 1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("content-length", 0)))
                body = json.loads(sent) if sent else None
                step = script._take(Request(self.requestline, dict(self.headers), body))
                if isinstance(step, Hang):
                    script._over.wait(60)
                if isinstance(step, Reply):
                    self.reply(step)
                self.close_connection = True

            def reply(self, step: Reply) -> None:
                text = step.body if isinstance(step.body, str) else json.dumps(step.body)
                self.send_response(step.status)
                for name, value in step.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server asks for

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler
