"""The retrievers of the frameworks, against a running server."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from lockstep.client import AsyncClient, Client

QUERY = "red river"
OPTIONS: dict[str, Any] = {"filter": {"must": [{"key": "parity", "match": {"value": 0}}]}}
LABELS = {"document_id", "title", "score", "index_version", "parity"}


def check(found: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Three passages with text and labels, best first."""
    assert len(found) == 3
    for text, metadata in found:
        assert text
        assert set(metadata) == LABELS
        assert (metadata["index_version"], metadata["parity"]) == ("docs--v0001", 0)
    scores = [metadata["score"] for _, metadata in found]
    assert scores == sorted(scores, reverse=True)


def test_langchain(url: str) -> None:
    pytest.importorskip("langchain_core")
    from lockstep.integrations.langchain import LockstepRetriever

    async def ask(client: Client) -> list[Any]:
        async with AsyncClient(url) as asked:
            retriever = LockstepRetriever(
                client=client, async_client=asked, corpus="docs", limit=3, options=OPTIONS
            )
            return await retriever.ainvoke(QUERY)

    with Client(url) as client:
        retriever = LockstepRetriever(client=client, corpus="docs", limit=3, options=OPTIONS)
        found = retriever.invoke(QUERY)
        check([(document.page_content, document.metadata) for document in found])
        assert anyio.run(ask, client) == found
        assert anyio.run(retriever.ainvoke, QUERY) == found


def test_llama_index(url: str) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import MetadataMode

    from lockstep.integrations.llama_index import LockstepRetriever

    async def ask(client: Client) -> list[Any]:
        async with AsyncClient(url) as asked:
            retriever = LockstepRetriever(
                client, "docs", limit=3, options={"filter": OPTIONS["filter"]}, async_client=asked
            )
            return await retriever.aretrieve(QUERY)

    with Client(url) as client:
        retriever = LockstepRetriever(
            client, "docs", limit=3, options={"filter": OPTIONS["filter"]}
        )
        found = retriever.retrieve(QUERY)
        check([(node.node.get_content(), node.node.metadata) for node in found])
        assert [node.score for node in found] == [node.node.metadata["score"] for node in found]
        first = found[0].node
        assert first.ref_doc_id == first.metadata["document_id"]
        assert "index_version" not in first.get_content(MetadataMode.LLM)
        assert [node.node_id for node in anyio.run(retriever.aretrieve, QUERY)] == [
            node.node_id for node in found
        ]
        there = anyio.run(ask, client)
        assert [node.node_id for node in there] == [node.node_id for node in found]


def test_langchain_refuses_a_misspelt_field() -> None:
    pytest.importorskip("langchain_core")
    from lockstep.integrations.langchain import LockstepRetriever

    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ValueError, match="limt"),
    ):
        LockstepRetriever(client=client, corpus="docs", limt=3)  # type: ignore[call-arg]
