"""A search client that costs next to nothing, so that a benchmark times the server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answered:
    """One request's fate; status 0 where no answer came."""

    status: int
    seconds: float
    retry_after: str | None = None
    body: bytes = b""


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Self:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def post(self, path: str, body: object, *, timeout_s: float = 30.0) -> Answered:
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        started = time.perf_counter()
        try:
            self._writer.write(head.encode() + content)
            async with asyncio.timeout(timeout_s):
                status, headers, answer = await self._read()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return Answered(0, time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return Answered(status, seconds, headers.get("retry-after"), answer)

    async def _read(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, value in fields}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    opened = [await Connection.open(url) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
