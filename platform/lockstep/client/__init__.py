"""A client for the HTTP API. Importing it loads nothing of the server, and no model library.

with Client("http://127.0.0.1:7333", api_key="lsk_...") as client:
    for hit in client.search("docs", "broken kettle", limit=3).hits:
        print(hit.document_id, hit.score, hit.title)
"""

from lockstep.client.answers import (
    Corpus,
    CorpusDetail,
    Document,
    Embedding,
    Embeddings,
    FacetCount,
    Highlight,
    Hit,
    IndexVersion,
    Problem,
    SearchResponse,
    Swap,
    Took,
    WriteResult,
)
from lockstep.client.async_client import AsyncClient
from lockstep.client.bodies import NewDocument, Search, SearchOptions
from lockstep.client.client import Client
from lockstep.client.errors import (
    AccessRefused,
    ApiError,
    Conflicting,
    Missing,
    RequestInvalid,
    ServerBusy,
    ServerUnreachable,
    UnexpectedAnswer,
)

__all__ = [
    "AccessRefused",
    "ApiError",
    "AsyncClient",
    "Client",
    "Conflicting",
    "Corpus",
    "CorpusDetail",
    "Document",
    "Embedding",
    "Embeddings",
    "FacetCount",
    "Highlight",
    "Hit",
    "IndexVersion",
    "Missing",
    "NewDocument",
    "Problem",
    "RequestInvalid",
    "Search",
    "SearchOptions",
    "SearchResponse",
    "ServerBusy",
    "ServerUnreachable",
    "Swap",
    "Took",
    "UnexpectedAnswer",
    "WriteResult",
]
