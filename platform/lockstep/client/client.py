"""The client of the HTTP API that blocks."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx
from tenacity import Retrying

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


class Client:
    """One server. May be shared by threads; `close` it, or use it as a context manager.

    A call ends within `timeout_s`, retries included. What the server refuses for now (429, 503) and
    what breaks on the way is tried again, as long as the call cannot happen twice by that. Raises
    ApiError, ServerUnreachable or UnexpectedAnswer.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 10.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, api_key, timeout_s, retries)
        self._http = httpx.Client(transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def search(
        self, corpus: str, query: str | None = None, **options: Unpack[SearchOptions]
    ) -> SearchResponse:
        return self._send(calls.search(corpus, query, options))

    def similar(
        self, corpus: str, document_id: str, **options: Unpack[SearchOptions]
    ) -> SearchResponse:
        """More like a document of the corpus."""
        return self._send(calls.search(corpus, None, {**options, "like": document_id}))

    def pages(
        self, corpus: str, query: str | None = None, **options: Unpack[SearchOptions]
    ) -> Iterator[SearchResponse]:
        """A search page by page, `limit` hits each, all from what gave the first: one index
        version, or both versions of an interleaved answer.
        """
        asked: SearchOptions | None = options
        while asked is not None:
            page = self._send(calls.search(corpus, query, asked))
            yield page
            asked = calls.following(asked, page)

    def search_batch(
        self, corpus: str, searches: Sequence[Search], *, index_version: int | str | None = None
    ) -> list[SearchResponse]:
        """Several searches, answered by one index version, in their order."""
        return self._send(calls.search_batch(corpus, searches, index_version))

    def feedback(self, corpus: str, search_id: str, document_id: str) -> None:
        """Tell that a document of an answer was chosen."""
        self._send(calls.feedback(corpus, search_id, document_id))

    def embeddings(self, texts: str | Sequence[str], *, model: str) -> Embeddings:
        """Vectors by the live model of a corpus, which `model` names."""
        return self._send(calls.embeddings(texts, model))

    def upsert(
        self, corpus: str, documents: Iterable[NewDocument], *, wait_s: float | None = None
    ) -> WriteResult:
        """Add documents or replace those of the same id; durable when this returns.

        `wait_s`: wait so long, beyond `timeout_s`, until a search finds them; `indexed` tells.
        """
        return self._send(calls.upsert(corpus, documents, wait_s))

    def delete(
        self, corpus: str, ids: Iterable[str], *, wait_s: float | None = None
    ) -> WriteResult:
        return self._send(calls.delete(corpus, ids, wait_s))

    def get(self, corpus: str, document_id: str) -> Document:
        return self._send(calls.get(corpus, document_id))

    def corpora(self) -> list[Corpus]:
        return self._send(calls.corpora())

    def corpus(self, name: str) -> CorpusDetail:
        return self._send(calls.corpus(name))

    def versions(self, corpus: str) -> list[IndexVersion]:
        """Every index version, oldest first."""
        return self._send(calls.versions(corpus))

    def promote(
        self,
        corpus: str,
        version: int | None = None,
        *,
        reason: str = "",
        force: bool = False,
        require_better: bool = False,
        wait_s: float = SWAP_S,
    ) -> Swap:
        """Make a candidate live, by default the newest. Its gates may take minutes.

        Raises Conflicting where it fails them; `problem.gates` is their report.
        """
        return self._send(
            calls.promote(
                corpus,
                version,
                reason=reason,
                force=force,
                require_better=require_better,
                wait_s=wait_s,
            )
        )

    def rollback(self, corpus: str, *, reason: str = "", wait_s: float = SWAP_S) -> Swap:
        """Make the version before the live one live again."""
        return self._send(calls.rollback(corpus, reason=reason, wait_s=wait_s))

    def _send(self, call: Call[T]) -> T:
        deadline = Deadline.after(self._connection.limit_s(call))
        answer: T = Retrying(**self._connection.retrying(call))(self._once, call, deadline)
        return answer

    def _once(self, call: Call[T], deadline: Deadline) -> T:
        with self._connection.translated():
            sent = self._connection.request(call)
            response = self._http.request(**sent, timeout=deadline.left_s())
        return self._connection.read(call, response)
