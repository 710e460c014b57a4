"""What an index takes on disk and in memory, from a formula.

With n points of d dimensions, p of them in the prefilter, b bytes a number (4, or 2 for float16):

| part | bytes |
|---|---|
| vectors | n · (d + p) · b; and n · (d + 4) for the int8 copy |
| graph | n · 2m · log2(n) / 8 for each dense vector: compressed links of the lowest layer |
| sparse | 15 for each term of each passage: 6.5 as stored, 8.5 in the inverted index |
| payload | its JSON, and 135 a point for ids, the index over document ids and page tables |
| log | what was written last, up to two segments of 32 MB |
| late | the dimensions of a token's vector · b, for each token of each passage that has one |

The constants were measured with the embedded engine at 25,000 points of 384 dimensions, 60 terms
each. While an index is optimised its segments stand beside the new one: twice the bytes without the
log. Searches read vectors, graph and sparse index: these should fit into memory; a Qdrant server
holds them there unless store_on_disk is set, and takes half as much again (its own rule of thumb).
The vectors of tokens stay on disk: a search reads those of its candidates.
"""

import math
from dataclasses import dataclass

from lockstep.store.port import CollectionSchema

_TERM_BYTES = 15
_POINT_BYTES = 135
_QUANTIZED_EXTRA = 4
_LOG_SEGMENT = 32 << 20
_EMPTY = 256 << 10  # files of a collection without points
_SERVER_MEMORY = 1.5

# Measured with the embedded engine on two cores, per point; a graph is built from this size on.
_UPSERT_S = 1 / 12_000
_OPTIMISE_S = 0.8e-3  # for 384 dimensions
_GRAPH_FROM_BYTES = 10_000 << 10


@dataclass(frozen=True)
class Engine:
    """Where the index will be, as far as it matters for its size."""

    name: str = "embedded"  # or "qdrant"
    shards: int = 1
    copies: int = 1  # of each shard
    on_disk: bool = False

    @property
    def is_embedded(self) -> bool:
        return self.name == "embedded"


@dataclass(frozen=True)
class IndexSize:
    """Bytes, all copies included."""

    vectors: int
    graph: int
    sparse: int
    payload: int
    log: int
    memory: int  # what searches read
    late: int = 0

    @property
    def content(self) -> int:
        return self.vectors + self.graph + self.sparse + self.payload + self.late

    @property
    def total(self) -> int:
        return self.content + self.log

    @property
    def peak(self) -> int:
        """While it is optimised."""
        return self.total + self.content

    def to_json(self) -> dict[str, int]:
        return vars(self) | {"total": self.total, "peak": self.peak}


def index_size(
    schema: CollectionSchema,
    engine: Engine,
    *,
    points: int,
    terms: int,
    payload_bytes: int,
    token_vectors: int = 0,
) -> IndexSize:
    """Apply the formula above; all but `points` are sums over all points."""
    number = 2 if schema.datatype == "float16" else 4
    dims = schema.dense_dim + (schema.prefilter_dim or 0)
    vectors = points * dims * number
    if schema.quantization == "int8":
        vectors += points * (schema.dense_dim + _QUANTIZED_EXTRA)
    names = 2 if schema.prefilter_dim else 1
    graph = int(names * points * 2 * schema.hnsw_m * math.log2(max(2, points)) / 8)
    sparse = terms * _TERM_BYTES
    payload = payload_bytes + points * _POINT_BYTES + _EMPTY
    late = token_vectors * (schema.late_dim or 0) * number
    written = vectors + sparse // 2 + payload_bytes + late
    log = min(written, 2 * _LOG_SEGMENT * engine.shards)
    read = graph + sparse if engine.on_disk else vectors + graph + sparse
    memory = read if engine.is_embedded else int(read * _SERVER_MEMORY)
    parts = {"vectors": vectors, "graph": graph, "sparse": sparse, "payload": payload, "log": log}
    parts["late"] = late
    return IndexSize(
        **{name: size * engine.copies for name, size in parts.items()},
        memory=memory * engine.copies,
    )


def indexing_s(schema: CollectionSchema, points: int) -> float:
    """Seconds that the embedded engine takes to store points and to build its search indexes."""
    dims = schema.dense_dim + (schema.prefilter_dim or 0)
    upserts = points * _UPSERT_S
    if points * dims * 4 < _GRAPH_FROM_BYTES:
        return upserts
    return upserts + points * _OPTIMISE_S * dims / 384
