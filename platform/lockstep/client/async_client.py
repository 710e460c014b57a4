"""The client of the HTTP API for event loops: `Client`, with `await`."""

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import anyio
import httpx
from tenacity import AsyncRetrying

from lockstep.client import calls
from lockstep.client.answers import (
    Corpus,
    CorpusDetail,
    Document,
    Embeddings,
    IndexVersion,
    SearchResponse,
    Swap,
    WriteResult,
)
from lockstep.client.bodies import NewDocument, Search, SearchOptions
from lockstep.client.calls import SWAP_S, Call
from lockstep.client.connection import Connection
from lockstep.client.retries import Deadline

T = TypeVar("T")


class AsyncClient:
    """Client for asyncio and trio; it belongs to one event loop."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 10.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, api_key, timeout_s, retries)
        self._http = httpx.AsyncClient(transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def search(
        self, corpus: str, query: str | None = None, **options: Unpack[SearchOptions]
    ) -> SearchResponse:
        return await self._send(calls.search(corpus, query, options))

    async def similar(
        self, corpus: str, document_id: str, **options: Unpack[SearchOptions]
    ) -> SearchResponse:
        return await self._send(calls.search(corpus, None, {**options, "like": document_id}))

    async def pages(
        self, corpus: str, query: str | None = None, **options: Unpack[SearchOptions]
    ) -> AsyncIterator[SearchResponse]:
        asked: SearchOptions | None = options
        while asked is not None:
            page = await self._send(calls.search(corpus, query, asked))
            yield page
            asked = calls.following(asked, page)

    async def search_batch(
        self, corpus: str, searches: Sequence[Search], *, index_version: int | str | None = None
    ) -> list[SearchResponse]:
        return await self._send(calls.search_batch(corpus, searches, index_version))

    async def feedback(self, corpus: str, search_id: str, document_id: str) -> None:
        await self._send(calls.feedback(corpus, search_id, document_id))

    async def embeddings(self, texts: str | Sequence[str], *, model: str) -> Embeddings:
        return await self._send(calls.embeddings(texts, model))

    async def upsert(
        self, corpus: str, documents: Iterable[NewDocument], *, wait_s: float | None = None
    ) -> WriteResult:
        return await self._send(calls.upsert(corpus, documents, wait_s))

    async def delete(
        self, corpus: str, ids: Iterable[str], *, wait_s: float | None = None
    ) -> WriteResult:
        return await self._send(calls.delete(corpus, ids, wait_s))

    async def get(self, corpus: str, document_id: str) -> Document:
        return await self._send(calls.get(corpus, document_id))

    async def corpora(self) -> list[Corpus]:
        return await self._send(calls.corpora())

    async def corpus(self, name: str) -> CorpusDetail:
        return await self._send(calls.corpus(name))

    async def versions(self, corpus: str) -> list[IndexVersion]:
        return await self._send(calls.versions(corpus))

    async def promote(
        self,
        corpus: str,
        version: int | None = None,
        *,
        reason: str = "",
        force: bool = False,
        require_better: bool = False,
        wait_s: float = SWAP_S,
    ) -> Swap:
        return await self._send(
            calls.promote(
                corpus,
                version,
                reason=reason,
                force=force,
                require_better=require_better,
                wait_s=wait_s,
            )
        )

    async def rollback(self, corpus: str, *, reason: str = "", wait_s: float = SWAP_S) -> Swap:
        return await self._send(calls.rollback(corpus, reason=reason, wait_s=wait_s))

    async def _send(self, call: Call[T]) -> T:
        deadline = Deadline.after(self._connection.limit_s(call))
        return await AsyncRetrying(**self._connection.retrying(call))(self._once, call, deadline)

    async def _once(self, call: Call[T], deadline: Deadline) -> T:
        with self._connection.translated(), anyio.fail_after(deadline.left_s()):
            sent = self._connection.request(call)
            response = await self._http.request(**sent, timeout=None)
        return self._connection.read(call, response)
