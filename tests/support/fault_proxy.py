"""A TCP proxy between a client and a server, with faults that are switched while it runs.

    with FaultProxy(server.url) as proxy:
        client = QdrantClient(url=proxy.url)
        proxy.fault(Answer(503), times=3, path="/points")   # the next three such requests
        proxy.fault(BlackHole())                            # every one, until proxy.heal()
        proxy.wait_for_faults(1)
        proxy.heal()

It reads one request from each connection, picks a fault by it, and passes everything else on. One
thread of its own runs it, and ends with the block.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_WAIT_S = 60


@dataclass(frozen=True)
class Refuse:
    """Nobody listens: the connection is refused, as while a server starts again."""


@dataclass(frozen=True)
class BlackHole:
    """Take the request and never answer it; the server never sees it."""


@dataclass(frozen=True)
class Answer:
    """Answer with this HTTP status; the server never sees the request."""

    status: int
    headers: str = ""  # further ones, each ending in \\r\\n


@dataclass(frozen=True)
class CutRequest:
    """Pass on so many bytes of the request, then cut both connections."""

    after_bytes: int


@dataclass(frozen=True)
class CutAnswer:
    """Pass on so many bytes of the answer, then cut; with 0 the client never learns of it."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Delay:
    """Pass the request on, and hold the answer back."""

    seconds: float


@dataclass(frozen=True)
class Drip:
    """Send the answer one byte at a time, so that no single read takes long."""

    every_s: float = 0.2


Fault = Refuse | BlackHole | Answer | CutRequest | CutAnswer | Delay | Drip


@dataclass
class _Plan:
    fault: Fault
    times: int | None
    path: str
    spared: set[str] | None  # request lines that met it already, where each meets it once


class FaultProxy:
    """Listens at `url` for the server at `target`, an http URL."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._plan: _Plan | None = None
        self._server: asyncio.Server | None = None
        self._handling: set[asyncio.Task[None]] = set()
        self._counted = threading.Condition()
        self._faults = 0
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def faults(self) -> int:
        """How many requests have met a fault; refused connections are not seen."""
        return self._faults

    def fault(
        self, fault: Fault, *, times: int | None = None, path: str = "", once_each: bool = False
    ) -> None:
        """Break requests from now on: so many, or all; of those whose first line holds `path`.

        `once_each`: the first request of each method and path, so a second try passes.
        """
        self._ask(self._switch(_Plan(fault, times, path, set() if once_each else None)))

    def heal(self) -> None:
        """Pass everything on again; requests that are being held stay held."""
        self._ask(self._switch(None))

    def cut_all(self) -> None:
        """Cut every connection there is, as a server's end does."""
        self._ask(self._cut_all())

    def wait_for_faults(self, count: int) -> None:
        """Wait until so many requests have met a fault since the proxy started."""
        with self._counted:
            if not self._counted.wait_for(lambda: self._faults >= count, timeout=_WAIT_S):
                raise AssertionError(f"{self._faults} faults within {_WAIT_S} s; wanted {count}")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ask(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ask(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _ask(self, step: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_WAIT_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._handle, "127.0.0.1", self._port, limit=_CHUNK
            )
            self._port = self._server.sockets[0].getsockname()[1]

    async def _switch(self, plan: _Plan | None) -> None:
        self._plan = plan
        if plan is None or not isinstance(plan.fault, Refuse):
            await self._listen()
        elif self._server is not None:
            self._server.close()
            self._server = None
            await self._cut_all()

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut_all()

    async def _cut_all(self) -> None:
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                await self._serve(head, reader, writer)
        except asyncio.CancelledError:
            pass  # cut; the server that asyncio runs would report it
        finally:
            self._handling.discard(task)
            writer.transport.abort()

    async def _serve(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        fault = self._take(head)
        if isinstance(fault, BlackHole):
            while await reader.read(_CHUNK):
                pass
            return
        body = await reader.readexactly(_content_length(head))
        if isinstance(fault, Answer):
            await _send(writer, _plain_answer(fault))
            await _finish(writer)
            return
        upstream_reader, upstream = await asyncio.open_connection(*self._target, limit=_CHUNK)
        try:
            if isinstance(fault, CutRequest):
                await _send(upstream, (head + body)[: fault.after_bytes])
                return
            await _send(upstream, head + body)
            await _pass_on(upstream_reader, writer, fault)
        finally:
            upstream.transport.abort()

    def _take(self, head: bytes) -> Fault | None:
        """The fault for a request, if one is due."""
        plan, line = self._plan, head.split(b"\r\n", 1)[0].decode()
        if plan is None or plan.path not in line or plan.times == 0:
            return None
        if plan.spared is not None:
            if line in plan.spared:
                return None
            plan.spared.add(line)
        if plan.times is not None:
            plan.times -= 1
        with self._counted:
            self._faults += 1
            self._counted.notify_all()
        return plan.fault


async def _pass_on(
    upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
) -> None:
    """Pass the answer on until its end: the connection is used for one request."""
    answer = await upstream.readuntil(b"\r\n\r\n")
    answer += await upstream.readexactly(_content_length(answer))
    if isinstance(fault, CutAnswer):
        await _send(writer, answer[: fault.after_bytes])
    elif isinstance(fault, Drip):
        for byte in answer:
            await _send(writer, bytes([byte]))
            await asyncio.sleep(fault.every_s)
    else:
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        await _send(writer, answer)
        await _finish(writer)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.transport.set_write_buffer_limits(0)  # so that all of it has gone once it is drained
    writer.write(data)
    await writer.drain()


async def _finish(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def _plain_answer(fault: Answer) -> bytes:
    body = b'{"status":{"error":"a fault of the proxy"},"time":0.0}'
    head = (
        f"HTTP/1.1 {fault.status} Fault\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{fault.headers}connection: close\r\n\r\n"
    )
    return head.encode() + body
