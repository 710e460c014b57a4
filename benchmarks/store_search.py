"""What the embedded engine's worker process costs a search: over the pipe against in process.

    python benchmarks/store_search.py [--points 20000] [--dim 384] [--queries 500]

Both sides make the same call on the same shard, in turns of 50 queries, so that a slow
minute of the machine slows both. Prints the medians and their ratio.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import qdrant_edge as engine

from lockstep.store.checks import TIE_MARGIN
from lockstep.store.edge import EdgeStore
from lockstep.store.edge_shard import MIN_HNSW_EF
from lockstep.store.port import (
    DENSE,
    DOCUMENT_ID,
    CollectionSchema,
    DenseBranch,
    Json,
    Points,
    SparseVector,
    Vector,
)

BATCH = 1000
BLOCK = 50
NAME = "bench"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    vectors = clustered(options.points + options.queries, options.dim)
    queries = vectors[options.points :]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = EdgeStore(root / "piped")
        load(store, vectors[: options.points])
        shard = bare_shard(root, store)
        for limit in (10, 100):
            report(limit, store, shard, queries)
        shard.close()
        store.close()


def clustered(count: int, dim: int) -> Vector:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, dim))
    vectors = centres[rng.integers(0, 200, count)] + rng.normal(size=(count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def load(store: EdgeStore, vectors: Vector) -> None:
    store.create(NAME, CollectionSchema(dense_dim=vectors.shape[1]), {})
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    start = time.perf_counter()
    for first in range(0, len(vectors), BATCH):
        rows = range(first, min(first + BATCH, len(vectors)))
        ids = [str(UUID(int=row)) for row in rows]
        payloads: list[Json] = [{DOCUMENT_ID: f"d{row}"} for row in rows]
        points = Points(ids, vectors[rows.start : rows.stop], None, [word] * len(rows), payloads)
        store.upsert(NAME, points)
    loaded = time.perf_counter()
    store.optimize(NAME)
    print(f"load {len(vectors) / (loaded - start):8,.0f} points/s")
    print(f"optimize {time.perf_counter() - loaded:6.1f} s")


def bare_shard(root: Path, store: EdgeStore) -> engine.EdgeShard:
    """A copy of the store's shard, opened in this process."""
    store.release(NAME)
    shutil.copytree(root / "piped" / "collections" / NAME / "shard", root / "bare")
    return engine.EdgeShard.load(str(root / "bare"))


def report(limit: int, store: EdgeStore, shard: engine.EdgeShard, queries: Vector) -> None:
    piped: list[float] = []
    bare: list[float] = []
    for first in range(0, len(queries), BLOCK):
        block = queries[first : first + BLOCK]
        piped += timed(lambda query: store.search(NAME, [DenseBranch(query, limit)]), block)
        bare += timed(
            lambda query: shard.query_batch(engine.QueryBatchRequest([request(query, limit)])),
            block,
        )
    over, within = 1000 * float(np.median(piped)), 1000 * float(np.median(bare))
    print(
        f"limit {limit:3d}: over the pipe {over:.3f} ms, in process {within:.3f} ms, "
        f"difference {over - within:.3f} ms, ratio {over / within:.2f}"
    )


def timed(search: Callable[[Vector], object], queries: Vector) -> list[float]:
    """Seconds per query, after one that warms the caches: each side has a copy of the shard."""
    search(queries[0])
    seconds = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - start)
    return seconds


def request(query: Vector, limit: int) -> engine.QueryRequest:
    fetched = limit + TIE_MARGIN
    return engine.QueryRequest(
        limit=fetched,
        query=engine.Query.Nearest(query, DENSE),  # type: ignore[arg-type]  # takes numpy rows
        params=engine.SearchParams(hnsw_ef=max(MIN_HNSW_EF, 2 * fetched)),
        with_payload=engine.PayloadSelector.Include([DOCUMENT_ID]),
    )


if __name__ == "__main__":
    main()
