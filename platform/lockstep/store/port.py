"""What Lockstep asks of a vector store: collections of points, and aliases that name them.

Every point of a collection carries a dense vector, a BM25 sparse vector, and, where the schema has
them, a short prefix of the dense vector for prefiltering, and vectors of all its tokens for late
interaction. Filters are Qdrant's filter JSON over the payload as it is stored. Adapters are safe to
call from several threads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lockstep.store.payload_functions import PayloadFunction
from lockstep.store.payload_indexes import PayloadType

DENSE = "dense"
PREFILTER = "prefilter"
BM25 = "bm25"
LATE = "late"  # the vectors of all tokens, for late interaction

# The payload field that groups the passages of one document; every store indexes it.
DOCUMENT_ID = "document_id"
# The payload field with the place in the change log of what a point was made from.
SEQ = "seq"
# The payload field with the place of a passage in its document, from 0.
PASSAGE = "passage"
# The payload field with what a user knows of a document.
METADATA = "metadata"

Json = dict[str, Any]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class CollectionSchema:
    """The shape of a collection; it never changes once the collection exists."""

    dense_dim: int
    prefilter_dim: int | None = None
    hnsw_m: int = 16
    hnsw_ef_construct: int = 100
    datatype: Literal["float32", "float16"] = "float32"
    quantization: Literal["none", "int8"] = "none"
    # Fields to index beside the document id, by their path in the payload.
    payload_indexes: Mapping[str, PayloadType] = field(default_factory=dict)
    late_dim: int | None = None  # of each token's vector

    def to_json(self) -> Json:
        """Without what came later and is not used, so that processes of before can read it."""
        fields = asdict(self)
        for name in ("payload_indexes", "late_dim"):
            if not fields[name]:
                del fields[name]
        return fields

    def vector_names(self, *, vectors: bool, late: bool) -> list[str]:
        """The names of what a point is read with: token vectors are large, so they go apart."""
        names = [DENSE, BM25] if vectors else []
        if vectors and self.prefilter_dim is not None:
            names.append(PREFILTER)
        return [*names, LATE] if late and self.late_dim is not None else names


@dataclass(frozen=True)
class SparseVector:
    """Token ids and weights, both of one length; ids are unique."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        # The embedded engine panics, now and at every later load, on a mismatch it has accepted.
        if self.indices.shape != self.values.shape or self.indices.ndim != 1:
            raise ValueError(
                f"indices have shape {self.indices.shape}, values {self.values.shape}; "
                "expected two flat arrays of one length"
            )
        if not np.isfinite(self.values).all():
            raise ValueError("values hold NaN or infinity; expected finite weights")


@dataclass(frozen=True)
class Points:
    """A batch of points, column by column; row i of each column is one point."""

    ids: Sequence[str]  # UUIDs
    dense: Vector  # (n, dense_dim), L2-normalised
    prefilter: Vector | None  # (n, prefilter_dim), L2-normalised
    bm25: Sequence[SparseVector]
    payloads: Sequence[Json]
    late: Sequence[Vector] | None = None  # each (tokens, late_dim)

    def __post_init__(self) -> None:
        columns: list[Sized] = [self.ids, self.dense, self.bm25, self.payloads]
        columns += [column for column in (self.prefilter, self.late) if column is not None]
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            raise ValueError(f"columns have lengths {lengths}; expected one length")
        named = [(DENSE, self.dense), (PREFILTER, self.prefilter)]
        for name, matrix in [*named, *((LATE, each) for each in self.late or ())]:
            if matrix is not None and not np.isfinite(matrix).all():
                raise ValueError(f"{name} vectors hold NaN or infinity")

    def __len__(self) -> int:
        return len(self.ids)

    def parts(self, size: int) -> Iterator["Points"]:
        """The same points, at most `size` at once."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield Points(
                ids=self.ids[rows],
                dense=self.dense[rows],
                prefilter=None if self.prefilter is None else self.prefilter[rows],
                bm25=self.bm25[rows],
                payloads=self.payloads[rows],
                late=None if self.late is None else self.late[rows],
            )


@dataclass(frozen=True)
class Record:
    """One stored point. Vectors are None unless they were asked for."""

    id: str
    payload: Json
    dense: Vector | None = None
    prefilter: Vector | None = None
    bm25: SparseVector | None = None
    late: Vector | None = None  # (tokens, late_dim)


@dataclass(frozen=True)
class Page:
    """A run of records in id order; `next_id` starts the next page, None after the last."""

    records: list[Record]
    next_id: str | None


@dataclass(frozen=True)
class Prefilter:
    """Take `candidates` nearest by the short vector, then rescore them by the full one."""

    vector: Vector  # (prefilter_dim,)
    candidates: int


@dataclass(frozen=True)
class DenseBranch:
    """The nearest `limit` points by cosine."""

    vector: Vector  # (dense_dim,), or (prefilter_dim,) when using=PREFILTER
    limit: int
    using: str = DENSE
    prefilter: Prefilter | None = None
    exact: bool = False  # compare with every point instead of walking the HNSW graph


@dataclass(frozen=True)
class SparseBranch:
    """The best `limit` points by BM25, with the collection's own inverse document frequencies."""

    vector: SparseVector
    limit: int


@dataclass(frozen=True)
class LateBranch:
    """The best `limit` points by MaxSim, each compared: a filter should leave a few.

    MaxSim: for each token of the query its largest dot product with a token of the passage; their
    sum. Source: Khattab, Zaharia, SIGIR 2020.
    """

    vectors: Vector  # (tokens, late_dim)
    limit: int


Branch = DenseBranch | SparseBranch | LateBranch


class Candidate(NamedTuple):  # there are hundreds in each search
    """A point as one branch ranks it; a higher score is better."""

    id: str
    score: float


@dataclass(frozen=True)
class FacetCount:
    """A value of a payload field, and how many points have it."""

    value: str | int | bool
    count: int


def not_newer_than(seq: int) -> Json:
    """A filter for points of changes up to this one, and for points that do not say.

    Every later change has a greater `seq`, so whoever writes or deletes by this filter never undoes
    the work of a successor that it does not know of.
    """
    return {"must_not": [{"key": SEQ, "range": {"gt": seq}}]}


@dataclass(frozen=True)
class Readiness:
    """Whether every search index of a collection is built, in words of the engine."""

    ready: bool
    detail: str
    # Whether enough has changed to call `optimize`; an engine that does so by itself never says so.
    due: bool = False


class Reader(Protocol):
    """What a search reads of one collection. Raises what VectorStore does."""

    @property
    def is_near(self) -> bool:
        """Whether a read is a call in the engine's own process, and not a trip to another one."""

    def retrieve(
        self, ids: Sequence[str], *, with_vectors: bool = False, with_late: bool = False
    ) -> list[Record]:
        """Read points by id, in the order asked for; ids that are not there are left out.

        `with_vectors` brings all but the vectors of tokens, which `with_late` brings.
        """

    def search(
        self, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        """Rank points once per branch, all in one call to the engine; no payload is read.

        Each ranking is ordered by (score descending, id), so equal scores have a stable order.
        """

    def evaluate(
        self, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        """The value of each function, from 0 to 1, at each of the points, all in one call.

        A point that is not there, or whose field does not hold one value of the right kind, is left
        out. Precision is that of 32 bits.
        """


Answer = TypeVar("Answer")
Question = Callable[[Reader], Answer]


class VectorStore(Protocol):
    """Collections, points and aliases.

    Raises CollectionNotFound, CollectionExists, CollectionInUse, CollectionDamaged,
    ManifestDamaged, DimensionMismatch, EncodingFailed (NaN in a query), InvalidFilter,
    SearchUnsupported, StorageFull or StoreUnavailable; Conflict where what an alias names is to be
    dropped.
    """

    def create(self, collection: str, schema: CollectionSchema, metadata: Json) -> None:
        """Create an empty collection."""

    def drop(self, collection: str) -> None:
        """Delete a collection and its points; nothing happens where there is none."""

    def collections(self) -> dict[str, Json]:
        """Every collection's metadata, by name."""

    def set_metadata(self, collection: str, metadata: Json) -> None:
        """Replace the metadata of a collection."""

    def aliases(self) -> dict[str, str]:
        """The collection that each alias names."""

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at a collection, in one atomic and durable write."""

    def upsert(
        self, collection: str, points: Points, *, keep_newer_than: int | None = None
    ) -> None:
        """Insert points, replacing those that have the same id.

        Stored points whose payload has a greater `seq` than `keep_newer_than` stay as they are. An
        engine that only one process can have open needs not look.
        """

    def delete(self, collection: str, filter: Json) -> None:
        """Delete every point that the filter matches."""

    def flush(self, collection: str) -> None:
        """Return once every earlier write survives a power cut."""

    def optimize(self, collection: str) -> None:
        """Build what is missing of the search indexes; return when the collection is ready.

        Searches and writes go on meanwhile.
        """

    def readiness(self, collection: str) -> Readiness:
        """Whether searches are as fast as they will be; changes nothing."""

    def count(self, collection: str, filter: Json | None = None) -> int:
        """The exact number of points that the filter matches."""

    def scroll(
        self,
        collection: str,
        *,
        start_id: str | None = None,
        limit: int = 1000,
        fields: Sequence[str] | None = None,
    ) -> Page:
        """Read points in id order; `fields` names the payload fields to bring, None brings all."""

    def retrieve(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        with_vectors: bool = False,
        with_late: bool = False,
    ) -> list[Record]:
        """As a Reader does."""

    def search(
        self, collection: str, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        """As a Reader does."""

    def facet(
        self, collection: str, field: str, *, limit: int, filter: Json | None = None
    ) -> list[FacetCount]:
        """The most frequent values of a payload field among the points that the filter matches.

        Counts are exact; they are ordered by (count descending, value). A point whose field is a
        list counts for each of its values. Raises SearchUnsupported where the schema has no payload
        index of the field whose values can be counted.
        """

    def evaluate(
        self, collection: str, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        """As a Reader does."""

    def ask(self, collection: str, question: Question[Answer]) -> Answer:
        """Put a question that takes several reads, each decided by what those before have found.

        An engine in a process of its own answers it there, so that it takes one trip. Question and
        answer have to be picklable, and the question's module light: that process imports it.
        """

    def release(self, collection: str) -> None:
        """Let go of a collection, so that another process may open it."""

    def close(self) -> None:
        """Let go of everything."""
