"""What the server answers. Fields that a newer server adds are kept, in `model_extra`."""

import base64
import struct
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Highlight(Answer):
    """A sentence of a hit; places are counted in characters of the hit's text."""

    text: str
    start: int
    end: int
    terms: list[tuple[int, int]] = []


class Hit(Answer):
    """A passage that was found."""

    id: str
    document_id: str
    score: float  # higher is better; comparable within one answer only
    title: str
    text: str
    metadata: Json
    highlights: list[Highlight] | None = None
    explain: Json | None = None
    boosts: Json | None = None
    rerank: Json | None = None
    index_version: str | None = None  # in an interleaved answer alone


class Took(Answer):
    """Milliseconds."""

    encode: float
    search: float
    rerank: float | None = None
    highlight: float | None = None
    total: float


class FacetCount(Answer):
    value: bool | int | str
    count: int


class SearchResponse(Answer):
    hits: list[Hit]
    index_version: str
    model_version: str
    took_ms: Took
    arm: str | None = None
    search_id: str | None = None
    next_cursor: str | None = None
    facets: dict[str, list[FacetCount]] | None = None
    explain: Json | None = None
    reranker: str | None = None

    def version_of(self, hit: Hit) -> str:
        """The index version that a hit comes from."""
        return hit.index_version or self.index_version

    def labels(self, hit: Hit) -> Json:
        """The metadata of a hit's document, and over them what says where the hit comes from."""
        return {
            **hit.metadata,
            "document_id": hit.document_id,
            "title": hit.title,
            "score": hit.score,
            "index_version": self.version_of(hit),
        }


class SearchBatch(Answer):
    answers: list[SearchResponse]


class Document(Answer):
    id: str
    title: str
    text: str
    metadata: Json
    content_hash: str


class WriteResult(Answer):
    added: int
    changed: int
    unchanged: int
    deleted: int
    missing: int
    head_seq: int
    indexed: str  # "yes", "not_yet", "not_awaited" or "no_live_index"


class IndexVersion(Answer):
    number: int
    index_version: str
    model_version: str
    state: str
    applied_seq: int
    lag: int | None
    predecessor: int | None
    reason: str | None
    spec: Json
    created_at: datetime


class Versions(Answer):
    versions: list[IndexVersion]


class Corpus(Answer):
    name: str
    documents: int
    head_seq: int
    live: str | None
    created_at: datetime


class Corpora(Answer):
    corpora: list[Corpus]


class CorpusDetail(Corpus):
    serving: str | None
    versions: list[IndexVersion]


class Swap(Answer):
    corpus: str
    live: IndexVersion
    previous: IndexVersion | None
    changed: bool
    gates: Json | None


class Embedding(Answer):
    object: str = "embedding"
    index: int
    embedding: list[float] | str  # a text: base64 of little-endian float32

    @property
    def vector(self) -> list[float]:
        if not isinstance(self.embedding, str):
            return self.embedding
        raw = base64.b64decode(self.embedding)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))


class Usage(Answer):
    prompt_tokens: int = 0
    total_tokens: int = 0


class Embeddings(Answer):
    object: str = "list"
    data: list[Embedding]
    model: str
    index_version: str | None = None
    usage: Usage = Usage()

    @property
    def vectors(self) -> list[list[float]]:
        """In the order of the texts."""
        return [item.vector for item in sorted(self.data, key=lambda item: item.index)]


class Problem(Answer):
    """Problem details (RFC 9457)."""

    status: int
    type: str = "about:blank"
    title: str
    detail: str = ""
    next_step: str | None = None
    errors: list[Json] | None = None
    request_id: str | None = None
