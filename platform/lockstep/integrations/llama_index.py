"""A LlamaIndex retriever over a running server; needs the extra `llama-index`."""

from typing import Any

from anyio.to_thread import run_sync
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import (
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)

from lockstep.client import AsyncClient, Client, Hit, SearchOptions, SearchResponse

# For whoever follows a node up; a prompt has no use for them.
_NOT_FOR_PROMPTS = ["score", "index_version"]


class LockstepRetriever(BaseRetriever):
    """Passages of one corpus as nodes.

    Their metadata are the document's own, with document_id, title, score and index_version over
    them. Without an `async_client`, `aretrieve` uses `client` in a thread.
    """

    def __init__(
        self,
        client: Client,
        corpus: str,
        *,
        limit: int = 10,
        options: SearchOptions | None = None,
        async_client: AsyncClient | None = None,
        **base: Any,
    ) -> None:
        self._client = client
        self._async_client = async_client
        self._corpus = corpus
        self._asked: SearchOptions = {"limit": limit, **(options or {})}
        super().__init__(**base)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self._client.search(self._corpus, query_bundle.query_str, **self._asked))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._async_client is None:
            return await run_sync(self._retrieve, query_bundle)
        query = query_bundle.query_str
        return _nodes(await self._async_client.search(self._corpus, query, **self._asked))


def _nodes(answer: SearchResponse) -> list[NodeWithScore]:
    return [NodeWithScore(node=_node(answer, hit), score=hit.score) for hit in answer.hits]


def _node(answer: SearchResponse, hit: Hit) -> TextNode:
    return TextNode(
        id_=hit.id,
        text=hit.text,
        metadata=answer.labels(hit),
        excluded_llm_metadata_keys=_NOT_FOR_PROMPTS,
        excluded_embed_metadata_keys=_NOT_FOR_PROMPTS,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit.document_id)},
    )
