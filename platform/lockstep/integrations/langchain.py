"""A LangChain retriever over a running server; needs the extra `langchain`."""

from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from lockstep.client import AsyncClient, Client, SearchOptions, SearchResponse


class LockstepRetriever(BaseRetriever):
    """Passages of one corpus as documents.

    Their metadata are the document's own, with document_id, title, score and index_version over
    them. Without an `async_client`, `ainvoke` uses `client` in a thread.
    """

    # LangChain's own models leave out what they do not know, a misspelt limit too.
    model_config = ConfigDict(extra="forbid")

    client: Client = Field(exclude=True, repr=False)
    async_client: AsyncClient | None = Field(default=None, exclude=True, repr=False)
    corpus: str
    limit: int = 10
    # SearchOptions, of which a pydantic model would drop what it does not know.
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return _documents(self.client.search(self.corpus, query, **self._asked()))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self.async_client is None:
            return await super()._aget_relevant_documents(query, run_manager=run_manager)
        return _documents(await self.async_client.search(self.corpus, query, **self._asked()))

    def _asked(self) -> SearchOptions:
        return cast(SearchOptions, {"limit": self.limit, **self.options})


def _documents(answer: SearchResponse) -> list[Document]:
    return [
        Document(id=hit.id, page_content=hit.text, metadata=answer.labels(hit))
        for hit in answer.hits
    ]
