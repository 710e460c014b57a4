"""What the store and its worker process say to each other, packed to cost little on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from lockstep.store.checks import payloads_as_json
from lockstep.store.port import Points, SparseVector, Vector


@dataclass(frozen=True)
class PackedPoints:
    """Points with their sparse vectors end to end: three arrays instead of two per point."""

    ids: list[str]
    dense: Vector
    prefilter: Vector | None
    ends: NDArray[np.int64]  # (n,), where each point's stretch of indices and values ends
    indices: NDArray[np.uint32]
    values: NDArray[np.float32]
    payloads: str  # a JSON list
    late: Vector | None = None  # (all tokens, late_dim)
    late_ends: NDArray[np.int64] | None = None  # (n,), as `ends`

    @property
    def vector_bytes(self) -> int:
        """Of the dense vectors and those of tokens."""
        return self.dense.nbytes + (0 if self.late is None else self.late.nbytes)

    def sparse(self) -> Iterator[tuple[list[int], list[float]]]:
        start = 0
        for end in self.ends.tolist():
            yield self.indices[start:end].tolist(), self.values[start:end].tolist()
            start = end

    def late_matrices(self) -> Iterator[Vector | None]:
        if self.late is None or self.late_ends is None:
            yield from repeat(None, len(self.ids))
            return
        yield from np.split(self.late, self.late_ends[:-1])


def pack(points: Points) -> PackedPoints:
    """Raises InvalidDocument where a payload has no form in JSON."""
    empty = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))
    vectors = [*points.bm25, empty]  # concatenate needs one at least
    return PackedPoints(
        ids=list(points.ids),
        dense=np.ascontiguousarray(points.dense, np.float32),
        prefilter=None
        if points.prefilter is None
        else np.ascontiguousarray(points.prefilter, np.float32),
        ends=np.cumsum([len(vector.indices) for vector in points.bm25], dtype=np.int64),
        indices=np.concatenate([vector.indices for vector in vectors]).astype(np.uint32),
        values=np.concatenate([vector.values for vector in vectors]).astype(np.float32),
        payloads=payloads_as_json(points.payloads),
        late=np.concatenate(points.late, dtype=np.float32) if points.late else None,
        late_ends=np.cumsum([len(each) for each in points.late], dtype=np.int64)
        if points.late
        else None,
    )
