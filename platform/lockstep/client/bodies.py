"""What callers may ask for. What is left out, or None, is as the server has it."""

from collections.abc import Sequence
from typing import Any, Literal, Required, TypedDict


class Weights(TypedDict, total=False):
    dense: float
    lexical: float


class Fusion(TypedDict, total=False):
    method: Literal["convex", "dbsf", "rrf"]
    k: int
    weights: Weights


class Prefilter(TypedDict, total=False):
    dims: int
    candidates: int


class Rerank(TypedDict, total=False):
    model: str
    candidates: int


class GroupBy(TypedDict, total=False):
    field: Required[str]
    size: int


class Diversity(TypedDict, total=False):
    relevance: float
    candidates: int


class HighlightChoice(TypedDict, total=False):
    sentences: int
    by_meaning: bool


class FacetChoice(TypedDict, total=False):
    field: Required[str]
    limit: int


class RecencyBoost(TypedDict, total=False):
    kind: Required[Literal["recency"]]
    field: Required[str]
    half_life_days: Required[float]
    weight: Required[float]
    now: str  # ISO 8601


class PopularityBoost(TypedDict):
    kind: Literal["popularity"]
    field: str
    midpoint: float
    weight: float


class SearchOptions(TypedDict, total=False):
    like: str | None  # a document id, instead of a query
    limit: int
    offset: int
    mode: Literal["hybrid", "dense", "lexical"]
    filter: dict[str, Any] | None  # Qdrant's filter JSON; its keys are metadata fields
    prefilter: Prefilter | bool | None
    fusion: Fusion | None
    rerank: Rerank | bool | None
    group_by_document: bool
    group_by: GroupBy | None
    score_threshold: float | None
    diversity: Diversity | None
    highlight: HighlightChoice | bool | None
    facets: Sequence[str | FacetChoice] | None
    boosts: Sequence[RecencyBoost | PopularityBoost] | None
    explain: bool
    cursor: str | None  # `next_cursor` of the answer before
    index_version: int | str | None
    traffic_key: str | None


class Search(SearchOptions, total=False):
    """One search of a batch."""

    query: str | None


class NewDocument(TypedDict, total=False):
    id: Required[str]
    text: Required[str]
    title: str | None
    metadata: dict[str, Any] | None
