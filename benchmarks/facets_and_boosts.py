"""What a facet and a boost add to a search on the embedded engine.

    python -m benchmarks.facets_and_boosts [--points 10000] [--rounds 50]

Two passages per document and texts of 1,000 characters. Each line is a call to the store as a
search makes it, over the pipe, all lines in turns. "unindexed": neither the passage number nor the
field of a boost has an index.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np

from benchmarks.store_search import clustered
from lockstep.store.edge import EdgeStore
from lockstep.store.payload_functions import Decay, PayloadFunction, Saturation
from lockstep.store.payload_indexes import PayloadType
from lockstep.store.port import (
    DOCUMENT_ID,
    METADATA,
    PASSAGE,
    CollectionSchema,
    DenseBranch,
    Json,
    Points,
    SparseVector,
    Vector,
)

BATCH = 1000
DIM = 384
CANDIDATES = 200  # two rankings of 100 that share nothing
INDEXES: dict[str, PayloadType] = {"metadata.lang": "keyword", "metadata.author": "keyword"}
BOOSTED: dict[str, PayloadType] = {"metadata.views": "integer", "metadata.published": "datetime"}
FIRST = {"key": PASSAGE, "match": {"value": 0}}
ENGLISH = {"key": "metadata.lang", "match": {"value": "en"}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    vectors = clustered(options.points, DIM)
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder))
        load(store, "indexed", vectors, {**INDEXES, **BOOSTED, PASSAGE: "integer"})
        load(store, "unindexed", vectors, INDEXES)
        report(calls(store, vectors), options.rounds)
        store.close()


def load(store: EdgeStore, name: str, vectors: Vector, indexes: dict[str, PayloadType]) -> None:
    store.create(name, CollectionSchema(DIM, payload_indexes=indexes), {})
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    for first in range(0, len(vectors), BATCH):
        rows = range(first, min(first + BATCH, len(vectors)))
        ids = [str(UUID(int=row)) for row in rows]
        payloads = [payload(row) for row in rows]
        points = Points(ids, vectors[rows.start : rows.stop], None, [word] * len(rows), payloads)
        store.upsert(name, points)
    store.optimize(name)


def payload(row: int) -> Json:
    document = row // 2
    metadata = {
        "lang": ("en", "de", "fr", "es", "it")[document % 5],
        "author": f"author {document % 2_000}",
        "views": document * 37 % 5_000,
        "published": f"2026-{document % 12 + 1:02}-{document % 28 + 1:02}T00:00:00Z",
    }
    text = "some words of a text " * 48
    return {DOCUMENT_ID: f"d{document}", PASSAGE: row % 2, "text": text, METADATA: metadata}


def calls(store: EdgeStore, vectors: Vector) -> dict[str, Callable[[], object]]:
    ids = [str(UUID(int=row)) for row in range(0, len(vectors), len(vectors) // CANDIDATES)]
    popular = Saturation("metadata.views", 1_000)
    recent = Decay("metadata.published", 30 * 86_400.0, 1_800_000_000.0)

    def facet(name: str, field: str, *conditions: Json) -> Callable[[], object]:
        filter = {"must": [FIRST, *conditions]}
        return lambda: store.facet(name, f"metadata.{field}", limit=10, filter=filter)

    def boosts(name: str, *functions: PayloadFunction) -> Callable[[], object]:
        return lambda: store.evaluate(name, ids, functions)

    return {
        "dense search, 100 deep": lambda: store.search("indexed", [DenseBranch(vectors[7], 100)]),
        "facet of 5 values": facet("indexed", "lang"),
        "facet of 5 values, filtered to a fifth": facet("indexed", "lang", ENGLISH),
        "facet of 2,000 values": facet("indexed", "author"),
        "facet of 5 values, unindexed": facet("unindexed", "lang"),
        f"one boost of {CANDIDATES}": boosts("indexed", popular),
        f"two boosts of {CANDIDATES}": boosts("indexed", popular, recent),
        f"one boost of {CANDIDATES}, unindexed": boosts("unindexed", popular),
        f"two boosts of {CANDIDATES}, unindexed": boosts("unindexed", popular, recent),
    }


def report(calls: dict[str, Callable[[], object]], rounds: int) -> None:
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            spent[name].append(1000 * (time.perf_counter() - start))
    for name, times in spent.items():
        p50, p95 = np.percentile(times, [50, 95])
        print(f"{name:40} p50 {p50:7.2f} ms  p95 {p95:7.2f} ms")


if __name__ == "__main__":
    main()
