"""What a search asks for and what it answers."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from lockstep.errors import InvalidInput
from lockstep.store.port import Json

MAX_QUERY_BYTES = 16_384
MAX_WINDOW = 1_000  # offset + limit


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
        if not 1 <= self.k <= 10_000:
            raise InvalidInput(f"fusion.k is {self.k}; expected 1 to 10000.")
        if self.method != FusionMethod.RRF:
            raise InvalidInput(
                f"fusion.k is {self.k}, but the method is {self.method}, which has no k.",
                next_step="Leave k out, or choose the method rrf.",
            )

    def _check_weights(self) -> None:
        given = [w for w in (self.dense_weight, self.lexical_weight) if w is not None]
        if not all(0 <= weight <= 1_000 for weight in given):
            raise InvalidInput(f"fusion.weights are {given}; expected numbers from 0 to 1000.")
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
        if self.candidates is not None and not 1 <= self.candidates <= 10_000:
            raise InvalidInput(f"prefilter.candidates is {self.candidates}; expected 1 to 10000.")


@dataclass(frozen=True)
class SearchRequest:
    """One search. Raises InvalidInput where a value is out of range.

    `prefilter` None uses the prefilter where the index has one, False never uses it, and a
    PrefilterChoice insists on it. `filter` is Qdrant's filter JSON; its keys are metadata fields.
    """

    query: str
    limit: int = 10
    offset: int = 0
    mode: Mode = Mode.HYBRID
    filter: Json | None = None
    prefilter: PrefilterChoice | bool | None = None
    fusion: Fusion = field(default_factory=Fusion)
    group_by_document: bool = True
    explain: bool = False

    def __post_init__(self) -> None:
        if not self.query.strip():
            raise InvalidInput("The query is empty; expected some words.")
        if (size := len(self.query.encode(errors="replace"))) > MAX_QUERY_BYTES:
            raise InvalidInput(f"The query has {size} bytes; at most {MAX_QUERY_BYTES} allowed.")
        if self.limit < 1 or self.offset < 0 or self.limit + self.offset > MAX_WINDOW:
            raise InvalidInput(
                f"limit is {self.limit}, offset {self.offset}; expected a limit of at least 1, an "
                f"offset of at least 0, and at most {MAX_WINDOW} together."
            )

    @property
    def window(self) -> int:
        """How many of the best hits must be known."""
        return self.offset + self.limit


@dataclass(frozen=True)
class Hit:
    """A passage that was found, with its document."""

    id: str  # of the passage's point
    document_id: str
    score: float  # higher is better; comparable within one answer only
    title: str
    text: str  # of the passage
    metadata: Json
    explain: Json | None = None  # branch -> {rank, score, normalised, weight, contribution}
    index_version: str | None = None  # the collection, where an answer is made of two versions'


@dataclass(frozen=True)
class Timings:
    """Milliseconds spent in each stage; `total` is all of it, our own work included."""

    encode: float
    search: float
    total: float


@dataclass(frozen=True)
class SearchResponse:
    """Hits, best first, and the generation they come from."""

    hits: list[Hit]
    index_version: str  # the collection
    model_version: str  # name@version
    took_ms: Timings
