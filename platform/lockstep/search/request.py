"""What a search asks for and what it answers."""

from dataclasses import dataclass, field
from enum import StrEnum

from lockstep.errors import InvalidInput
from lockstep.store.port import Json

MAX_QUERY_BYTES = 16_384
MAX_WINDOW = 1_000  # offset + limit


class Mode(StrEnum):
    """Which rankings a search is made of."""

    HYBRID = "hybrid"  # dense and BM25, fused
    DENSE = "dense"
    LEXICAL = "lexical"  # BM25


@dataclass(frozen=True)
class Fusion:
    """Reciprocal rank fusion: a hit scores the sum of weight / (k + rank) over its rankings."""

    k: int = 60
    dense_weight: float = 1.0
    lexical_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 10_000:
            raise InvalidInput(f"fusion.k is {self.k}; expected 1 to 10000.")
        weights = (self.dense_weight, self.lexical_weight)
        if not all(0 <= weight <= 1_000 for weight in weights) or not any(weights):
            raise InvalidInput(
                f"fusion.weights are {weights}; expected numbers from 0 to 1000, one above 0."
            )


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
    explain: Json | None = None  # branch -> {rank, score}
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
