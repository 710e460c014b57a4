"""Asking an index version the way applications do: here, or where a server has it open."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from lockstep.errors import CollectionInUse, StoreUnavailable
from lockstep.index.generation import Generation
from lockstep.index.replicas import Replicas
from lockstep.search.request import Mode, SearchRequest
from lockstep.search.search import search_batch
from lockstep.store.port import VectorStore

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 30.0
# A command may have a version open for a moment.
_IN_USE_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What a version found, best first, and how long it took."""

    document_ids: Sequence[str]
    took_ms: float


class Searcher(Protocol):
    """One index version, ready to be asked.

    Each query is asked as a batch of one, which encodes it anew: vectors that are kept of earlier
    queries would make a slow model look fast.
    """

    @property
    def collection(self) -> str: ...

    def ask(self, query: str, mode: Mode, limit: int) -> Answer:
        """The best documents for a query."""


@dataclass(frozen=True)
class LocalSearcher:
    """Asks a version that this process has open, or may open."""

    generation: Generation
    store: VectorStore

    @property
    def collection(self) -> str:
        return self.generation.collection

    def ask(self, query: str, mode: Mode, limit: int) -> Answer:
        request = SearchRequest(query, limit=limit, mode=mode)
        [found] = search_batch(self.generation, self.store, [request])
        return Answer([hit.document_id for hit in found.hits], found.took_ms.total)


@dataclass(frozen=True)
class RemoteSearcher:
    """Asks a version through the server that has it open. Times are the server's own."""

    corpus: str
    number: int
    collection: str
    url: str
    key: str | None = field(default=None, repr=False)  # an API key, where the server gave one

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx  # most processes never ask another

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, timeout=_TIMEOUT_S, headers=headers)

    def ask(self, query: str, mode: Mode, limit: int) -> Answer:
        """Raises StoreUnavailable where the server does not answer."""
        import httpx

        searches = [{"query": query, "limit": limit, "mode": mode}]
        body = {"searches": searches, "index_version": self.number}
        try:
            response = self._client.post(f"/v1/corpora/{self.corpus}/search/batch", json=body)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise StoreUnavailable(
                f"The server at {self.url}, which has {self.collection} open, did not answer: "
                f"{error}.",
                next_step="Try again, or promote through that server.",
            ) from error
        [found] = response.json()["answers"]
        ids = [hit["document_id"] for hit in found["hits"]]
        return Answer(ids, float(found["took_ms"]["total"]))


@retry(
    retry=retry_if_exception_type(CollectionInUse),
    stop=stop_after_delay(_IN_USE_S),
    wait=wait_fixed(0.2),
    reraise=True,
)
def searcher_for(generation: Generation, store: VectorStore, replicas: Replicas) -> Searcher:
    """The way to a version: itself, or the server that has its collection open.

    Raises CollectionInUse where another process keeps it open that takes no requests.
    """
    version = generation.version
    try:
        store.count(version.collection)
    except CollectionInUse:
        for replica in replicas.serving(version.corpus):
            if replica.collection == version.collection and replica.url:
                return RemoteSearcher(
                    version.corpus,
                    version.number,
                    version.collection,
                    replica.url,
                    replicas.local_key(),
                )
        raise
    return LocalSearcher(generation, store)
