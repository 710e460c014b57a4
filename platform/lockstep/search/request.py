"""What a search asks for and what it answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from lockstep.corpus.documents import check_id, shown
from lockstep.errors import InvalidInput
from lockstep.search.boosts import Boost, checked_boosts
from lockstep.search.diversity import DiversityChoice
from lockstep.search.facets import Facet, FacetCounts, checked_facets
from lockstep.search.highlights import HighlightChoice, Sentence
from lockstep.search.rerank import RerankChoice
from lockstep.store.filters import prefixed
from lockstep.store.port import Json

MAX_QUERY_BYTES = 16_384
MAX_WINDOW = 1_000  # offset + limit
MAX_FIELD_CHARS = 256
MAX_GROUP_SIZE = 100
MAX_RRF_K = 10_000
MAX_WEIGHT = 1_000
MAX_CANDIDATES = 10_000  # of the prefilter
MAX_BATCH = 100  # searches
MAX_COMPARED = 50  # hits whose sentences are encoded


class Mode(StrEnum):
    """Which rankings a search is made of."""

    HYBRID = "hybrid"  # dense and BM25, fused
    DENSE = "dense"
    LEXICAL = "lexical"  # BM25


class FusionMethod(StrEnum):
    """How the rankings of a hybrid search become one; `search.fusion` has the formulas."""

    CONVEX = "convex"  # the weighted mean of scores, scaled from the least possible to the best
    DBSF = "dbsf"  # distribution-based: the sum of scores, scaled by their mean and deviation
    RRF = "rrf"  # reciprocal rank fusion: the sum of 1 / (k + rank)


@dataclass(frozen=True)
class Weights:
    """How much each ranking counts; none at all with 0."""

    dense: float
    lexical: float


# Chosen on judged collections, each time without the one it is reported on:
# docs/decisions/0006-default-fusion.md.
DEFAULT_DENSE_SHARE = 0.8
# Cormack, Clarke, Büttcher, SIGIR 2009.
DEFAULT_RRF_K = 60


@dataclass(frozen=True)
class Fusion:
    """How the rankings of a hybrid search become one. Raises InvalidInput.

    What is None is taken from the method: k 60; weights 1 and 1 for RRF and DBSF, .8 for dense and
    .2 for BM25 in a convex combination, where one weight alone leaves the rest to 1 to the other.
    """

    method: FusionMethod = FusionMethod.CONVEX
    k: int | None = None
    dense_weight: float | None = None
    lexical_weight: float | None = None

    def __post_init__(self) -> None:
        methods = [method.value for method in FusionMethod]
        if self.method not in methods:
            raise InvalidInput(
                f"fusion.method is '{self.method}'; expected one of {', '.join(methods)}."
            )
        self._check_k()
        self._check_weights()

    @property
    def rrf_k(self) -> int:
        return DEFAULT_RRF_K if self.k is None else self.k

    @cached_property
    def weights(self) -> Weights:
        dense, lexical = self.dense_weight, self.lexical_weight
        if self.method != FusionMethod.CONVEX:
            return Weights(1.0 if dense is None else dense, 1.0 if lexical is None else lexical)
        if dense is None:
            dense = DEFAULT_DENSE_SHARE if lexical is None else _rest(lexical)
        return Weights(dense, _rest(dense) if lexical is None else lexical)

    def _check_k(self) -> None:
        if self.k is None:
            return
        if not 1 <= self.k <= MAX_RRF_K:
            raise InvalidInput(f"fusion.k is {self.k}; expected 1 to {MAX_RRF_K}.")
        if self.method != FusionMethod.RRF:
            raise InvalidInput(
                f"fusion.k is {self.k}, but the method is {self.method}, which has no k.",
                next_step="Leave k out, or choose the method rrf.",
            )

    def _check_weights(self) -> None:
        given = [w for w in (self.dense_weight, self.lexical_weight) if w is not None]
        if not all(0 <= weight <= MAX_WEIGHT for weight in given):
            raise InvalidInput(
                f"fusion.weights are {given}; expected numbers from 0 to {MAX_WEIGHT}."
            )
        if len(given) == 2 and not any(given):
            raise InvalidInput("fusion.weights are both 0; expected one above 0.")
        if self.method == FusionMethod.CONVEX and len(given) == 1 and given[0] > 1:
            raise InvalidInput(
                f"Of fusion.weights only one is given, {given[0]:g}; in a convex combination "
                "the other is what is left of it to 1.",
                next_step="Give a weight from 0 to 1, or both.",
            )


def _rest(weight: float) -> float:
    return round(1 - weight, 12)  # .2 beside .8, and not .19999999999999996


@dataclass(frozen=True)
class PrefilterChoice:
    """How a search uses the short vectors: how many of them it rescores in full."""

    dims: int | None = None  # None: those that the index has
    candidates: int | None = None  # None: as many as the prefilter gate found to be needed

    def __post_init__(self) -> None:
        if self.candidates is not None and not 1 <= self.candidates <= MAX_CANDIDATES:
            raise InvalidInput(
                f"prefilter.candidates is {self.candidates}; expected 1 to {MAX_CANDIDATES}."
            )


@dataclass(frozen=True)
class GroupChoice:
    """At most `size` hits for each value of a metadata field; hits without the field are left out.

    Of a list of values, the first counts.
    """

    field: str
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 < len(self.field.strip()) <= MAX_FIELD_CHARS:
            raise InvalidInput(
                f"group_by.field is '{shown(self.field)}'; expected the name of a metadata field."
            )
        if not 1 <= self.size <= MAX_GROUP_SIZE:
            raise InvalidInput(f"group_by.size is {self.size}; expected 1 to {MAX_GROUP_SIZE}.")


@dataclass(frozen=True)
class SearchRequest:
    """One search, by a query or by a document that the hits are to be `like`.

    `prefilter` None uses the prefilter where the index has one, False never uses it, and a
    PrefilterChoice insists on it. `filter` is Qdrant's filter JSON; its keys are metadata fields.
    `scope` is one too: what the caller may see at all, whatever else is asked for. `facets` count
    the values of metadata fields over all documents that both match. Raises InvalidInput where a
    value is out of range, InvalidFilter for a filter.
    """

    query: str = ""
    limit: int = 10
    offset: int = 0
    mode: Mode = Mode.HYBRID
    filter: Json | None = None
    prefilter: PrefilterChoice | bool | None = None
    fusion: Fusion = field(default_factory=Fusion)
    group_by_document: bool = True
    explain: bool = False
    like: str | None = None  # a document id
    group_by: GroupChoice | None = None
    score_threshold: float | None = None  # on the scores that hits are shown with
    diversity: DiversityChoice | None = None
    highlight: HighlightChoice | None = None
    cursor: str | None = None  # of the answer before
    scope: Json | None = None
    facets: Sequence[Facet | str] = ()
    boosts: Sequence[Boost] = ()
    rerank: RerankChoice | None = None

    def __post_init__(self) -> None:
        if self.like is not None:
            check_id(self.like)
            if self.query:
                raise InvalidInput("Both query and like are given; expected one of them.")
        elif not self.query.strip():
            raise InvalidInput("The query is empty; expected some words.")
        if (size := len(self.query.encode(errors="replace"))) > MAX_QUERY_BYTES:
            raise InvalidInput(f"The query has {size} bytes; at most {MAX_QUERY_BYTES} allowed.")
        if self.limit < 1 or self.offset < 0 or self.limit + self.offset > MAX_WINDOW:
            raise InvalidInput(
                f"limit is {self.limit}, offset {self.offset}; expected a limit of at least 1, an "
                f"offset of at least 0, and at most {MAX_WINDOW} together."
            )

        if self.cursor is not None and self.offset:
            raise InvalidInput(
                f"offset is {self.offset} beside a cursor, which says itself where to go on.",
                next_step="Leave the offset out.",
            )
        if self.diversity is not None and self.diversity.candidates < self.window:
            raise InvalidInput(
                f"diversity.candidates is {self.diversity.candidates}; expected at least offset + "
                f"limit, {self.window}."
            )
        self._check_rerank()
        by_meaning = self.highlight is not None and self.highlight.by_meaning
        if by_meaning and self.limit > MAX_COMPARED:
            raise InvalidInput(
                f"limit is {self.limit}; highlights by meaning are given for at most "
                f"{MAX_COMPARED} hits at once."
            )
        _ = self.counted  # which raises where they are none
        checked_boosts(self.boosts)
        if self.score_threshold is not None and not math.isfinite(self.score_threshold):
            raise InvalidInput(f"score_threshold is {self.score_threshold}; expected a number.")

    def _check_rerank(self) -> None:
        if self.rerank is None:
            return
        if self.like is not None:
            raise InvalidInput(
                "Both rerank and like are given; what reranks reads a query beside each passage.",
                next_step="Leave one of them out.",
            )
        if self.rerank.candidates < self.window:
            raise InvalidInput(
                f"rerank.candidates is {self.rerank.candidates}; expected at least offset + "
                f"limit, {self.window}."
            )

    @property
    def ranks_vectors(self) -> bool:
        """Whether the query's dense vector is needed."""
        hybrid = self.mode is Mode.HYBRID and self.fusion.weights.dense > 0
        return hybrid or self.mode is Mode.DENSE

    @property
    def ranks_terms(self) -> bool:
        """Whether the query's terms are needed."""
        hybrid = self.mode is Mode.HYBRID and self.fusion.weights.lexical > 0
        return hybrid or self.mode is Mode.LEXICAL

    @property
    def groups(self) -> bool:
        return self.group_by_document or self.group_by is not None

    @property
    def window(self) -> int:
        """How many of the best hits are asked for, those before the offset included."""
        return self.offset + self.limit

    @property
    def choices(self) -> list[int]:
        """How many of the best hits each step that reorders them has to choose from."""
        return [c.candidates for c in (self.rerank, self.diversity) if c is not None]

    @cached_property
    def counted(self) -> tuple[Facet, ...]:
        """The facets, those that were only named with the default number of values."""
        return checked_facets(self.facets)

    @cached_property
    def payload_filter(self) -> Json | None:
        """What hits must match, over the payload as it is stored."""
        given = [prefixed(f, "metadata.") for f in (self.scope, self.filter) if f is not None]
        return {"must": given} if given else None


@dataclass(frozen=True)
class Hit:
    """A passage that was found, with its document."""

    id: str  # of the passage's point
    document_id: str
    score: float  # higher is better; comparable within one answer only
    title: str
    text: str  # of the passage
    metadata: Json
    highlights: list[Sentence] | None = None
    explain: Json | None = None  # branch -> {rank, score, normalised, weight, contribution}
    index_version: str | None = None  # the collection, where an answer is made of two versions'
    boosts: Json | None = None  # with `explain`: {base, parts}, see search.boosts
    rerank: Json | None = None  # with `explain`: {rank_before, score_before, score}


@dataclass(frozen=True)
class Timings:
    """Milliseconds spent in each stage; `total` is all of it, our own work included."""

    encode: float
    search: float  # ranked by the engine, fused, read and put in order
    total: float
    highlight: float = 0.0
    rerank: float = 0.0


@dataclass(frozen=True)
class SearchResponse:
    """Hits, best first, and the generation they come from."""

    hits: list[Hit]
    index_version: str  # the collection
    model_version: str  # name@version
    took_ms: Timings
    next_cursor: str | None = None  # where there is more
    explain: Json | None = None  # what the filter leaves
    facets: FacetCounts | None = None  # by field, where facets were asked for
    reranker: str | None = None  # name@version of what reranked
